"""A service at work as the endpoints see it, made up: projects, calls, counts, budgets, trouble."""

from __future__ import annotations

import asyncio
import json
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx
import yaml
from simulated_clock import SimulatedClock

from otel_bridge.errors import SourceRefused
from otel_bridge.ledger import DeliveredRecord, Lane, MemoryLedger, Reason, SetAside, Window
from otel_bridge.receiver.budget import Budget, Priority
from otel_bridge.service.running import Running, running
from otel_bridge.settings import load
from otel_bridge.signals import Delivery, Resource, Scope, Span, SpanKind, StatusCode
from otel_bridge.web import endpoints
from otel_bridge.web.app import create_app

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

_S = 1_000
_NS = 1_000_000
_RESOURCE = Resource((("service.name", "composio"),))
_SCOPE = Scope("otel_bridge", "0.1.0", "")
LINKS = {
    "Jaeger": "http://localhost:16686/trace/{trace_id}",
    "Datadog": "https://app.datadoghq.eu/apm/trace/{trace_id_low}?start={start_ms}",
}


@dataclass
class Call:
    """One call: its name, when it began after its trace did and how long it took in ms, what is under it."""

    name: str
    after: int
    took: int
    error: str | None = None
    under: list[Call] = field(default_factory=list)


SEARCH = Call(
    "COMPOSIO_MULTI_EXECUTE_TOOL",
    2_600,
    1_640,
    under=[
        Call("COMPOSIO_SEARCH_WEB", 2_640, 365, "429 rate limit of the toolkit reached, retry in 30 s"),
        Call("GITHUB_SEARCH_ISSUES_AND_PULL_REQUESTS", 2_650, 1_576),
    ],
)
STORIES = [
    [Call("COMPOSIO_SEARCH_TOOLS", 0, 2_180), SEARCH, Call("GITHUB_CREATE_AN_ISSUE_COMMENT", 5_120, 487)],
    [Call("GMAIL_FETCH_EMAILS", 0, 840), Call("GMAIL_SEND_EMAIL", 1_420, 1_210)],
    [Call("SLACK_SEND_MESSAGE", 0, 231)],
    [Call("LINEAR_CREATE_LINEAR_ISSUE", 0, 0)],
    [Call("NOTION_INSERT_ROW_DATABASE", 0, 903, "the page is archived and can't be changed")],
]


def deliveries(story: list[Call], number: int, end_ms: int) -> list[Delivery]:
    """The calls of one trace that ends at a time."""
    whole = max(call.after + call.took for call in story)
    made: list[Delivery] = []

    def add(call: Call, parent: bytes | None) -> None:
        span_id = (number * 100 + len(made) + 1).to_bytes(8, "big")
        start_ns = (end_ms - whole + call.after) * _NS
        span = Span(
            trace_id=bytes.fromhex(f"{number:08x}") * 4,
            span_id=span_id,
            parent_span_id=parent,
            name=f"execute_tool {call.name}",
            kind=SpanKind.INTERNAL,
            start_ns=start_ns,
            end_ns=start_ns + call.took * _NS,
            attributes={"gen_ai.tool.name": call.name, "user.id": "user_henrik", "gen_ai.secret": "content"},
            status=StatusCode.ERROR if call.error else StatusCode.UNSET,
            status_message=call.error or "",
        )
        made.append(Delivery(f"log_{number:06}{len(made):06}", _RESOURCE, _SCOPE, span, None))
        for each in call.under:
            add(each, span_id)

    for call in story:
        add(call, None)
    return made


