"""What the client does when the source does not give what was asked: tries again, or says why not."""

from __future__ import annotations

import gzip
import tracemalloc
from collections import Counter
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from fake_source import KEY
from pydantic import SecretStr

from otel_bridge.errors import (
    AnswerTooLarge,
    SourceBusy,
    SourceError,
    SourceFailed,
    SourceRefused,
    SourceUnreachable,
)
from otel_bridge.receiver.answers import Answer
from otel_bridge.receiver.budget import Budget
from otel_bridge.receiver.client import LogsClient
from otel_bridge.retry import Backoff

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from fake_source import FakeSource
    from simulated_clock import SimulatedClock

    from otel_bridge.receiver.page import Page

EMPTY_PAGE: dict[str, Any] = {"logs": [], "next_cursor": None}
HTML = "<html><body>secret page of a gateway</body></html>"


async def ask(client: LogsClient) -> Page:
    return await client.list_page(from_ms=1, to_ms=2)


async def error_of(client: LogsClient) -> SourceError:
    with pytest.raises(SourceError) as caught:
        await ask(client)
    assert KEY not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.__cause__ is None
    return caught.value


PASSING: list[dict[str, Any] | Exception] = [
    {"status": 500},
    {"status": 502, "text": HTML},
    {"status": 503, "json": {"error": {"message": "maintenance"}}},
    {"status": 504},
    {"status": 408},
    {"status": 200, "text": HTML},
    {"status": 200, "text": ""},
    {"status": 200, "text": '{"logs": [{"id": "lo'},
    {"status": 200, "json": {"error": {"message": "not now"}}},
    {"status": 200, "content": b"no gzip", "headers": {"content-encoding": "gzip"}},
    httpx.ConnectError("refused"),
    httpx.ConnectTimeout("slow"),
    httpx.ReadError(""),
    httpx.RemoteProtocolError("illegal status line: secret"),
]


@pytest.mark.parametrize("trouble", PASSING, ids=str)
async def test_what_may_pass_is_tried_again_with_waits_in_between(
    client: LogsClient, source: FakeSource, clock: SimulatedClock, trouble: dict[str, Any] | Exception
) -> None:
    for _ in range(2):
        if isinstance(trouble, Exception):
            source.fail(trouble)
        else:
            # Broken compression shows only where the body is read as a stream.
            source.then(**trouble) if "content" not in trouble else source.answers.append(broken_gzip)
    source.then(json=EMPTY_PAGE)
    assert (await ask(client)).entries == []
    assert len(source.requests) == 3
    assert len(clock.naps) == 2
    assert 0.25 <= clock.naps[0] <= 0.5 <= clock.naps[1] <= 1.0


def broken_gzip(_: httpx.Request) -> httpx.Response:
    return httpx.Response(200, headers={"content-encoding": "gzip"}, stream=Chunks(b"no gzip"))


@pytest.mark.parametrize("trouble", PASSING, ids=str)
async def test_what_does_not_pass_is_said_after_the_last_try(
    client: LogsClient, source: FakeSource, trouble: dict[str, Any] | Exception
) -> None:
    if isinstance(trouble, Exception):
        source.fail(trouble)
    else:
        source.then(**trouble) if "content" not in trouble else source.answers.append(broken_gzip)
    error = await error_of(client)
    assert len(source.requests) == 5
    assert type(error) is (SourceUnreachable if isinstance(trouble, Exception) else SourceFailed)
    assert str(error).startswith("POST /api/v3.1/logs/tool_execution")
    assert "secret" not in str(error)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 422])
async def test_a_refusal_is_not_asked_again(client: LogsClient, source: FakeSource, status: int) -> None:
    source.then(status, json={"error": {"message": "No.", "suggested_fix": "Do it otherwise."}})
    error = await error_of(client)
    assert isinstance(error, SourceRefused)
    assert error.status == status
    assert f"was answered with {status}" in str(error)
    assert str(error).endswith('Composio says: "No. Do it otherwise."')
    assert len(source.requests) == 1


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (401, "the key from bridge.yaml: projects.0.api_key is not accepted"),
        (403, 'the key from bridge.yaml: projects.0.api_key may not read this; it needs the permission "Obs'),
        (404, "there is no such route below COMPOSIO_BASE_URL (base_url)"),
    ],
)
async def test_a_refusal_says_what_a_person_can_do(
    client: LogsClient, source: FakeSource, status: int, words: str
) -> None:
    source.then(status, json={"error": {"message": "No."}})
    assert words in str(await error_of(client))


CHALLENGE = {"server": "cloudflare", "cf-mitigated": "challenge", "content-type": "text/html"}


