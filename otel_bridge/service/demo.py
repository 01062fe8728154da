"""The bridge at work with nothing set: an emulator of the Logs API and a terminal that draws the traces."""

from __future__ import annotations

import asyncio
import os
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from pydantic import SecretStr

from otel_bridge.counting import counted
from otel_bridge.emulator.options import EmulatorOptions
from otel_bridge.emulator.server import EmulatorServer
from otel_bridge.exporter.destination import public_url
from otel_bridge.exporter.fan_out import FanOut
from otel_bridge.exporter.terminal import Look, TerminalExporter
from otel_bridge.ledger import MemoryLedger
from otel_bridge.mapping import conventions
from otel_bridge.service import logs
from otel_bridge.service.assembly import ONCE_ATTEMPTS, otlp_exporter
from otel_bridge.service.crew import workers
from otel_bridge.service.runner import stopping_on_signals
from otel_bridge.settings import ProjectSettings, Settings, load
from otel_bridge.signals import Delivery, Outcome, StatusCode

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.console import Console

    from otel_bridge.exporter.protocol import Exporter
    from otel_bridge.times import Clock

_LOGS = 36
_RATE = 0.8
_SPAN_MS = 20 * 60_000


class _Counted:
    """The terminal, with a count of what it drew."""

    def __init__(self, terminal: TerminalExporter) -> None:
        self._terminal = terminal
        self.calls = 0
        self.failed = 0
        self.traces: set[bytes] = set()

    async def export(self, deliveries: Sequence[Delivery]) -> Outcome:
        for delivery in deliveries:
            if delivery.span is not None:
                self.calls += 1
                self.failed += delivery.span.status is StatusCode.ERROR
                self.traces.add(delivery.span.trace_id)
        return await self._terminal.export(deliveries)

    async def aclose(self) -> None:
        await self._terminal.aclose()


_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_SHOWN = (conventions.SESSION_ID, conventions.USER_ID)


async def emulate(options: EmulatorOptions, say: Callable[[str], None], program: str) -> None:
    """Serve the emulator until SIGTERM or SIGINT.

    Args:
        options: Of the emulator.
        say: Takes each line for people.
        program: How a person calls otel-bridge here, for the hint.

    Raises:
        SettingsError: The port is taken.
    """
    stop = asyncio.Event()
    with stopping_on_signals(stop):
        async with EmulatorServer(options) as server:
            calls = counted(options.logs, "tool call")
            say(f"Composio's Logs API, emulated, at {server.base_url} with {calls}")
            say(f"  COMPOSIO_BASE_URL={server.base_url} COMPOSIO_API_KEY=ak_any {program} run --once")
            await stop.wait()


async def demo(console: Console, clock: Clock, program: str, *, keep_running: bool) -> None:
    """Collect synthetic tool calls and draw them; ends by itself unless told to go on.

    Args:
        console: Where to draw.
        clock: The time.
        program: How a person calls otel-bridge here, for the hints.
        keep_running: Go on with new tool calls until stopped.

    Raises:
        BridgeError: It could not start, or a destination that was set does not take the tool calls.
    """
    logs.set_up("error", "text")
    options = EmulatorOptions(
        logs=_LOGS, rate=_RATE if keep_running else 0.0, seed=7, span_ms=_SPAN_MS, late_share=0.0
    )
    stop = asyncio.Event()
    with stopping_on_signals(stop):
        async with AsyncExitStack() as stack:
            server = await stack.enter_async_context(EmulatorServer(options))
            settings = _settings(server.base_url)
            target = next((os.environ[name] for name in _ENDPOINTS if os.environ.get(name)), None)
            terminal = _Counted(TerminalExporter(console, Look(_SHOWN, colored_by=conventions.TOOLKIT_SLUG)))
            exporter: Exporter = terminal
            if target is not None:
                exporter = FanOut([otlp_exporter(settings, clock, attempts=ONCE_ATTEMPTS), terminal])
            stack.push_async_callback(exporter.aclose)
            ledger = MemoryLedger()
            await ledger.open()
            (worker,) = await stack.enter_async_context(
                workers(settings, ledger=ledger, exporter=exporter, clock=clock, stop=stop)
            )
            _open(console, server.base_url, target)
            if keep_running:
                await worker.run()
            else:
                await worker.run_once()
    _close(console, terminal, target, program)


def _settings(base_url: str) -> Settings:
    """The person's own settings, with the emulator as the one project."""
    given = load(environ={**os.environ, "OTEL_BRIDGE_STATE": "sqlite:///ledger.db"})  # it is in memory
    project = ProjectSettings(
        name="demo", api_key=SecretStr("ak_demo"), base_url=base_url, start="30m", service_name="composio"
    )
    collect = given.collect.model_copy(update={"poll_interval": 1000, "parent_wait": 3000})
    export = given.export
    if not any(os.environ.get(name) for name in _ENDPOINTS):
        # Nothing is sent anywhere, measurements included.
        export = export.model_copy(update={"signals": ("traces", "logs")})
    return given.model_copy(update={"projects": (project,), "collect": collect, "export": export})


def _open(console: Console, base_url: str, target: str | None) -> None:
    console.print(
        f"[bold]otel-bridge demo[/]  an emulator of Composio's Logs API at {base_url} holds the "
        "tool calls of a few agents;\n"
        "the bridge collects them and draws each trace as a backend would show it.\n"
    )
    if target is not None:
        console.print(f"They are delivered to {public_url(target)} as well.\n", markup=False, highlight=False)


def _close(console: Console, terminal: _Counted, target: str | None, program: str) -> None:
    console.print(
        f"\n[bold]{counted(terminal.calls, 'tool call')} in {counted(len(terminal.traces), 'trace')}, "
        f"{terminal.failed:,} failed.[/]"
    )
    if target is None:
        console.print(
            f"See them in a backend:   OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4318 {program} demo\n"
            f"Your own tool calls:     COMPOSIO_API_KEY=ak_… {program} run",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )
