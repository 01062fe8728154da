"""``worker``: one more replica, pinned to some of the projects."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from otel_bridge.cli.options import ConfigFile, read_settings
from otel_bridge.errors import SettingsError
from otel_bridge.ledger.place import is_postgres
from otel_bridge.service import runner
from otel_bridge.settings import Settings
from otel_bridge.times import SystemClock

if TYPE_CHECKING:
    from otel_bridge.service.running import Serve

Projects = Annotated[
    str, typer.Option("--projects", metavar="NAMES", help="Projects of the settings, joined by commas.")
]


def worker(projects: Projects, config: ConfigFile = None) -> None:
    """Take part in the work of some projects only; needs a PostgreSQL ledger."""
    settings = pinned(read_settings(config), projects)
    asyncio.run(runner.run(settings, SystemClock(), serve=served()))


def served() -> Serve:
    """What opens the HTTP endpoints: a web server, 9 MB that a run up to now has no use for."""
    from otel_bridge.web import endpoints  # noqa: PLC0415 - see above

    return endpoints


def pinned(settings: Settings, names: str) -> Settings:
    """The settings with these projects alone.

    Raises:
        SettingsError: One of them is not there, or the ledger is one process's alone.
    """
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    known = [project.name for project in settings.projects]
    # Where projects come and go, one that is not there yet may come.
    unknown = [] if settings.projects_place else [name for name in wanted if name not in known]
    if unknown or not wanted:
        what = repr(unknown[0]) if unknown else "empty"
        raise SettingsError(
            f"--projects is {what}: takes names of projects in the settings: {', '.join(known)}"
        )
    if not is_postgres(settings.ledger.state.get_secret_value()):
        raise SettingsError(
            "worker takes a ledger that replicas share: set OTEL_BRIDGE_STATE to postgresql://…, "
            "or use otel-bridge run"
        )
    return settings.pinned_to(wanted)
