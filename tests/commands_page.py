"""The help texts of docs/commands.md, made from the program itself.

``python tests/commands_page.py`` writes them; a test fails when they are not as the program is.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from otel_bridge.cli.commands import commands

PAGE = Path(__file__).parents[1] / "docs" / "commands.md"
WIDTH = 100
_BLOCK = re.compile(r"(<!-- help: ([a-z-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def help_of(name: str) -> str:
    """A command's help as a terminal of 100 columns shows it; ``otel-bridge`` is the program's own."""
    # Typer may carry its own click, so its classes are reached from what it made.
    group: Any = commands
    make = type(group.make_context("otel-bridge", ["status"], resilient_parsing=True))
    top = make(group, info_name="otel-bridge", terminal_width=WIDTH, max_content_width=WIDTH)
    if name == "otel-bridge":
        return str(group.get_help(top))
    command = group.commands[name]
    context = make(command, info_name=name, parent=top, terminal_width=WIDTH, max_content_width=WIDTH)
    return str(command.get_help(context))


def filled(text: str) -> str:
    """A page with its help texts made anew."""
    return _BLOCK.sub(lambda match: f"{match[1]}```text\n{help_of(match[2])}\n```\n{match[3]}", text)


def told(text: str) -> list[str]:
    """The commands whose help stands on a page."""
    return [match[2] for match in _BLOCK.finditer(text)]


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text()))
