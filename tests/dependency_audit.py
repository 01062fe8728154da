"""Reviews what runs in production: pinned, within the tested ranges, not withdrawn, without known weakness.

``make audit`` runs it. The last two need data from the network; where that can't be reached it says so, and
the review of the pins remains.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

ROOT = Path(__file__).parents[1]
AUDITOR = ROOT / ".venv-audit" / "bin" / "pip-audit"
_PIN = re.compile(r"([A-Za-z0-9._-]+)==([^\s;#]+)")


def pins(text: str) -> dict[str, str]:
    """What constraints.txt pins, by canonical name."""
    return {canonicalize_name(name): version for name, version in _PIN.findall(text)}


def closure(root: str, requires: Callable[[str], Iterable[str]]) -> dict[str, set[str]]:
    """Every package that ``root`` needs without extras, each with what is asked of its version.

    Args:
        root: A distribution.
        requires: The requirements of a distribution, as its metadata writes them.
    """
    found: dict[str, set[str]] = {}
    seen: set[tuple[str, frozenset[str]]] = set()
    todo: list[tuple[str, frozenset[str]]] = [(canonicalize_name(root), frozenset())]
    while todo:
        name, extras = todo.pop()
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        for line in requires(name):
            each = Requirement(line)
            if each.marker and not any(each.marker.evaluate({"extra": extra}) for extra in extras or {""}):
                continue
            needed = canonicalize_name(each.name)
            found.setdefault(needed, set()).add(str(each.specifier))
            todo.append((needed, frozenset(each.extras)))
    return found


def problems_of(needed: dict[str, set[str]], pinned: dict[str, str]) -> list[str]:
    """What is not pinned, and pins that are outside of a range."""
    lines = []
    for name, specifiers in sorted(needed.items()):
        if name not in pinned:
            lines.append(f"{name} is not pinned in constraints.txt")
            continue
        lines += [
            f"{name} is pinned to {pinned[name]}, and {specifier} is asked for"
            for specifier in sorted(specifiers)
            if not Requirement(f"{name}{specifier}").specifier.contains(pinned[name], prereleases=True)
        ]
    return lines


def withdrawn(report: dict[str, object]) -> list[str]:
    """Releases that pip's report calls yanked."""
    installs = report.get("install")
    rows = installs if isinstance(installs, list) else []
    return [
        f"{row['metadata']['name']} {row['metadata']['version']} was withdrawn"
        for row in rows
        if row.get("is_yanked")
    ]


def _installed_requirements(name: str) -> list[str]:
    try:
        return metadata.requires(name) or []
    except metadata.PackageNotFoundError:
        return []


def _asked(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)


def _network(production: dict[str, str]) -> list[str]:
    """What the registry and the database of weaknesses say; a question that can't be asked is printed."""
    lines: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        wanted, report = Path(folder) / "production.txt", Path(folder) / "report.json"
        wanted.write_text("".join(f"{name}=={version}\n" for name, version in sorted(production.items())))
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed"]
        done = _asked([*pip, "--no-deps", "--report", str(report), "-r", str(wanted)])
        if done.returncode == 0:
            found = withdrawn(json.loads(report.read_text()))
            _say("none of them was withdrawn" if not found else "withdrawn releases:")
            lines += found
        else:
            _say("not asked: the registry can't be reached, so withdrawn releases are not known")
        if not AUDITOR.exists():
            _say("not asked: pip-audit is not installed, so known weaknesses are not known")
            return lines
        done = _asked([str(AUDITOR), "--no-deps", "--disable-pip", "--format", "json", "-r", str(wanted)])
        try:
            audited = json.loads(done.stdout)["dependencies"]
        except (ValueError, KeyError):
            _say("not asked: pip-audit can't reach its data, so known weaknesses are not known")
            return lines
    weak = [
        f"{each['name']} {each['version']}: {weakness['id']}, mended in {', '.join(weakness['fix_versions'])}"
        for each in audited
        for weakness in each.get("vulns", ())
    ]
    _say("none of them has a known weakness" if not weak else "known weaknesses:")
    return lines + weak


def _say(line: str) -> None:
    print(line)  # noqa: T201 - a program that prints what it found


def main() -> int:
    """Review, and print what was asked and found.

    Returns:
        0 where nothing was found, 1 else.
    """
    pinned = pins((ROOT / "constraints.txt").read_text())
    needed = closure("otel-bridge", _installed_requirements)
    lines = problems_of(needed, pinned)
    _say(f"{len(needed)} packages run in production; {len(lines) or 'no'} problems with their pins")
    lines += _network({name: pinned[name] for name in needed if name in pinned})
    for line in lines:
        _say(f"  {line}")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
