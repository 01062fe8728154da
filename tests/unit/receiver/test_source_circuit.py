"""One circuit for all who ask one base URL: what opens it, and what it costs the budget."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from fake_source import KEY, FakeSource
from pydantic import SecretStr

from otel_bridge.circuit_state import Phase
from otel_bridge.errors import AnswerTooLarge, RecordNotFound, SourceError, SourceFailed, SourceUnreachable
from otel_bridge.receiver.budget import Budget, Priority
from otel_bridge.receiver.channel import SOURCE_OPENS_AFTER, source_circuit
from otel_bridge.receiver.client import LogsClient

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from simulated_clock import SimulatedClock

    from otel_bridge.circuit import Circuit

URL = "https://backend.composio.dev"
PAGE: dict[str, Any] = {"logs": [], "next_cursor": None}


class WatchedBudget(Budget):
    """Counts what is granted and what is answered for."""

    granted: int = 0
    answered: int = 0
    priorities: list[Priority]

    def __init__(self, clock: SimulatedClock) -> None:
        super().__init__(1.0, clock)
        self.priorities = []

    async def acquire(self, priority: Priority) -> None:
        self.priorities.append(priority)
        await super().acquire(priority)
        self.granted += 1

    def observe(self, *arguments: Any, **options: Any) -> None:
        self.answered += 1
        super().observe(*arguments, **options)

    def no_answer(self) -> None:
        self.answered += 1
        super().no_answer()

    def not_sent(self) -> None:
        self.answered += 1
        super().not_sent()


@pytest.fixture
def watched(clock: SimulatedClock) -> WatchedBudget:
    return WatchedBudget(clock)


@pytest.fixture
def circuit(clock: SimulatedClock) -> Circuit:
    return source_circuit(URL, clock)


@pytest.fixture
async def clients(
    source: FakeSource, clock: SimulatedClock, watched: WatchedBudget, circuit: Circuit
) -> AsyncIterator[list[LogsClient]]:
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(
                LogsClient(
                    base_url=URL,
                    api_key=SecretStr(KEY),
                    budget=watched,
                    clock=clock,
                    circuit=circuit,
                    transport=httpx.MockTransport(source),
                )
            )
            for _ in range(3)
        ]


async def errors(*calls: Any) -> list[SourceError]:
    ends = await asyncio.gather(*calls, return_exceptions=True)
    found = [end for end in ends if isinstance(end, SourceError)]
    assert len(found) == len(ends), ends
    return found


async def open_it(client: LogsClient) -> None:
    await errors(*(client.list_page(from_ms=1, to_ms=2) for _ in range(SOURCE_OPENS_AFTER)))


@pytest.mark.parametrize(
    "trouble", [httpx.ConnectError("refused"), httpx.ReadTimeout("slow"), 500, 502, 503, 504, 599, "html"]
)
async def test_what_says_that_the_source_is_down_opens_it(
    clients: list[LogsClient], source: FakeSource, circuit: Circuit, trouble: Exception | int | str
) -> None:
    if isinstance(trouble, Exception):
        source.fail(trouble)
    else:
        source.then(trouble) if isinstance(trouble, int) else source.then(200, text="<html>a gateway</html>")
    await open_it(clients[0])
    assert circuit.state.phase is Phase.OPEN
    sent = len(source.requests)
    for client in clients:
        with pytest.raises(SourceUnreachable, match=r"backend.composio.dev is down since 10:00:0") as caught:
            await client.list_page(from_ms=1, to_ms=2)
        assert caught.value.retry_after_s
        assert KEY not in str(caught.value)
    assert len(source.requests) == sent, "who comes later is told at once"


@pytest.mark.parametrize("status", [400, 401, 403, 404, 408, 422, 425, 429, 307])
async def test_a_source_that_answers_with_a_refusal_is_not_down(
    clients: list[LogsClient], source: FakeSource, circuit: Circuit, status: int
) -> None:
    source.then(status, headers={"Retry-After": "1"})
    for _ in range(3):
        await open_it(clients[0])
    assert circuit.closed
    assert circuit.state.failures == 0


async def test_a_record_that_can_not_be_had_is_not_the_sources_fault(
    clients: list[LogsClient], source: FakeSource, circuit: Circuit
) -> None:
    source.then(500, headers={"Retry-After": "3"})
    for _ in range(10):
        (error,) = await errors(clients[0].detail("log_bad"))
        assert isinstance(error, SourceFailed)
    assert circuit.closed, "asked for fifty times"
    source.answers.clear()
    source.then(404)
    (error,) = await errors(clients[0].detail("log_gone"))
    assert isinstance(error, RecordNotFound)
    assert circuit.state.failures == 0


async def test_however_many_records_the_source_fails_for_they_do_not_open_it(
    clients: list[LogsClient], source: FakeSource, circuit: Circuit
) -> None:
    source.then(500)
    await errors(*(clients[0].detail(f"log_{number}") for number in range(5 * SOURCE_OPENS_AFTER)))
    assert circuit.closed


async def test_a_records_failure_between_those_of_the_list_is_no_sign_of_life(
    clients: list[LogsClient], source: FakeSource, circuit: Circuit
) -> None:
    source.then(500)
    await errors(clients[0].list_page(from_ms=1, to_ms=2))
    await errors(clients[0].detail("log_1"))
    await errors(clients[0].list_page(from_ms=1, to_ms=2))
    assert not circuit.closed


async def test_records_that_bring_no_answer_at_all_open_it_when_there_are_many(
    clients: list[LogsClient], source: FakeSource, circuit: Circuit
) -> None:
    source.fail(httpx.ReadTimeout("slow"))
    await errors(*(clients[0].detail(f"log_{number}") for number in range(SOURCE_OPENS_AFTER - 1)))
    assert circuit.closed, "each tried five times"
    await errors(clients[0].detail("log_more"))
    assert not circuit.closed


async def test_while_it_is_open_a_records_failure_is_no_sign_of_life(
    clients: list[LogsClient], source: FakeSource, circuit: Circuit, clock: SimulatedClock
) -> None:
    source.then(503)
    await open_it(clients[0])
    sent = len(source.requests)
    await errors(*(clients[0].detail(f"log_{number}") for number in range(50)))
    await clock.sleep(60)
    await errors(*(clients[0].detail(f"log_{number}") for number in range(50)))
    assert not circuit.closed
    assert len(source.requests) <= sent + 5


async def test_an_answer_that_is_too_large_says_that_the_source_works(
    source: FakeSource, clock: SimulatedClock, circuit: Circuit, watched: WatchedBudget
) -> None:
    source.then(json=PAGE)
    async with LogsClient(
        base_url=URL,
        api_key=SecretStr(KEY),
        budget=watched,
        clock=clock,
        circuit=circuit,
        most_body_bytes=3,
        transport=httpx.MockTransport(source),
    ) as client:
        for _ in range(20):
            with pytest.raises(AnswerTooLarge):
                await client.list_page(from_ms=1, to_ms=2)
    assert circuit.state.failures == 0


async def test_the_probe_goes_before_all_others_and_every_grant_is_answered_for(
    clients: list[LogsClient],
    source: FakeSource,
    clock: SimulatedClock,
    watched: WatchedBudget,
    circuit: Circuit,
) -> None:
    source.fail(httpx.ConnectError("refused"))
    await open_it(clients[0])
    source.answers.clear()
    source.then(json=PAGE)
    await clock.sleep(60)
    watched.priorities.clear()
    await asyncio.gather(
        *(client.list_page(from_ms=1, to_ms=2, priority=Priority.BACKFILL) for client in clients)
    )
    assert watched.priorities == [Priority.HEAD, Priority.BACKFILL, Priority.BACKFILL]
    assert circuit.closed
    assert watched.granted == watched.answered
    assert watched._in_flight == 0


async def test_a_request_that_waits_for_the_budget_is_not_sent_when_the_circuit_has_opened_meanwhile(
    clients: list[LogsClient],
    source: FakeSource,
    clock: SimulatedClock,
    watched: WatchedBudget,
    circuit: Circuit,
) -> None:
    # Of two requests a minute both are used up when nine more come.
    source.then(json=PAGE, headers={"X-RateLimit": "2", "X-RateLimit-Remaining": "100"})
    await clients[0].list_page(from_ms=1, to_ms=2)
    source.answers.clear()
    sent: list[float] = []

    async def slow(_: httpx.Request) -> httpx.Response:
        sent.append(clock.monotonic_s())
        await clock.sleep(1)
        return httpx.Response(503, headers={"Retry-After": "90"})

    source.answers.append(slow)  # type: ignore[arg-type] # MockTransport awaits what it is given
    waiting = [asyncio.create_task(client.list_page(from_ms=1, to_ms=2)) for client in clients * 3]
    await asyncio.create_task(clock.sleep(150))
    assert sent == [0, 91], "the one that was answered with 503, and one probe when it is time"
    for each in waiting:
        each.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert watched.granted == watched.answered
    assert watched._in_flight == 0
    assert circuit.state.waiting == 0


async def test_cancelled_while_it_is_to_find_out_the_next_one_does(
    clients: list[LogsClient],
    clock: SimulatedClock,
    source: FakeSource,
    watched: WatchedBudget,
    circuit: Circuit,
) -> None:
    source.fail(httpx.ConnectError("refused"))
    await open_it(clients[0])
    source.answers.clear()
    source.then(json=PAGE, headers={"X-RateLimit": "100", "X-RateLimit-Remaining": "0"})
    watched.observe({"X-RateLimit": "100", "X-RateLimit-Remaining": "0"}, 200)  # the budget has nothing left
    watched.granted += 1
    await clock.sleep(20)
    probe, other = (asyncio.create_task(client.list_page(from_ms=1, to_ms=2)) for client in clients[:2])
    await asyncio.create_task(clock.sleep(5))
    assert circuit.state.phase is Phase.PROBING
    probe.cancel()
    assert (await other).entries == []
    assert circuit.closed
    assert watched.granted == watched.answered


async def test_a_client_without_a_shared_circuit_has_one_of_its_own(
    client: LogsClient, source: FakeSource
) -> None:
    source.fail(httpx.ConnectError("refused"))
    await open_it(client)
    sent = len(source.requests)
    await errors(*(client.list_page(from_ms=1, to_ms=2) for _ in range(100)))
    assert len(source.requests) == sent
