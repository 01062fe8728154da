"""``backfill`` and ``retry``: what a person asks for beyond the running service."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from otel_bridge.cli.options import ConfigFile, ProjectName, chosen_projects, read_settings
from otel_bridge.counting import counted
from otel_bridge.errors import BridgeError
from otel_bridge.ledger import open_ledger
from otel_bridge.service.again import AgainReport, deliver_again
from otel_bridge.service.backfill import Backfill
from otel_bridge.service.ranges import past_range
from otel_bridge.service.status import describe_set_aside
from otel_bridge.times import SystemClock, format_time

From = Annotated[str, typer.Option("--from", metavar="T", help="ISO 8601, or an age such as 36h.")]
To = Annotated[str, typer.Option("--to", metavar="T", help="ISO 8601, an age, or now.")]


def backfill(
    from_text: From,
    to_text: To,
    again: Annotated[  # noqa: FBT002 - typer's way to declare a flag
        bool, typer.Option("--again", help="Deliver what is delivered already as well, byte for byte.")
    ] = False,
    config: ConfigFile = None,
) -> None:
    """Collect a past range, oldest first; a second call goes on where the first one was."""
    clock = SystemClock()
    from_ms, to_ms = past_range(from_text, to_text, clock.now_ms())
    settings = read_settings(config)
    from otel_bridge.cli.progress import shown  # noqa: PLC0415 - loads rich, which the service does without

    if again:
        with shown() as (say, show):
            done = asyncio.run(deliver_again(settings, clock, from_ms, to_ms, say=say, show=show))
        _say_again(done)
        return
    with shown() as (say, show):
        report = asyncio.run(Backfill(settings, clock, say=say, show=show).run(from_ms, to_ms))
    typer.echo(f"{counted(report.delivered, 'record')} delivered")
    say_incomplete(report.failures, report.set_aside, interrupted=report.interrupted)
    if not report.complete:
        raise typer.Exit(1)


def _say_again(report: AgainReport) -> None:
    """What was delivered again, and what was not.

    Raises:
        Exit: Not everything was.
    """
    again = sum(each.again for each in report.projects.values())
    first = sum(each.first.delivered for each in report.projects.values())
    typer.echo(f"{counted(again, 'record')} delivered again, {first:,} for the first time")
    for project, each in report.projects.items():
        if each.waiting:
            what = f"{counted(each.waiting, 'record')} set aside before"
            typer.echo(f"{project}: {what}, and left to `otel-bridge retry`")
        if each.left:
            total, words = each.left.total(), describe_set_aside(each.left)
            what = f"{counted(total, 'record')} not delivered again: {words}"
            typer.echo(f"otel-bridge: {project}: {what}", err=True)
    aside = {
        project: {reason.value: count for reason, count in each.first.set_aside.items()}
        for project, each in report.projects.items()
        if each.first.set_aside
    }
    say_incomplete(report.failures, aside, interrupted=False)
    if report.go_on_ms is not None:
        text = f"ended before the end; `--from {format_time(report.go_on_ms)}` goes on from there"
        typer.echo(f"otel-bridge: {text}", err=True)
    if not report.complete:
        raise typer.Exit(1)


def say_incomplete(
    failures: dict[str, str], set_aside: dict[str, dict[str, int]], *, interrupted: bool
) -> None:
    """What was not delivered, and how many, on standard error."""
    for project, error in failures.items():
        typer.echo(f"otel-bridge: {project}: not everything was delivered: {error}", err=True)
    for project, counts in set_aside.items():
        total, words = sum(counts.values()), describe_set_aside(counts)
        typer.echo(f"otel-bridge: {project}: {counted(total, 'record')} set aside: {words}", err=True)
    if interrupted:
        typer.echo("otel-bridge: stopped before the end; the next run goes on from there", err=True)


def retry(
    log_ids: Annotated[
        list[str] | None, typer.Argument(metavar="[LOG_ID]...", help="Only these; all without any.")
    ] = None,
    project: ProjectName = None,
    config: ConfigFile = None,
) -> None:
    """Put records that were set aside back: the service, or the next `run --once`, tries them again."""
    settings = read_settings(config)
    clock = SystemClock()
    names = [each.name for each in chosen_projects(settings, project)]

    async def put_back() -> int:
        ledger = open_ledger(settings.ledger.state.get_secret_value(), clock, shared=True)
        await ledger.open()
        try:
            return sum([await ledger.put_back(name, log_ids or None, clock.now_ms()) for name in names])
        finally:
            await ledger.close()

    count = asyncio.run(put_back())
    what = f"{counted(count, 'record')} {'is' if count == 1 else 'are'}"
    typer.echo(f"{what} tried again by the service, or by the next `otel-bridge run --once`")
    if log_ids and count < len(log_ids):
        left = len(log_ids) - count
        raise BridgeError(
            f"{left:,} of {counted(len(log_ids), 'id')} {'is' if left == 1 else 'are'} not set aside"
        )
