"""One line of ``check``: what was looked at, how it is, and what to do."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class State(StrEnum):
    """How it is."""

    OK = "ok"
    NOTE = "note"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """One check's result.

    Attributes:
        check: What was looked at: settings, ledger, source, rate, clock, usage, age, destination, record or
            listen.
        state: Only ``FAIL`` makes the command fail.
        text: What was found, in one line.
        todo: What a person can do about it; empty where there is nothing to do.
        about: The project or the signal it is about; None where it is about neither.
    """

    check: str
    state: State
    text: str
    todo: str = ""
    about: str | None = None

    @property
    def failed(self) -> bool:
        """Whether the bridge can't work so."""
        return self.state is State.FAIL

    def line(self) -> str:
        """For people."""
        word = "FAIL" if self.failed else self.state.value
        return f"{word:4}  {self.text}{f'; {self.todo}' if self.todo else ''}"

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        return {
            "check": self.check,
            "state": self.state.value,
            "about": self.about,
            "text": self.text,
            "todo": self.todo,
        }


def ok(check: str, text: str, about: str | None = None) -> Finding:
    """It is as it should be."""
    return Finding(check, State.OK, text, about=about)


def note(check: str, text: str, todo: str = "", about: str | None = None) -> Finding:
    """Worth knowing; the bridge works."""
    return Finding(check, State.NOTE, text, todo, about)


def failed(check: str, text: str, todo: str = "", about: str | None = None) -> Finding:
    """The bridge can't work so. An error whose text says what to do comes without ``todo``."""
    return Finding(check, State.FAIL, text, todo, about)
