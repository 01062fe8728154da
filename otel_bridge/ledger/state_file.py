"""The ledger's file: created for its owner alone, looked at before use, moved away when damaged."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from otel_bridge.errors import LedgerError
from otel_bridge.ledger.faults import Damaged

if TYPE_CHECKING:
    from pathlib import Path

_MAGIC: Final = b"SQLite format 3\x00"
_SMALLEST_PAGE_BYTES: Final = 512
_COMPANIONS: Final = ("-wal", "-shm", "-journal")


def create_folder(folder: Path) -> None:
    """Create a folder and those above it, for their owner alone.

    Raises:
        OSError: It can't be done.
    """
    if folder.is_dir():
        return
    create_folder(folder.parent)
    folder.mkdir(mode=0o700, exist_ok=True)


def create_file(path: Path) -> None:
    """Create an empty file for its owner alone; one that exists stays. SQLite's own files take its mode.

    Raises:
        OSError: It can't be done.
    """
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))


def check_file(path: Path) -> int:
    """Look at the file without SQLite.

    SQLite takes a file that was cut to less than a page for a new one, so the first bytes are read here.

    Returns:
        Its size in bytes; 0 for one that is new or missing.

    Raises:
        LedgerError: It is a folder, or something else that is no file.
        Damaged: It is no SQLite file.
        OSError: It can't be read.
    """
    if not path.exists():
        return 0
    if not path.is_file():
        kind = "a folder" if path.is_dir() else "no regular file"
        raise LedgerError(
            f"The ledger {path} is {kind}: set OTEL_BRIDGE_STATE to a file, such as sqlite:///{path}/ledger.db"
        )
    size = path.stat().st_size
    if size == 0:
        return 0
    with path.open("rb") as file:
        start = file.read(len(_MAGIC))
    if start != _MAGIC or size < _SMALLEST_PAGE_BYTES:
        raise Damaged("file is not a database")
    return size


def set_aside(path: Path, now_ms: int) -> Path:
    """Move a damaged file and its companions away, so that a person can look at them.

    Args:
        path: The ledger's file.
        now_ms: For the name: ms since the epoch.

    Returns:
        Where the file is now: ``<name>.corrupt-<UTC time>``.

    Raises:
        OSError: It can't be moved.
    """
    stamp = datetime.fromtimestamp(now_ms / 1000, UTC).strftime("%Y%m%dT%H%M%SZ")
    target = path.with_name(f"{path.name}.corrupt-{stamp}")
    count = 1
    while target.exists():
        count += 1
        target = path.with_name(f"{path.name}.corrupt-{stamp}-{count}")
    for companion in _COMPANIONS:
        source = path.with_name(path.name + companion)
        if source.exists():
            # The companions go first: a log that stayed behind would be replayed into the new file.
            source.rename(target.with_name(target.name + companion))
    path.rename(target)
    return target
