"""The modules that one record passes from the list to the ledger's commit, and the lines of what does that.

One record is collected by ``run --once`` in this process, and every function that runs is looked at, in all
threads, from the request for the page that lists the record to the end of the commit that names it. A module
counts as passed where one of its functions is given the record, or returns it: its id is in what an argument
shows of itself. How many modules run meanwhile at all (clock, budget, meters, planning) is counted beside it.

    python tests/bench/path.py          prints the modules in their order
"""

from __future__ import annotations

import argparse
import inspect
import json
import os
import sys
import tempfile
import threading
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

from processes import HERE, at_most, environment, server
from results import note

import otel_bridge
from otel_bridge.cli.main import main as bridge

if TYPE_CHECKING:
    from types import CodeType, FrameType

ROOT = Path(otel_bridge.__file__).parent
LISTS = "LogsClient.list_page"
COMMITS = "SqliteLedger.commit"
"""Where the path begins and where it ends."""
COLLECTS = (
    "pipeline",
    "service/worker.py",
    "service/again.py",
    "service/repeats.py",
)
"""What collects and delivers: folders and modules whose lines are counted, where they are there."""


class Track:
    """A profile function that notes the bridge's modules on a record's path.

    Args:
        log_id: The record's.

    Attributes:
        passed: By module, the function that was given the record first.
        ran: All modules in which a function ran meanwhile.
        ended: Whether the commit that names the record has come to its end.
    """

    def __init__(self, log_id: str) -> None:
        self.passed: dict[str, str] = {}
        self.ran: set[str] = set()
        self.ended = False
        self._log_id = log_id
        self._begun = False
        self._commit: FrameType | None = None

    def __call__(self, frame: FrameType, event: str, value: Any) -> None:
        """Look at a function that begins or returns; see ``sys.setprofile``."""
        code = frame.f_code
        # The body of a module or of a class is no function: it runs when something is imported.
        if (
            self.ended
            or not code.co_filename.startswith(str(ROOT))
            or not code.co_flags & inspect.CO_OPTIMIZED
        ):
            return
        if event == "return":
            # A coroutine returns once for every time that it waits; the last one is its end.
            self.ended = frame is self._commit and value is None
            held = [value]
        elif event == "call":
            self._begun = self._begun or code.co_qualname == LISTS
            held = _arguments(frame, code)
        else:
            return
        if not self._begun:
            return
        module = str(Path(code.co_filename).relative_to(ROOT))
        self.ran.add(module)
        if any(map(self._shows, held)):
            self.passed.setdefault(module, code.co_qualname)
            if code.co_qualname == COMMITS:
                self._commit = self._commit or frame

    def _shows(self, value: object) -> bool:
        try:
            return self._log_id in repr(value)
        except Exception:  # noqa: BLE001 - an object that is only half made shows nothing
            return False


def _arguments(frame: FrameType, code: CodeType) -> list[object]:
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    return [frame.f_locals[name] for name in names if name in frame.f_locals]


def tracked() -> Track:
    """Collect one record, and look on."""
    with (
        server("-m", "otel_bridge", "emulate", "--port", "0", "--logs", "1") as base_url,
        server(str(HERE / "sink.py")) as sink,
        tempfile.TemporaryDirectory() as folder,
    ):
        with urllib.request.urlopen(f"{base_url}/emulator/ids", timeout=30) as answer:
            (log_id,) = json.load(answer)["ids"]
        os.environ |= environment(base_url, sink, folder, OTEL_BRIDGE_LOG_LEVEL="error")
        track = Track(log_id)
        sys.argv = ["otel-bridge", "run", "--once"]
        threading.setprofile(track)
        sys.setprofile(track)
        try:
            bridge()
        except SystemExit as end:
            if end.code:
                raise
        finally:
            sys.setprofile(None)
            threading.setprofile(None)
    if not track.ended:
        sys.exit(
            f"the path from {LISTS} to {COMMITS} was not seen: say in {__file__} what these are called now"
        )
    return track


def lines() -> dict[str, int]:
    """The lines of each module that collects and delivers; comments, docstrings and blank ones as well."""
    there = [each for part in COLLECTS for each in (*ROOT.glob(part), *ROOT.glob(f"{part}/**/*.py"))]
    return {
        str(each.relative_to(ROOT)): len(each.read_text().splitlines()) for each in there if each.is_file()
    }


def main() -> None:
    """Count and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    at_most(5)
    track, counted = tracked(), lines()
    for number, (module, function) in enumerate(track.passed.items(), 1):
        print(f"{number:3} {module:32} {function}")
    print(
        f"one record passes {len(track.passed)} modules from list to commit; {len(track.ran)} run meanwhile"
    )
    print(f"what collects and delivers: {sum(counted.values()):,} lines in {len(counted)} modules")
    if options.json:
        found = {"passed": list(track.passed), "ran": len(track.ran), "lines": counted}
        note(options.json, "path", found)


if __name__ == "__main__":
    main()
