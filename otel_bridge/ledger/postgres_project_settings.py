"""The table in which people keep what is collected; nothing of it is the ledger's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import psycopg

from otel_bridge.ledger.postgres_faults import explain

if TYPE_CHECKING:
    from otel_bridge.ledger.postgres_address import Address

_THERE: Final = "SELECT to_regclass('otel_bridge.project_settings') IS NOT NULL"
_ROWS: Final = 'SELECT name, settings FROM otel_bridge.project_settings ORDER BY name COLLATE "C"'
_TIMEOUT: Final = "-c statement_timeout=10s"


def read_rows(address: Address) -> list[tuple[str, Any]]:
    """Name and settings of each project, by name; nothing where no replica has made the table yet.

    Raises:
        LedgerError: The database can't be used.
    """
    try:
        with psycopg.connect(address.conninfo, autocommit=True, options=_TIMEOUT) as connection:
            there = connection.execute(_THERE).fetchone()
            if there is None or not there[0]:
                return []
            return list(connection.execute(_ROWS))
    except psycopg.Error as error:
        raise explain(error, address.where, address.secrets) from None
