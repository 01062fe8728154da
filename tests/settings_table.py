"""The tables of docs/settings.md and docs/commands.md, made from the program itself.

``python tests/settings_table.py`` writes them; a test fails when they are not as the program is.
"""

from __future__ import annotations

import re
from pathlib import Path

from pydantic_core import PydanticUndefined

from otel_bridge.settings import variables

DOCS = Path(__file__).parents[1] / "docs"
_BLOCK = re.compile(r"(<!-- made: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def settings_table() -> str:
    """One row a setting: its variable, its place in the file, its default, what it takes, what it means."""
    rows = ["| variable | in the file | default | takes | meaning |", "|---|---|---|---|---|"]
    for (section, name), variable, field in variables():
        place = f"`projects[].{name}`" if section == "projects" else f"`{section}.{name}`"
        shown = f"`{variable.name}`" if variable.name else ""
        cells = (shown, place, _default(name, field.default), variable.takes, field.description)
        rows.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(rows) + "\n"


def _default(name: str, default: object) -> str:
    if name == "state":
        return "`sqlite:///` + the platform's state folder"
    if default in (None, PydanticUndefined, (), {}):
        return ""
    if isinstance(default, tuple):
        return f"`{','.join(default)}`"
    return f"`{default}`"


TABLES = {"settings": settings_table}


def filled(text: str) -> str:
    """A page with its tables made anew."""
    return _BLOCK.sub(lambda match: match[1] + TABLES[match[2]]() + match[3], text)


if __name__ == "__main__":
    for page in DOCS.rglob("*.md"):
        page.write_text(filled(page.read_text()))
