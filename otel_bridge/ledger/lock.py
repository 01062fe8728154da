"""One writer at a time: a lock that the system lets go of when its process ends, however it ends."""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

_PID_BYTES: Final = 32


class WriterLock:
    """An exclusive ``flock`` on a file beside the ledger, which names the process that holds it.

    The file stays where it is: to remove it would let two processes hold two files of one name.

    Args:
        path: The lock file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd: int | None = None
        self.holder = "nobody"
        """Who else held the lock when it could not be taken, for a message: ``pid 4711``."""

    def take(self) -> bool:
        """Take the lock without waiting; harmless where it is held already.

        Returns:
            False where another process, or another object of this one, holds it.

        Raises:
            OSError: The file can't be created, or can't be locked at all there.
        """
        if self._fd is not None:
            return True
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(fd, 0)
            os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        except BlockingIOError:
            pid = os.pread(fd, _PID_BYTES, 0).decode("ascii", "replace").strip()
            self.holder = f"pid {pid}" if pid.isdecimal() else "pid unknown"
            os.close(fd)
            return False
        except OSError:
            os.close(fd)
            raise
        self._fd = fd
        return True

    def release(self) -> None:
        """Let go of the lock; harmless where it is not held."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
