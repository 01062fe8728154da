"""``verify``: what the ledger says was delivered, held against what the source says exists."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from otel_bridge.cli.options import ConfigFile, read_settings
from otel_bridge.cli.past import From, To
from otel_bridge.errors import SettingsError
from otel_bridge.service import verify as verifying
from otel_bridge.service.comparison import Repair
from otel_bridge.service.ranges import past_range
from otel_bridge.times import SystemClock


def verify(
    from_text: From,
    to_text: To,
    repair: Annotated[  # noqa: FBT002 - typer's way to declare a flag
        bool, typer.Option("--repair", help="Deliver what is missing.")
    ] = False,
    again: Annotated[  # noqa: FBT002 - as above
        bool,
        typer.Option(
            "--again",
            help="With --repair: deliver whole parts again whose ids are forgotten and whose counts differ.",
        ),
    ] = False,
    config: ConfigFile = None,
) -> None:
    """Compare a past range with the source: exit 0 equal or all repaired, 1 not."""
    clock = SystemClock()
    from_ms, to_ms = past_range(from_text, to_text, clock.now_ms())
    if again and not repair:
        raise SettingsError("--again is given without --repair: takes both")
    wanted = Repair.AGAIN if again else Repair.MISSING if repair else Repair.NOTHING
    report = asyncio.run(verifying.verify(read_settings(config), clock, from_ms, to_ms, wanted))
    for findings in report.findings:
        for line in findings.lines():
            typer.echo(line)
    for project, error in report.failures.items():
        typer.echo(f"otel-bridge: {project}: could not be compared: {error}", err=True)
    if report.interrupted:
        typer.echo("otel-bridge: stopped before the end", err=True)
    if not report.equal:
        raise typer.Exit(1)
