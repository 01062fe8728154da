"""A PostgreSQL cluster of the tests' own: made in a temporary folder, on a free port, ended by its id.

It is started by the first test that wants it and ends with the test run. As root, which PostgreSQL refuses,
it runs as another account.
"""

from __future__ import annotations

import atexit
import functools
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest

ACCOUNTS: Final = ("postgres", "nobody")
PASSWORD: Final = "s3cret/p@ss word"
_START_S: Final = 30.0
_SETTINGS: Final = {
    "listen_addresses": "127.0.0.1",
    "max_connections": "60",
    # The folder is thrown away: what a power cut would do to it is nobody's concern.
    "fsync": "off",
    "shared_buffers": "32MB",
    "lc_messages": "C",
}
_EMPTY: Final = """
DO $$ BEGIN
    EXECUTE (SELECT 'TRUNCATE ' || string_agg(format('%I.%I', schemaname, tablename), ', ') || ' CASCADE'
        FROM pg_tables WHERE schemaname = 'otel_bridge' AND tablename <> 'schema_versions'
        HAVING count(*) > 0);
EXCEPTION WHEN null_value_not_allowed THEN NULL;
END $$
"""


@dataclass
class Cluster:
    """A running cluster with one superuser, ``admin``, and one user as a service has it, ``bridge``."""

    bin: Path
    folder: Path
    account: str | None
    port: int
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def url(self, database: str = "bridge", user: str = "bridge", port: int | None = None) -> str:
        """As a setting has it."""
        return f"postgresql://{user}:{_quoted(PASSWORD)}@127.0.0.1:{port or self.port}/{database}"

    def start(self) -> None:
        """Start the server, and return when it takes connections."""
        options = [part for name, value in self._settings().items() for part in ("-c", f"{name}={value}")]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [str(self.bin / "postgres"), "-D", str(self.folder / "data"), *options],
                stdout=log,
                stderr=log,
                cwd=self.folder,
                start_new_session=True,
                **_as(self.account),
            )
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline and self.process.poll() is None:
            ready = subprocess.run(
                [str(self.bin / "pg_isready"), "-h", "127.0.0.1", "-p", str(self.port), "-q"], check=False
            )
            if ready.returncode == 0:
                return
            time.sleep(0.05)
        pytest.fail(f"PostgreSQL did not start: {(self.folder / 'log').read_text()[-2000:]}")

    def stop(self, *, at_once: bool = False) -> None:
        """End the server: its sessions are ended; ``at_once`` as a crash would."""
        if self.process is not None:
            self.process.send_signal(signal.SIGQUIT if at_once else signal.SIGINT)
            self.process.wait(30)
            self.process = None

    def sql(self, statement: str, database: str = "postgres") -> str:
        """Run SQL as the superuser; returns what it prints."""
        done = subprocess.run(
            [
                *(str(self.bin / "psql"), "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"),
                *(
                    "-h",
                    str(self.folder),
                    "-p",
                    str(self.port),
                    "-U",
                    "admin",
                    "-d",
                    database,
                    "-c",
                    statement,
                ),
            ],
            check=True,
            capture_output=True,
            text=True,
            **_as(self.account),
        )
        return str(done.stdout).strip()

    def _settings(self) -> dict[str, str]:
        return {**_SETTINGS, "port": str(self.port), "unix_socket_directories": str(self.folder)}


def binaries() -> Path:
    """Where ``initdb`` and the rest are; skip the test where they are not, or fail it where required."""
    places = [Path(found).resolve().parent for found in [shutil.which("initdb")] if found]
    places += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    for place in places:
        if all((place / name).exists() for name in ("initdb", "postgres", "psql", "pg_isready")):
            return place
    reason = "PostgreSQL is not installed: apt-get install postgresql"
    if os.environ.get("OTEL_BRIDGE_REQUIRE_BACKENDS") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


def cluster() -> Cluster:
    """The cluster of this test run, running."""
    return _made(binaries())


def new_database(name: str, encoding: str = "UTF8") -> str:
    """A new empty database that ``bridge`` owns; returns its URL."""
    made = cluster()
    made.sql(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
    made.sql(f"CREATE DATABASE \"{name}\" OWNER bridge TEMPLATE template0 ENCODING '{encoding}'")
    return made.url(name)


def emptied_database() -> str:
    """A database that tests share one after the other, with nothing in its tables; its URL."""
    made = cluster()
    made.sql(_EMPTY, "bridge")
    return made.url()


@functools.cache
def _made(place: Path) -> Cluster:
    folder = Path(tempfile.mkdtemp(prefix="otel-bridge-postgres-", dir="/tmp"))
    account = None
    if os.geteuid() == 0:
        account = next(name for name in ACCOUNTS if name in {each.pw_name for each in pwd.getpwall()})
        shutil.chown(folder, account)
    made = Cluster(place, folder, account, _free_port())
    atexit.register(_remove, made)
    (folder / "password").write_text(PASSWORD)
    (folder / "password").chmod(0o644)
    subprocess.run(
        [
            *(str(place / "initdb"), "-D", str(folder / "data"), "-U", "admin", "-E", "UTF8", "--locale=C"),
            *("--auth-local=trust", "--auth-host=scram-sha-256", "--no-sync"),
            f"--pwfile={folder / 'password'}",
        ],
        check=True,
        capture_output=True,
        cwd=folder,
        **_as(account),
    )
    made.start()
    made.sql(f"CREATE ROLE bridge LOGIN PASSWORD '{PASSWORD}'")
    made.sql("CREATE DATABASE bridge OWNER bridge")
    return made


def _remove(made: Cluster) -> None:
    made.stop(at_once=True)
    shutil.rmtree(made.folder, ignore_errors=True)


def _as(account: str | None) -> dict[str, Any]:
    if account is None:
        return {}
    entry = pwd.getpwnam(account)
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


def _quoted(text: str) -> str:
    from urllib.parse import quote  # noqa: PLC0415

    return quote(text, safe="")


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
