"""Which ledger a setting names: ``sqlite:///PATH`` or ``postgresql://…``, and where it is by default."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import platformdirs

from otel_bridge.errors import SettingsError
from otel_bridge.file_values import Fixed, Part
from otel_bridge.ledger.sqlite import SqliteLedger

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_bridge.file_values import Renewable
    from otel_bridge.ledger.postgres import PostgresLedger
    from otel_bridge.ledger.postgres_address import Address
    from otel_bridge.ledger.protocol import Ledger
    from otel_bridge.times import Clock

STATE_FORM: Final = (
    "sqlite:///PATH, such as sqlite:////var/lib/otel-bridge/ledger.db or sqlite:///ledger.db, "
    "or postgresql://USER:PASSWORD@HOST:PORT/DATABASE"
)
_SQLITE: Final = "sqlite:///"


def default_state_url() -> str:
    """The ledger in the platform's state folder, such as ``sqlite:////…/otel-bridge/ledger.db``.

    Raises:
        SettingsError: This user has no home folder, such as a container's user of any number.
    """
    try:
        folder = platformdirs.user_state_path("otel-bridge", appauthor=False)
    except RuntimeError:
        folder = Path("~")
    if not folder.is_absolute():
        raise SettingsError(
            "OTEL_BRIDGE_STATE is not set, and this user has no home folder (HOME) for the ledger: "
            f"it takes {STATE_FORM}"
        )
    return f"{_SQLITE}{folder / 'ledger.db'}"


def masked_url(url: str) -> str:
    """The URL without what may be a password: user information and query are masked."""
    without_user = re.sub(r"(?<=://).*@", "***@", url, flags=re.DOTALL)
    return without_user if url.startswith(_SQLITE) else re.sub(r"\?.*", "?***", without_user, flags=re.DOTALL)


def sqlite_path(url: str) -> Path:
    """The path in an SQLite URL, as SQLAlchemy reads it: after three slashes, so four for an absolute path.

    ``~`` at its beginning is the home folder.

    Raises:
        SettingsError: It is no such URL.
    """
    path = url[len(_SQLITE) :]
    if not url.startswith(_SQLITE) or path in ("", ":memory:") or "\x00" in path:
        raise SettingsError(f"OTEL_BRIDGE_STATE is {masked_url(url)!r}: it takes {STATE_FORM}")
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise SettingsError(f"OTEL_BRIDGE_STATE is {url!r}: there is no such home folder") from None


def is_postgres(url: str) -> bool:
    """Whether the URL names a PostgreSQL database."""
    return url.partition(":")[0].split("+")[0] in ("postgresql", "postgres")


def check_state_url(url: str) -> None:
    """See that the URL names a ledger, without opening it.

    Raises:
        SettingsError: As ``open_ledger``.
    """
    if is_postgres(url):
        _postgres_modules()[1](url)
    else:
        sqlite_path(url)


def open_ledger(
    url: str | Renewable[str],
    clock: Clock,
    *,
    read_only: bool = False,
    shared: bool = False,
    on_notice: Callable[[str], None] | None = None,
) -> Ledger:
    """The ledger that ``OTEL_BRIDGE_STATE`` names, still to be opened by its ``open``.

    Args:
        url: ``sqlite:///PATH`` or ``postgresql://…``. One that is renewed gives a PostgreSQL ledger user,
            password and the like for its next connection, as long as it names the same database.
        clock: The program's clock.
        read_only: As ``SqliteLedger`` and ``PostgresLedger``.
        shared: As ``SqliteLedger``; a PostgreSQL ledger always is.
        on_notice: As ``SqliteLedger``.

    Raises:
        SettingsError: The URL names no ledger, or the package for PostgreSQL is not installed.
    """
    renewed = Fixed(url) if isinstance(url, str) else url
    url = renewed.get()
    if is_postgres(url):
        ledger, read_address = _postgres_modules()
        known = read_address(url)

        def present(url: str) -> Address:
            nonlocal known
            address = read_address(url) if is_postgres(url) else known
            known = address if address.where == known.where else known
            return known

        return ledger(Part(renewed, present), clock, read_only=read_only)
    return SqliteLedger(sqlite_path(url), clock, read_only=read_only, shared=shared, on_notice=on_notice)


def project_rows(url: str) -> list[tuple[str, Any]]:
    """The projects that a PostgreSQL ledger's table names: name and settings, by name. Blocks.

    Raises:
        SettingsError: As ``open_ledger``.
        LedgerError: The database can't be used.
    """
    _, read_address = _postgres_modules()
    from otel_bridge.ledger.postgres_project_settings import read_rows  # noqa: PLC0415 - an extra

    return read_rows(read_address(url))


def _postgres_modules() -> tuple[type[PostgresLedger], Callable[[str], Address]]:
    try:
        from otel_bridge.ledger.postgres import PostgresLedger  # noqa: PLC0415 - an extra, not always there
        from otel_bridge.ledger.postgres_address import read_address  # noqa: PLC0415 - as above
    except ImportError:
        raise SettingsError(
            "OTEL_BRIDGE_STATE names a PostgreSQL database, which takes more packages: "
            "pip install 'otel-bridge[postgres]'"
        ) from None
    return PostgresLedger, read_address
