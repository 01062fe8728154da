"""Values that come from files, and are read again when a file changes.

Kubernetes and other tools renew a mounted secret by swapping a symbolic link, or write several files one
after the other. So a change is seen by what the path leads to, and a reading that fails keeps the value
before: a key that does not fit its certificate yet, or a file that is half written, is tried again later.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, Generic, Protocol, TypeVar

from otel_bridge.errors import BridgeError

if TYPE_CHECKING:
    from collections.abc import Callable

LOOK_EVERY_S: Final = 1.0
"""Files are looked at no more often, but for a peer that has refused what they held."""

Mark = tuple[int, int, int, int] | None
"""Tells two states of a file apart: its device, inode, size and time; None where there is none."""

T = TypeVar("T")
U = TypeVar("U")
T_co = TypeVar("T_co", covariant=True)


class Renewable(Protocol[T_co]):
    """A value that another one may take the place of. As long as it is the same object, it is the same."""

    def get(self) -> T_co:
        """The value."""
        ...

    def look(self) -> T_co:
        """The value, after a look at its files now: for one that has just been refused."""
        ...


class Fixed(Generic[T]):
    """A value that stays."""

    def __init__(self, value: T) -> None:
        self._value = value

    def get(self) -> T:
        """See `Renewable`."""
        return self._value

    look = get


class Marks(dict[str, Mark]):
    """The files that a value was made from, each as it was."""

    def note(self, path: str) -> None:
        """Note a file, before it is read: what changes in between is seen as a change."""
        self[path] = _mark(path)

    def changed(self) -> bool:
        """Whether one of them is another file now."""
        return any(_mark(path) != mark for path, mark in self.items())


class FileValue(Generic[T]):
    """A value made from files.

    Example:
        >>> def read(marks: Marks) -> str:
        ...     marks.note("/run/secrets/key")
        ...     return Path("/run/secrets/key").read_text()
        >>> key = FileValue(read)
        >>> key.get()

    Args:
        read: Makes the value, and notes each file first.

    Raises:
        BridgeError: The first reading failed.
    """

    def __init__(self, read: Callable[[Marks], T]) -> None:
        self._read = read
        self._marks = Marks()
        self._value = read(self._marks)
        self._next_look_s = time.monotonic() + LOOK_EVERY_S
        self._trouble = ""
        self.on_renewed: Callable[[], None] = lambda: None
        self.on_trouble: Callable[[str], None] = lambda _: None

    @property
    def has_files(self) -> bool:
        """Whether the value was made from files at all."""
        return bool(self._marks)

    def get(self) -> T:
        """The value as the files hold it; a change is seen within ``LOOK_EVERY_S``."""
        if time.monotonic() >= self._next_look_s and self._marks:
            return self.look()
        return self._value

    def look(self) -> T:
        """The value as the files hold it now; where they can't be used, the one before.

        ``on_trouble`` is called with what is wrong, once for as long as it stays the same; ``on_renewed``
        when there is another value.
        """
        self._next_look_s = time.monotonic() + LOOK_EVERY_S
        if not self._marks.changed():
            self._trouble = ""
            return self._value
        marks = Marks()
        try:
            value = self._read(marks)
        except BridgeError as error:
            if str(error) != self._trouble:
                self._trouble = str(error)
                self.on_trouble(self._trouble)
            return self._value
        self._value, self._marks, self._trouble = value, marks, ""
        self.on_renewed()
        return value


class Part(Generic[T, U]):
    """What is made of another value, and made anew where that one is another.

    Args:
        whole: The other value.
        make: Makes it.
    """

    def __init__(self, whole: Renewable[T], make: Callable[[T], U]) -> None:
        self._whole = whole
        self._make = make
        self._made_of = whole.get()
        self._value = make(self._made_of)

    def get(self) -> U:
        """See `Renewable`."""
        return self._of(self._whole.get())

    def look(self) -> U:
        """See `Renewable`."""
        return self._of(self._whole.look())

    def _of(self, whole: T) -> U:
        if whole is not self._made_of:
            self._value = self._make(whole)
            self._made_of = whole
        return self._value


def _mark(path: str) -> Mark:
    try:
        found = Path(path).stat()
    except (OSError, ValueError):
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
