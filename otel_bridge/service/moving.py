"""Move what is remembered from one machine to a database that many share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from otel_bridge.errors import SettingsError
from otel_bridge.ledger.place import check_state_url, is_postgres, sqlite_path

if TYPE_CHECKING:
    from otel_bridge.times import Clock


async def move_ledger(source: str, target: str, clock: Clock) -> dict[str, int]:
    """Copy the ledger at one URL to another.

    Returns:
        How many rows were copied, by table.

    Raises:
        SettingsError: They are not an SQLite and a PostgreSQL URL.
        LedgerError: Either can't be used.
    """
    if is_postgres(source):
        raise SettingsError("FROM takes sqlite:///PATH: a ledger is copied from a file to PostgreSQL")
    path = sqlite_path(source)
    if not is_postgres(target):
        raise SettingsError("TO takes postgresql://USER:PASSWORD@HOST/DATABASE")
    check_state_url(target)
    from otel_bridge.ledger.copying import copy_ledger  # noqa: PLC0415 - psycopg is an extra
    from otel_bridge.ledger.postgres_address import read_address  # noqa: PLC0415 - as above

    return await copy_ledger(path, read_address(target), clock)
