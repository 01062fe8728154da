"""What PostgreSQL and the way to it say, in words that name the database and what to do; never a password."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import psycopg

from otel_bridge.errors import LedgerError

if TYPE_CHECKING:
    from collections.abc import Iterable

MESSAGE_CHARS: Final = 300

_WORDS: Final = (
    (
        ("28P01", "28000"),
        ("password authentication failed", "no password supplied", "pg_hba.conf"),
        "refuses the user: check user and password in OTEL_BRIDGE_STATE, and the server's pg_hba.conf",
    ),
    (
        ("53300",),
        ("too many clients", "remaining connection slots", "too many connections"),
        "has no connection left: raise its max_connections, or run fewer programs on it",
    ),
    (
        ("3D000",),
        ("database .* does not exist",),
        "is not there: create the database, or correct its name in OTEL_BRIDGE_STATE",
    ),
    (
        ("42501",),
        (),
        (
            "does not let the user do this: let it own the schema otel_bridge "
            "(CREATE SCHEMA otel_bridge AUTHORIZATION the user), or create schemas in the database"
        ),
    ),
    (("53100",), (), "can't be written, its disk is full: free some space there"),
    (
        ("25006",),
        (),
        (
            "is read-only, a standby perhaps: name the primary, or add target_session_attrs=read-write to "
            "OTEL_BRIDGE_STATE; where it is none, unset "
            "default_transaction_read_only of role and database"
        ),
    ),
    (("55P03", "57014"), (), "has another program that holds a lock for long: stop what has it open"),
    (("42P01", "3F000"), (), "has lost the ledger's tables: restart otel-bridge, which makes them anew"),
    (("22003",), (), "can't keep a number beyond 64 bits"),
)

_LOST: Final = frozenset({"25P03", "57P01", "57P02", "57P03"})
"""A transaction was idle for too long; the server stops, crashed, or starts."""
_AGAIN: Final = frozenset({"40001", "40P01"})
"""Two transactions were in each other's way."""


def is_connection_lost(error: psycopg.Error) -> bool:
    """Whether the connection is gone, so that another one may do better."""
    if error.sqlstate is None:
        return isinstance(error, psycopg.OperationalError)
    return error.sqlstate in _LOST or error.sqlstate.startswith("08")


def is_passing(error: psycopg.Error) -> bool:
    """Whether the same again may well succeed: a lost connection, a deadlock."""
    return is_connection_lost(error) or error.sqlstate in _AGAIN


def is_worth_waiting(error: psycopg.Error) -> bool:
    """Whether a database that can't be opened may be usable in a few seconds, because it just starts."""
    return is_connection_lost(error) and _known(error) is None


def explain(error: psycopg.Error, where: str, secrets: Iterable[str] = ()) -> LedgerError:
    """PostgreSQL's error as one line for a person.

    Args:
        error: As psycopg raised it.
        where: The database without user and password, as ``postgresql://host:5432/name``.
        secrets: What must not be shown, whoever quotes it.
    """
    known = _known(error)
    if known is not None:
        return LedgerError(f"The ledger {where} {known}")
    said = _said(error)
    for secret in secrets:
        said = said.replace(secret, "***")
    if is_connection_lost(error):
        return LedgerError(
            f"The ledger {where} can't be reached ({said}): start it, or check OTEL_BRIDGE_STATE"
        )
    return LedgerError(f"The ledger {where} can't be used: {said}")


def _known(error: psycopg.Error) -> str | None:
    # libpq gives no code for a connection that was never made, so its words have to do.
    text = str(error)
    for codes, phrases, words in _WORDS:
        if error.sqlstate in codes or (error.sqlstate is None and any(re.search(p, text) for p in phrases)):
            return words
    return None


def _said(error: psycopg.Error) -> str:
    # The primary message alone: a detail may quote a row.
    text = " ".join((error.diag.message_primary or str(error)).split()) or type(error).__name__
    return text if len(text) <= MESSAGE_CHARS else text[: MESSAGE_CHARS - 1] + "…"
