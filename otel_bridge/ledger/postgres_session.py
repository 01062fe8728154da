r"""What every session with PostgreSQL has in common, whatever server, database and role set.

A database need not be in UTF-8: `initdb` under ``LC_ALL=C`` makes SQL_ASCII, and there are clusters in
LATIN1. Connections ask for UTF-8 (``client_encoding``, in ``postgres_address``), which the server translates
where it can. What such a database can't hold would be an error, so text is kept there in ASCII, each other
character as an escape: the project ``Łódź`` as ``\u0141\xf3d\u017a``. Both ways are the session's work;
the statements, and a database in UTF-8, see nothing of it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from psycopg import AsyncConnection
from psycopg.types import json as of_json
from psycopg.types import string as of_string
from psycopg.types.json import Jsonb

if TYPE_CHECKING:
    from psycopg.abc import Buffer

    from otel_bridge.ledger.postgres_address import Address

# A role or a database can set each of these otherwise. psycopg reads times in ISO alone.
_SETTINGS: Final = (
    "SET datestyle = 'ISO'; SET timezone = 'UTC'; SET standard_conforming_strings = on;"
    " SET default_transaction_isolation = 'read committed'"
)
_ESCAPE: Final = re.compile(r"\\(?:\\|x([0-9a-f]{2})|u([0-9a-f]{4})|U(00(?:0[0-9a-f]|10)[0-9a-f]{4}))")


async def connect(address: Address) -> AsyncConnection[tuple[Any, ...]]:
    """A session of one's own, in autocommit mode.

    Raises:
        psycopg.Error: The database can't be used.
    """
    connection = await AsyncConnection.connect(address.conninfo, autocommit=True)
    try:
        await prepare(connection)
    except BaseException:
        await connection.close()
        raise
    return connection


async def prepare(connection: AsyncConnection[Any]) -> None:
    """Make a new session work as the statements expect.

    Args:
        connection: In autocommit mode; in another a transaction has begun afterwards.
    """
    await connection.execute(_SETTINGS)
    if connection.info.parameter_status("server_encoding") != "UTF8":
        for dumper in _DUMPERS:
            connection.adapters.register_dumper(str, dumper)
        for dumper in _JSON_DUMPERS:
            connection.adapters.register_dumper(Jsonb, dumper)
        for loader, names in _LOADERS.items():
            for name in names:
                connection.adapters.register_loader(name, loader)


def escaped(text: str) -> str:
    r"""Text in ASCII, which ``unescaped`` undoes: ``Łódź`` is ``\u0141\xf3d\u017a``."""
    return text.replace("\\", "\\\\").encode("ascii", "backslashreplace").decode("ascii")


def unescaped(text: str) -> str:
    """Text as it was before ``escaped``; text that a person has written there stays as it is."""
    return _ESCAPE.sub(_character, text) if "\\" in text else text


def _character(match: re.Match[str]) -> str:
    return chr(int(match[match.lastindex], 16)) if match.lastindex else "\\"


def _every(convert: Any, value: Any) -> Any:
    """A JSON value with each text in it converted."""
    if isinstance(value, str):
        return convert(value)
    if isinstance(value, dict):
        return {convert(name): _every(convert, each) for name, each in value.items()}
    return [_every(convert, each) for each in value] if isinstance(value, list) else value


def _escaping(base: type) -> type:
    class Escaping(base):  # type: ignore[misc]
        def dump(self, obj: str) -> Buffer | None:
            data: Buffer | None = super().dump(escaped(obj))
            return data

    return Escaping


def _escaping_json(base: type) -> type:
    class Escaping(base):  # type: ignore[misc]
        def dump(self, obj: Jsonb) -> Buffer | None:
            data: Buffer | None = super().dump(Jsonb(_every(escaped, obj.obj), obj.dumps))
            return data

    return Escaping


def _unescaping(base: type) -> type:
    class Unescaping(base):  # type: ignore[misc]
        def load(self, data: Buffer) -> Any:
            return _every(unescaped, super().load(data))

    return Unescaping


# psycopg has one for each type of text; the last one is taken where the type is not known.
_DUMPERS: Final = [
    _escaping(base)
    for base in (
        of_string.StrBinaryDumperName,
        of_string.StrBinaryDumperVarchar,
        of_string.StrBinaryDumper,
        of_string.StrDumperName,
        of_string.StrDumperVarchar,
        of_string.StrDumper,
        of_string.StrDumperUnknown,
    )
]
_JSON_DUMPERS: Final = [_escaping_json(base) for base in (of_json.JsonbBinaryDumper, of_json.JsonbDumper)]
_TEXT: Final = ("text", "varchar", "bpchar", "name")
_LOADERS: Final = {
    _unescaping(of_string.TextLoader): _TEXT,
    _unescaping(of_string.TextBinaryLoader): _TEXT,
    _unescaping(of_json.JsonbLoader): ("jsonb",),
    _unescaping(of_json.JsonbBinaryLoader): ("jsonb",),
}
