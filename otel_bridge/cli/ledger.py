"""``ledger copy``: from one machine to many."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from otel_bridge.counting import counted
from otel_bridge.errors import SettingsError
from otel_bridge.service.moving import move_ledger
from otel_bridge.times import SystemClock

ledger = typer.Typer(help="What the bridge remembers.", no_args_is_help=True, rich_markup_mode=None)


@ledger.callback()
def _ledger() -> None:
    """What the bridge remembers."""


@ledger.command("copy")
def copy(
    source: Annotated[str, typer.Argument(metavar="FROM", help="sqlite:///PATH; nothing may run on it.")],
    target: Annotated[str, typer.Argument(metavar="TO", help="postgresql://USER:PASSWORD@HOST/DATABASE")],
) -> None:
    """Copy a ledger from an SQLite file to PostgreSQL."""
    try:
        copied = asyncio.run(move_ledger(source, target, SystemClock()))
    except SettingsError as error:
        raise SettingsError(str(error).replace("OTEL_BRIDGE_STATE", "FROM or TO", 1)) from None
    what = f"{counted(copied['projects'], 'project')}, {counted(copied['windows'], 'window')}"
    typer.echo(f"copied {what}, {counted(copied['delivered'], 'delivered id')}")
    typer.echo("now set OTEL_BRIDGE_STATE to the new ledger; the file is as it was")