@pytest.mark.parametrize("status", [401, 403, 451])
@pytest.mark.parametrize(
    ("answer", "who"),
    [
        ({"text": HTML, "headers": CHALLENGE}, "(cloudflare)"),
        ({"text": "error code: 1020", "headers": {"server": "cloudflare"}}, "(cloudflare)"),
        ({"text": "<html>403 Forbidden</html>", "headers": {"server": "nginx/1.25"}}, "(nginx)"),
        ({"text": "Access denied", "headers": {"via": "1.1 squid.corp (squid/6)"}}, "(squid)"),
        ({"text": "", "headers": {"server": "awselb/2.0"}}, "(awselb)"),
        ({"json": {"message": "Forbidden"}, "headers": {"x-amzn-errortype": "ForbiddenException"}}, ""),
        ({"json": {"success": False, "errors": []}}, ""),
        ({"text": ""}, ""),
    ],
)
async def test_what_stands_before_composio_says_nothing_of_the_key(
    client: LogsClient, source: FakeSource, status: int, answer: dict[str, Any], who: str
) -> None:
    source.then(status, **answer)
    error = await error_of(client)
    assert isinstance(error, SourceFailed), "it may pass, and no other key would help"
    assert f"{status} by what stands before Composio {who}".rstrip() in error.fact
    assert "permission" not in str(error)
    assert "is not accepted" not in str(error)
    assert "let this machine through there" in error.advice


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({"json": {"message": "Rate limit"}}, '. Composio says: "Rate limit"'),
        ({"json": {"error": "plain"}}, '. Composio says: "plain"'),
        ({"json": {"error": {"suggested_fix": "Fix it."}}}, '. Composio says: "Fix it."'),
        ({"json": {"error": {"message": ["odd"]}}}, "with 400"),
        ({"json": {}}, "with 400"),
        ({"json": [1]}, "with 400"),
        (
            {"text": HTML},
            "with 400 (no explanation: it is a page of HTML or XML, as gateways and proxies send)",
        ),
        ({"text": ""}, "with 400"),
        ({"json": {"message": "a\x1b[31m\nb\u202e \x00c"}}, '"a [31m b c"'),
        ({"json": {"message": f"key {KEY} is bad, {KEY}"}}, '"key *** is bad, ***"'),
        ({"json": {"message": "x" * 299 + KEY}}, '"' + "x" * 299 + '…"'),
        ({"json": {"message": "\u200b" * 5000 + KEY}}, 'Composio says: ""'),
    ],
)
async def test_the_vendors_words_are_made_fit_for_a_log(
    client: LogsClient, source: FakeSource, answer: dict[str, Any], words: str
) -> None:
    source.then(400, **answer)
    error = await error_of(client)
    assert str(error).endswith(words)


@pytest.mark.parametrize(
    ("location", "words"),
    [
        ("https://evil.example/login?key=1", "a redirect to host evil.example, which is not followed"),
        ("/login", "a redirect to another path of the same host"),
        (None, "a redirect without an address"),
    ],
)
async def test_the_key_follows_no_redirect(
    client: LogsClient, source: FakeSource, location: str | None, words: str
) -> None:
    source.then(307, headers={"location": location} if location else {})
    error = await error_of(client)
    assert isinstance(error, SourceRefused)
    assert words in str(error)
    assert "COMPOSIO_BASE_URL" in str(error)
    assert [request.url.host for request in source.requests] == ["backend.composio.dev"]


@pytest.mark.parametrize("status", [300, 302])
async def test_a_redirect_to_nowhere_is_no_traceback(
    client: LogsClient, source: FakeSource, status: int
) -> None:
    source.then(status, headers={"location": "http://h:port/"})
    assert isinstance(await error_of(client), SourceError)


def test_the_repr_of_an_answer_leaves_the_body_out() -> None:
    assert repr(Answer(200, httpx.Headers({"set-cookie": "x"}), b"secret")) == "Answer(status=200, 6 bytes)"


async def test_429_is_obeyed_and_then_asked_again(
    client: LogsClient, source: FakeSource, clock: SimulatedClock, budget: Budget
) -> None:
    rate = {"X-RateLimit": "100", "X-RateLimit-Remaining": "0", "Retry-After": "17"}
    source.then(429, json={"message": "Rate limit exceeded."}, headers=rate).then(json=EMPTY_PAGE)
    await ask(client)
    assert clock.monotonic_s() >= 17
    assert budget.state.limit == 100


async def test_one_projects_429_stops_the_others_of_its_organisation(
    client: LogsClient, source: FakeSource, clock: SimulatedClock, budget: Budget
) -> None:
    source.then(429, headers={"Retry-After": "40"}).then(json=EMPTY_PAGE)
    other = LogsClient(
        base_url="https://h",
        api_key=SecretStr("ak_other"),
        budget=budget,
        clock=clock,
        transport=httpx.MockTransport(source),
        backoff=Backoff(attempts=1),
    )
    async with other:
        with pytest.raises(SourceBusy) as caught:
            await ask(other)
    assert caught.value.retry_after_s == 40
    await ask(client)
    assert clock.monotonic_s() >= 40


