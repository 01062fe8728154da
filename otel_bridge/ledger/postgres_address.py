"""Where a PostgreSQL ledger is: the URL read and checked, and what of it may be shown."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from otel_bridge.errors import SettingsError

POSTGRES_FORM: Final = "postgresql://USER:PASSWORD@HOST:PORT/DATABASE"
CONNECT_S: Final = 5
_SCHEME: Final = re.compile(r"^postgres(?:ql)?(?:\+psycopg)?://")
_SECRETS: Final = ("password", "sslpassword", "oauth_client_secret")


@dataclass(frozen=True, slots=True)
class Address:
    """A database.

    Attributes:
        conninfo: For libpq; holds the password.
        where: For people, without user and password.
        secrets: What must not be shown.
    """

    conninfo: str = field(repr=False)
    where: str
    secrets: tuple[str, ...] = field(repr=False)


def read_address(url: str) -> Address:
    """Read ``postgresql://USER:PASSWORD@HOST:PORT/DATABASE?…``, with libpq's own parameters.

    Raises:
        SettingsError: It is no such URL. The URL is not shown: where a password is not encoded as it should
            be, nobody can tell which part of it is the password.
    """
    wrong = SettingsError(
        f"OTEL_BRIDGE_STATE is no PostgreSQL URL that can be read: it takes {POSTGRES_FORM}, "
        "with :, /, @, ?, # and % of the password percent-encoded"
    )
    if not _SCHEME.match(url):
        raise wrong
    try:
        parts = conninfo_to_dict(_SCHEME.sub("postgresql://", url))
    except (psycopg.Error, UnicodeError):
        raise wrong from None
    host, port = str(parts.get("host") or "localhost"), str(parts.get("port") or "5432")
    name = str(parts.get("dbname") or parts.get("user") or "")
    # A password that is not encoded spills into its neighbours, which errors quote.
    if "@" in host + name or not re.fullmatch(r"\d+(,\d+)*", port):
        raise wrong
    shown = f"[{host}]" if ":" in host else host
    settings: dict[str, str | int | None] = {
        "connect_timeout": CONNECT_S,
        "application_name": "otel-bridge",
        # A host that has gone silent is given up within 15 s, not the system's quarter of an hour.
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 2,
        "tcp_user_timeout": 15_000,
    }
    settings.update((key, str(value)) for key, value in parts.items() if value is not None)
    # Whatever the database is in, and PGCLIENTENCODING says: text is read and written as UTF-8.
    settings["client_encoding"] = "utf8"
    return Address(
        make_conninfo("", **settings),
        f"postgresql://{shown}:{port}/{name}",
        tuple(str(parts[key]) for key in _SECRETS if parts.get(key)),
    )