class Stage:
    """A running service whose observers and ledger a test fills.

    Args:
        folder: For the settings file.
        projects: Their names.
        settings: Sections of the file besides.
    """

    def __init__(self, folder: Path, *projects: str, **settings: Any) -> None:
        names = projects or ("default",)
        file = {
            "projects": [{"name": name, "api_key": "ak_secret"} for name in names],
            "links": {"trace": LINKS},
            "http": {"listen": "127.0.0.1:0"},
            **settings,
        }
        path = folder / "bridge.yaml"
        path.write_text(yaml.safe_dump(json.loads(json.dumps(file))))
        self.clock = SimulatedClock()
        self.ledger = MemoryLedger()
        self.running: Running = running(load(path, {}), self.clock)
        self.projects = names

    @property
    def now_ms(self) -> int:
        """Now."""
        return self.clock.now_ms()

    async def start(self) -> None:
        """The ledger is open, and everything is collected up to now."""
        await self.ledger.open()
        self.running.ledger = self.ledger
        for name in self.projects:
            await self.commit(name)
            self.running.health.polled(name, self.now_ms)

    async def commit(self, project: str, **records: Any) -> None:
        """What a pass leaves in the ledger."""
        at_ms = self.now_ms
        window = Window(project, Lane.LIVE, at_ms - 3_600_000, at_ms, passes=1, due_ms=None)
        await self.ledger.commit(project, window=window, **records)

    def deliver(self, project: str, batch: list[Delivery], lane: Lane = Lane.LIVE) -> None:
        """Tell of a delivery."""
        for each in (self.running.health, self.running.recent):
            each.delivered(project, lane, batch, self.now_ms)

    def spent(self, project: str, requests: int, remaining: int) -> None:
        """A budget of 2,000 of which something is used."""
        budget = Budget(0.5, self.clock, name="acme")
        self.running.budgets = {**self.running.budgets, project: budget}
        for _ in range(requests):
            self._take(budget)
        budget.observe({"x-ratelimit": "2000", "x-ratelimit-remaining": str(remaining)}, 200)

    @staticmethod
    def _take(budget: Budget) -> None:
        # Nothing is known of the limit yet, so it is granted at once.
        waiting = budget.acquire(Priority.HEAD)
        try:
            waiting.send(None)
        except StopIteration:
            budget.no_answer()


def aside(number: int, reason: Reason, message: str, now_ms: int, retry_ms: int | None = None) -> SetAside:
    """One record that is set aside."""
    return SetAside(
        f"log_aside_{number:02}", now_ms - 90 * _S, reason, message, 2, now_ms - 80 * _S, retry_ms
    )


def record(number: int, now_ms: int) -> DeliveredRecord:
    """One that is delivered."""
    return DeliveredRecord(f"log_{number:09}", now_ms - 1000, number.to_bytes(16), number.to_bytes(8))


async def busy(folder: Path) -> Stage:
    """Two projects: one as it should be, one whose key has lost its permission."""
    stage = Stage(folder, "shop", "desk")
    begin_s = 3600
    counts = [3, 5, 2, 9, 14, 22, 18, 25, 31, 28, 24, 36, 41, 33, 27, 19, 22, 30, 26, 17] * 3
    (good,) = deliveries([Call("GMAIL_SEND_EMAIL", 0, 10)], 1, stage.now_ms)
    (bad,) = deliveries([Call("GMAIL_SEND_EMAIL", 0, 10, "quota")], 2, stage.now_ms)
    stage.clock.step_wall_clock(-begin_s * _S)
    stage.running.started_ms = stage.now_ms - 86_400_000 * 3
    for minute, many in enumerate(counts):
        stage.clock.step_wall_clock(60 * _S)
        failed = many // 3 if minute % 9 == 4 else 0
        stage.deliver("shop", [good] * (many - failed) + [bad] * failed, Lane.BACKFILL)
    await stage.start()
    now_ms = stage.now_ms
    for number, story_ in enumerate(STORIES):
        stage.deliver("shop", deliveries(story_, 0x1F3A9C01 + number * 7919, now_ms - number * 9_000 - 4_000))
    stage.spent("shop", 312, 1_433)
    stage.spent("desk", 0, 2_000)
    await stage.commit(
        "shop",
        delivered=[record(number, now_ms) for number in range(50)],
        set_aside=[
            aside(1, Reason.NOT_FOUND, "HTTP 404 for log_aside_01", now_ms, now_ms + 95 * _S),
            aside(2, Reason.REFUSED, "traces: attribute value too long (4,213 bytes, at most 2,048)", now_ms),
        ],
    )
    stage.clock.step_wall_clock(3 * _S)
    message = "list: HTTP 403 from Composio: this key lacks the permission Observability: Read"
    stage.running.health.poll_failed("desk", SourceRefused(message, 403), now_ms - 45 * _S)
    stage.running.health.polled("shop", now_ms)
    stage.running.health._of("desk").collected_ms = now_ms - 45 * _S
    return stage


def asking(stage: Stage, listens_on: str = "127.0.0.1") -> httpx.AsyncClient:
    """A client of the stage's endpoints, without a socket."""
    transport = httpx.ASGITransport(create_app(stage.running, listens_on))
    return httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8790")


@contextmanager
def served(make: Callable[[], Awaitable[Stage]]) -> Iterator[str]:
    """A stage behind its real server, on a loop and in a thread of its own; gives its address."""
    ready, addresses = threading.Event(), []
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    async def serve() -> None:
        stage = await make()
        async with endpoints(stage.running):
            addresses.append(stage.running.url or "")
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=[serve()])
    thread.start()
    try:
        assert ready.wait(20)
        yield addresses[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()
