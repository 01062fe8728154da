"""How far ``backfill`` is, as a person sees it."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from otel_bridge.counting import counted
from otel_bridge.times import format_seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from otel_bridge.service.backfill import Progress

_PLAIN_EVERY_S = 5.0


@contextmanager
def shown() -> Iterator[tuple[Callable[[str], None], Callable[[Progress], None]]]:
    """A progress bar on a terminal, plain lines elsewhere; both on standard error."""
    console = Console(stderr=True)
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
