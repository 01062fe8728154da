"""Standard streams as a process may be given them: closed, full, a pipe that is not read, not in UTF-8.

What a command is asked for goes to standard output: where that can't be written the command ends with exit
status 1. The log and errors go to standard error: what can't be written there is dropped, and the work goes
on.
"""

from __future__ import annotations

import codecs
import contextlib
import errno
import io
import os
import select
import sys
from abc import abstractmethod
from typing import Any, Final, TextIO

_EXIT_FAILED: Final = 1
_PATIENCE_S: Final = 1.0
"""How long a standard error that takes nothing now, being set not to block, is waited for."""
_PLAIN: Final = "otel_bridge_plain"
_ALIKE: Final = str.maketrans(dict(zip("●━╸╺─┄│├└✗·", "*=----||`x-", strict=True)) | {"…": "...", "→": "->"})


def prepare() -> None:
    """Give the process streams that can be relied on; once, before a command runs.

    A number below 3 that is closed is opened on nothing. Otherwise the next file to be opened, such as the
    ledger, would get it, and be written to by whatever writes to standard error.
    """
    codecs.register_error(_PLAIN, _plain)
    for number, mode in ((0, os.O_RDONLY), (1, os.O_WRONLY), (2, os.O_WRONLY)):
        _opened(number, mode)
    if sys.stdin is None:
        sys.stdin = open(os.devnull, encoding="utf-8")  # noqa: SIM115, PTH123 - for as long as the process lives
    sys.stdout = _text(_Output, 1, sys.stdout)
    sys.stderr = _text(_Dropping, 2, sys.stderr)


def _opened(number: int, mode: int) -> None:
    """Open a number on nothing where it is closed. The lowest free number is what opening gives."""
    with contextlib.suppress(OSError):
        os.fstat(number)
        return
    with contextlib.suppress(OSError):  # a root folder without devices
        opened = os.open(os.devnull, mode)
        if opened != number:
            os.dup2(opened, number)
            os.close(opened)


def _text(kind: type[_Stream], number: int, before: TextIO | None) -> TextIO:
    encoding = "utf-8" if before is None else before.encoding
    # One that was closed when Python started is lost for good, whatever its number leads to by now.
    raw = kind(number, lost=before is None)
    lines = number == 2 or raw.isatty()  # noqa: PLR2004 - standard error
    return io.TextIOWrapper(io.BufferedWriter(raw), encoding, errors=_PLAIN, line_buffering=lines)


class _Stream(io.RawIOBase):
    """A descriptor that is written to until that fails, and never closed."""

    def __init__(self, number: int, *, lost: bool) -> None:
        super().__init__()
        self._number = number
        self._lost = lost
        self.name = f"<{number}>"

    def fileno(self) -> int:
        return self._number

    def isatty(self) -> bool:
        return not self._lost and os.isatty(self._number)

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        """Write some of it; all of it counts as written once writing has failed."""
        size = memoryview(data).nbytes
        if self._lost:
            return size
        try:
            return self._written(data)
        except OSError as error:
            self._failed(error)
        return size

    @abstractmethod
    def _written(self, data: Any) -> int:
        """Write some of it; returns how many bytes."""

    @abstractmethod
    def _failed(self, error: OSError) -> None:
        """Writing failed with this error."""


class _Output(_Stream):
    """Standard output."""

    def _written(self, data: Any) -> int:
        while True:
            try:
                return os.write(self._number, data)
            except BlockingIOError:
                select.select([], [self._number], [])

    def _failed(self, error: OSError) -> None:
        """End the command.

        Raises:
            SystemExit: Always. Nothing on the way takes it for a failure of its own.
        """
        self._lost = True
        if error.errno != errno.EPIPE:  # a reader that has read enough needs no word
            why = os.strerror(error.errno or 0).lower()
            print(f"otel-bridge: standard output can't be written: {why}", file=sys.stderr)  # noqa: T201 - for a person
        raise SystemExit(_EXIT_FAILED)


class _Dropping(_Stream):
    """Standard error. A disk that is full may have room again, so each write is tried."""

    def _written(self, data: Any) -> int:
        try:
            return os.write(self._number, data)
        except BlockingIOError:
            select.select([], [self._number], [], _PATIENCE_S)
            return os.write(self._number, data)

    def _failed(self, error: OSError) -> None:
        pass


def _plain(error: UnicodeError) -> tuple[str, int]:
    r"""What an encoding lacks, in ASCII: a likeness, or as JSON escapes it (``\u00e9``)."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end].translate(_ALIKE)
    return "".join(each if each.isascii() else _escaped(each) for each in text), error.end


def _escaped(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))