async def test_a_503_that_says_when_is_obeyed(
    client: LogsClient, source: FakeSource, clock: SimulatedClock
) -> None:
    source.then(503, headers={"Retry-After": "Fri, 17 Apr 2026 10:01:30 GMT"}).then(json=EMPTY_PAGE)
    await ask(client)
    assert clock.monotonic_s() == pytest.approx(90)


async def test_each_try_is_counted_by_the_budget_and_told(
    source: FakeSource, clock: SimulatedClock, budget: Budget
) -> None:
    told: list[tuple[str, int]] = []
    source.then(500).fail(httpx.ConnectError("x")).then(json={"id": "log_1"})
    async with LogsClient(
        base_url="https://h",
        api_key=SecretStr(KEY),
        budget=budget,
        clock=clock,
        transport=httpx.MockTransport(source),
        on_request=lambda route, status, _: told.append((route, status)),
    ) as client:
        await client.detail("log_1")
        await client.usage_summary(from_ms=1, to_ms=2)
    assert told == [("detail", 500), ("detail", 0), ("detail", 200), ("usage", 200)]
    assert budget.state.used == 4
    assert budget._in_flight == 0


class Chunks(httpx.AsyncByteStream):
    """A body that comes in parts, and counts those that were taken."""

    def __init__(self, chunk: bytes, count: int = 1) -> None:
        self.chunk, self.count, self.taken, self.closed = chunk, count, 0, False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for _ in range(self.count):
            self.taken += 1
            yield self.chunk

    async def aclose(self) -> None:
        self.closed = True


@pytest.mark.parametrize("declared", [{}, {"content-length": "9" * 30}, {"content-length": "x"}])
async def test_a_body_beyond_the_bound_is_left_unread_and_not_asked_again(
    clock: SimulatedClock, declared: dict[str, str]
) -> None:
    body = Chunks(b" " * 1000, count=1000)
    requests: Counter[str] = Counter()

    def answer(request: httpx.Request) -> httpx.Response:
        requests[request.method] += 1
        return httpx.Response(200, headers=declared, stream=body)

    async with bounded(clock, answer, most=2500) as client:
        with pytest.raises(
            AnswerTooLarge, match=r"POST .*: backend.composio.dev sent a body of more than 2,500 bytes"
        ):
            await ask(client)
    assert requests["POST"] == 1
    assert body.taken <= 3
    assert body.closed


async def test_a_body_that_declares_too_much_is_not_even_begun(clock: SimulatedClock) -> None:
    body = Chunks(b" ", count=10)
    headers = {"content-length": "2501"}
    async with bounded(
        clock, lambda _: httpx.Response(200, headers=headers, stream=body), most=2500
    ) as client:
        with pytest.raises(AnswerTooLarge):
            await ask(client)
    assert body.taken == 0


async def test_the_bound_holds_for_what_is_unpacked(clock: SimulatedClock) -> None:
    body = Chunks(gzip.compress(b" " * 100_000))
    headers = {"content-encoding": "gzip"}
    async with bounded(
        clock, lambda _: httpx.Response(200, headers=headers, stream=body), most=2500
    ) as client:
        with pytest.raises(AnswerTooLarge):
            await ask(client)


async def test_a_body_that_is_packed_twice_takes_no_memory(clock: SimulatedClock) -> None:
    body = Chunks(gzip.compress(gzip.compress(b" " * 64_000_000)))
    headers = {"content-encoding": "gzip, gzip"}
    async with bounded(
        clock, lambda _: httpx.Response(200, headers=headers, stream=body), most=2500
    ) as client:
        tracemalloc.start()
        with pytest.raises(SourceFailed, match="packed more than once"):
            await ask(client)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 2_000_000


async def test_a_packed_body_is_unpacked(clock: SimulatedClock) -> None:
    headers = {"content-encoding": "gzip"}
    body = gzip.compress(b'{"logs": [{"id": "log_1"}]}')

    def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, headers=headers, stream=Chunks(body))

    async with bounded(clock, answer, most=2500) as client:
        assert [entry.id for entry in (await ask(client)).entries] == ["log_1"]


def bounded(clock: SimulatedClock, answer: Any, *, most: int) -> LogsClient:
    return LogsClient(
        base_url="https://backend.composio.dev",
        api_key=SecretStr(KEY),
        budget=Budget(0.5, clock),
        clock=clock,
        most_body_bytes=most,
        transport=httpx.MockTransport(answer),
    )
