"""``backfill`` and ``retry``: what a person asks for beyond the running service."""

from __future__ import annotations

import asyncio
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from otel_bridge.cli.options import ConfigFile, ProjectName, chosen_projects, read_settings
from otel_bridge.counting import counted
from otel_bridge.errors import BridgeError
from otel_bridge.ledger import open_ledger
from otel_bridge.service.backfill import Backfill, Progress
from otel_bridge.service.ranges import past_range
from otel_bridge.service.status import describe_set_aside
from otel_bridge.times import SystemClock, format_seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_PLAIN_EVERY_S = 5.0

From = Annotated[str, typer.Option("--from", metavar="T", help="ISO 8601, or an age such as 36h.")]
To = Annotated[str, typer.Option("--to", metavar="T", help="ISO 8601, an age, or now.")]


def backfill(
    from_text: From,
    to_text: To,
    config: ConfigFile = None,
) -> None:
    """Collect a past range, oldest first; a second call goes on where the first one was."""
    clock = SystemClock()
    from_ms, to_ms = past_range(from_text, to_text, clock.now_ms())
    settings = read_settings(config)
    with _shown(Console(stderr=True)) as (say, show):
        report = asyncio.run(Backfill(settings, clock, say=say, show=show).run(from_ms, to_ms))
    typer.echo(f"{counted(report.delivered, 'record')} delivered")
    say_incomplete(report.failures, report.set_aside, interrupted=report.interrupted)
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


@contextmanager
def _shown(console: Console) -> Iterator[tuple[Callable[[str], None], Callable[[Progress], None]]]:
    """A progress bar on a terminal, plain lines elsewhere; both on standard error."""
    began_s = time.monotonic()
    if not console.is_terminal:
        last_s = began_s

        def show_plainly(progress: Progress) -> None:
            nonlocal last_s
            now_s = time.monotonic()
            if progress.left_ms and now_s - last_s < _PLAIN_EVERY_S:
                return
            last_s = now_s
            console.print(_line(progress, now_s - began_s), markup=False, highlight=False, soft_wrap=True)

        yield lambda text: console.print(text, markup=False, highlight=False, soft_wrap=True), show_plainly
        return
    columns = (BarColumn(), TaskProgressColumn(), TextColumn("{task.description}"), TimeRemainingColumn())
    with Bar(*columns, console=console) as bar:
        task = bar.add_task("", total=None)

        def show(progress: Progress) -> None:
            done = progress.total_ms - progress.left_ms
            described = _facts(progress, time.monotonic() - began_s)
            bar.update(task, total=max(progress.total_ms, 1), completed=done, description=described)

        yield lambda text: bar.console.print(text, markup=False, highlight=False), show


def _line(progress: Progress, elapsed_s: float) -> str:
    share = 1.0 if not progress.total_ms else 1 - progress.left_ms / progress.total_ms
    left = f", {format_seconds(round(elapsed_s / share * (1 - share)))} left" if 0 < share < 1 else ""
    return f"{share:4.0%} of the range{left}{_facts(progress, elapsed_s)}"


def _facts(progress: Progress, elapsed_s: float) -> str:
    facts = ""
    if progress.delivered is not None:
        rate = progress.delivered / max(elapsed_s, 0.001)
        facts = f", {counted(progress.delivered, 'record')}, {rate:,.0f}/s"
    if progress.budget:
        used, allowed = (sum(each) for each in zip(*progress.budget, strict=True))
        facts += f", {used:,} of {allowed:,} requests a minute"
    return facts
