"""The pages a person reads, and the code blocks in them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from otel_bridge.mapping import conventions

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
TOP = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")
_FENCE = re.compile(
    r"(?:^<!-- (?P<mark>[a-z ]+): (?P<text>[^\n]*?) -->\n)?^```(?P<language>[\w-]*)\n(?P<code>.*?)^```$",
    re.DOTALL | re.MULTILINE,
)

PICTURES = frozenset({"", "text"})
"""Languages of blocks that are no code: drawings and what a program prints."""

REASONS = {
    "goes on until it is stopped": r"otel-bridge (run|emulate|demo --keep-running)\b(?!.*--once)",
    "installs packages": r"pip install|npm install|pipx|uv (add|pip|tool)|make |helm |python3 -m venv",
    "needs Docker": r"docker",
    "needs a cluster": r"kubectl|helm",
    "needs a backend": r"curl|OTEL_EXPORTER_OTLP_|jaeger|promtool|otelcol",
    "needs the application's own code": r"import |composio",
    "starts the tests": r"make |pytest",
    "changes the shell": r"completion",
    "another tool's file": r":",
}
"""Why a block is not run, each with what such a block must hold."""


@dataclass(frozen=True)
class Block:
    """One fenced block.

    Attributes:
        page: Where it stands.
        line: Its first line, from 1.
        language: As the fence says; empty for none.
        code: What is in it.
        mark: What the comment right above says of it: ``not run`` or ``exit``; None for nothing.
        text: The rest of that comment.
    """

    page: Path
    line: int
    language: str
    code: str
    mark: str | None
    text: str

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def pages() -> list[Path]:
    """Every page but the decisions, which tell how things came about."""
    inside = [page for page in sorted(DOCS.rglob("*.md")) if "decisions" not in page.parts]
    return [*(ROOT / name for name in TOP), *inside]


def blocks_in(page: Path) -> Iterator[Block]:
    """The fenced blocks of a page."""
    text = page.read_text()
    for match in _FENCE.finditer(text):
        line = text.count("\n", 0, match.start("language")) + 1
        yield Block(page, line, match["language"], match["code"], match["mark"], match["text"] or "")


def blocks(*languages: str) -> list[Block]:
    """The blocks of these languages on every page."""
    return [block for page in pages() for block in blocks_in(page) if block.language in languages]


_NOT_ATTRIBUTES = {
    "SCOPE_NAME",
    "SCHEMA_URL",
    "EXECUTE_TOOL",
    "EXTENSION",
    "ERROR_TYPE_OTHER",
    "EVENT_PREFIX",
}


def attributes_of_records() -> set[str]:
    """Every attribute that the mapping can write; `composio.metadata.*` stands for a family."""
    names = set()
    for constant, value in vars(conventions).items():
        if constant.isupper() and constant not in _NOT_ATTRIBUTES and not constant.endswith("_VERSION"):
            names.add(value + "*" if constant.endswith("_PREFIX") else value)
    return names
