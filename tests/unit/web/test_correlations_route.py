"""Where applications report to: what they may send, and what it can cost the bridge at most."""

from __future__ import annotations

import asyncio
import json
import tracemalloc
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from pydantic import SecretStr
from simulated_clock import SimulatedClock
from starlette.applications import Starlette

from otel_bridge.errors import LedgerError
from otel_bridge.file_values import Fixed
from otel_bridge.ledger import DeliveredRecord, MemoryLedger, Recollection, RemoteSpan
from otel_bridge.pipeline.observer import Observer
from otel_bridge.service.correlations import CorrelationRegister
from otel_bridge.web import correlations
from otel_bridge.web.correlations import MOST_BODY_BYTES, MOST_ITEMS, correlation_route

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = f"00-{TRACE}-{SPAN}-01"
REMOTE = RemoteSpan(bytes.fromhex(TRACE), bytes.fromhex(SPAN))
EVIL = '<script>alert(1)</script>"\r\nX-Evil: 1'


class Counts(Observer):
    def __init__(self) -> None:
        self.seen: dict[tuple[str | None, str], int] = {}

    def correlations(self, project: str | None, outcome: str, count: int) -> None:
        self.seen[project, outcome] = self.seen.get((project, outcome), 0) + count


class Door:
    """The route over a ledger in memory."""

    def __init__(self, token: str | None, client: tuple[str, int] = ("127.0.0.1", 5)) -> None:
        self.clock = SimulatedClock()
        self.ledger = MemoryLedger()
        self.open_ledger: MemoryLedger | None = self.ledger
        self.counts = Counts()
        register = CorrelationRegister(lambda: self.open_ledger, lambda: self.counts, self.clock, 60_000)
        secret = None if token is None else SecretStr(token)
        self.app = Starlette(routes=[correlation_route(register, Fixed(secret), self.clock)])
        self.http = httpx.AsyncClient(
            transport=httpx.ASGITransport(self.app, client=client), base_url="http://127.0.0.1:8790"
        )

    async def post(self, body: Any = None, **more: Any) -> httpx.Response:
        content = more.pop("content", None) or json.dumps(body).encode()
        headers = {"content-type": "application/json", **more.pop("headers", {})}
        return await self.http.post("/v1/correlations", content=content, headers=headers, **more)

    async def kept(self, *log_ids: str, request_ids: tuple[str, ...] = ()) -> Recollection:
        return await self.ledger.recall(
            "p", log_ids=log_ids, request_ids=request_ids, attempt_keys=[], now_ms=self.clock.now_ms()
        )


async def opened(*args: Any) -> Door:
    door = Door(*args)
    await door.ledger.open()
    return door


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    made = await opened(None)
    yield made
    await made.http.aclose()


def refusal(answer: httpx.Response) -> str:
    assert answer.headers["content-type"] == "application/json"
    assert set(answer.json()) == {"error"}
    error: str = answer.json()["error"]
    return error


# ── what is taken ────────────────────────────────────────────────────────────────────────────────────────
async def test_one_for_a_log_that_nobody_knows_yet_waits_for_it(door: Door) -> None:
    answer = await door.post({"log_id": "log_1", "traceparent": PARENT})
    assert (answer.status_code, answer.json()) == (202, {"status": "registered"})
    assert (await door.kept("log_1")).by_log_id == {"log_1": REMOTE}
    assert door.counts.seen == {(None, "registered"): 1}


async def test_a_list_is_answered_item_by_item(door: Door) -> None:
    answer = await door.post(
        [
            {"request_id": "r", "traceparent": PARENT},
            {"log_id": "log_1", "request_id": "s", "traceparent": PARENT},
            {"log_id": "log_2", "traceparent": "00-no"},
            {"log_id": "log_1", "traceparent": PARENT},
            {"log_id": "log_1", "traceparent": PARENT.replace("4b", "4c")},
        ]
    )
    assert answer.status_code == 202
    results = answer.json()["results"]
    assert [each["status"] for each in results] == ["registered"] * 2 + ["refused", "registered", "conflict"]
    assert results[2]["error"].startswith("traceparent: takes 00-")
    kept = await door.kept("log_1", "log_2", request_ids=("r", "s"))
    assert (set(kept.by_log_id), set(kept.by_request_id)) == ({"log_1"}, {"r", "s"})


async def test_an_empty_list_is_fine_and_a_list_of_nothing_good_is_not(door: Door) -> None:
    empty = await door.post([])
    assert (empty.status_code, empty.json()) == (202, {"results": []})
    bad = await door.post([{"log_id": "x"}, 7])
    assert bad.status_code == 422
    assert bad.json()["error"] == "none of the correlations is valid"
    assert [each["status"] for each in bad.json()["results"]] == ["refused", "refused"]


async def test_one_that_comes_too_late_is_told_so(door: Door, caplog: pytest.LogCaptureFixture) -> None:
    await door.ledger.commit("p", delivered=[DeliveredRecord("log_1", 1, b"t" * 16, b"s" * 8)])
    answer = await door.post({"log_id": "log_1", "traceparent": PARENT})
    assert answer.status_code == 202
    assert answer.json() == {"status": "late", "error": "the record had gone out before"}
    assert door.counts.seen == {("p", "late"): 1}
    assert "p: 1 correlations came when their records had gone out" in caplog.text


async def test_what_expired_without_a_record_is_counted_and_said(
    door: Door, caplog: pytest.LogCaptureFixture
) -> None:
    await door.post({"log_id": "log_1", "traceparent": PARENT})
    await door.clock.sleep(61)
    await door.post({"log_id": "log_2", "traceparent": PARENT})
    assert door.counts.seen == {(None, "registered"): 2, (None, "unused"): 1}
    assert "1 correlations expired unused" in caplog.text


# ── who may ──────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    "header",
    ["", "Bearer", "Bearer ", "Bearer wrong", "Bearer secret2", "Basic secret", "secret", "Bearer \xe9"],
)
async def test_a_wrong_token_is_refused_before_anything_is_read(header: str) -> None:
    door = await opened("secret")
    answer = await door.post(content=b"{" * 100, headers={"authorization": header.encode("latin-1")})
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert "secret" not in refusal(answer)
    assert door.counts.seen == {(None, "refused"): 1}


async def test_a_token_is_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[Any, Any]] = []

    def compare_digest(given: Any, right: Any) -> bool:
        compared.append((given, right))
        return bool(given == right)

    monkeypatch.setattr("hmac.compare_digest", compare_digest)
    door = await opened("secret")
    for given in ("secret", "secreT", "", "s" * 5000):
        await door.post([], headers={"authorization": f"Bearer {given}"})
    assert compared == [(given, b"secret") for given in (b"secret", b"secreT", b"", b"s" * 5000)]


async def test_a_token_whose_file_has_just_changed_is_let_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Fixed, "look", lambda _: SecretStr("newer"))
    door = await opened("old", ("10.0.0.7", 5))
    codes = [
        (await door.post([], headers={"authorization": f"Bearer {token}"})).status_code
        for token in ("old", "newer", "neither")
    ]
    assert codes == [202, 202, 401]


@pytest.mark.parametrize("client", ["10.0.0.7", "127.0.0.1"])
async def test_the_right_token_is_let_in_from_anywhere(client: str) -> None:
    door = await opened("sécret", (client, 5))
    for scheme in ("Bearer", "bearer"):
        headers = {"authorization": f"{scheme} sécret".encode()}
        assert (await door.post([], headers=headers)).status_code == 202


@pytest.mark.parametrize(
    ("client", "status"),
    [
        ("127.0.0.1", 202),
        ("::1", 202),
        ("::ffff:127.0.0.1", 202),
        ("10.0.0.7", 403),
        ("::ffff:10.0.0.7", 403),
        ("unix", 403),
    ],
)
async def test_without_a_token_only_this_machine_is_let_in(client: str, status: int) -> None:
    door = await opened(None, (client, 5))
    answer = await door.post([])
    assert answer.status_code == status
    if status == 403:
        assert "OTEL_BRIDGE_TOKEN" in refusal(answer)


@pytest.mark.parametrize("header", ["forwarded", "x-forwarded-for"])
async def test_a_proxy_on_this_machine_does_not_count_as_this_machine(door: Door, header: str) -> None:
    assert (await door.post([], headers={header: "10.0.0.7"})).status_code == 403


# ── what is refused ──────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("item", "says"),
    [
        ({"log_id": "a", "traceparent": f"00-{'0' * 32}-{SPAN}-01"}, "traceparent: its trace id is all zero"),
        ({"log_id": "a", "traceparent": f"00-{TRACE}-{'0' * 16}-01"}, "traceparent: its span id is all zero"),
        ({"log_id": "a", "traceparent": f"ff-{TRACE}-{SPAN}-01"}, "traceparent: version ff is not allowed"),
        ({"log_id": "a", "traceparent": PARENT.upper()}, "traceparent: upper case is not allowed"),
        ({"log_id": "a", "traceparent": EVIL}, "traceparent: takes 00-"),
        ({"log_id": "a", "traceparent": "0" * 9_999}, "traceparent: String should have at most 512"),
        ({"log_id": "a", "traceparent": None}, "traceparent: Input should be a valid string"),
        ({"log_id": "a"}, "traceparent: Field required"),
        ({"traceparent": PARENT}, "log_id or request_id is needed"),
        ({"log_id": None, "request_id": None, "traceparent": PARENT}, "log_id or request_id is needed"),
        ({"request_id": "r" * 10_240, "traceparent": PARENT}, "request_id: String should have at most 512"),
        ({"request_id": "", "traceparent": PARENT}, "request_id: String should have at least 1"),
        ({"log_id": 7, "traceparent": PARENT}, "log_id: Input should be a valid string"),
        ({"log_id": "a", "traceparent": PARENT, EVIL: 1}, "takes log_id, request_id and traceparent"),
        (7, "takes an object"),
        (EVIL, "takes an object"),
        (None, "takes an object"),
    ],
)
async def test_one_that_is_wrong_is_refused_and_nothing_of_it_repeated(
    door: Door, item: Any, says: str
) -> None:
    answer = await door.post(item)
    assert answer.status_code == 422
    error = refusal(answer)
    assert error.startswith(says)
    assert len(error) < 120
    assert "script" not in answer.text
    assert "rrr" not in answer.text
    assert door.counts.seen == {(None, "refused"): 1}


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"\xff\xfe",
        b'{"log_id": "\\ud800", "traceparent": ""}',
        b"[" * 100_000,
        b'{"a":' * 50_000,
        b"null null",
        EVIL.encode(),
    ],
    ids=["cut", "bytes", "surrogate", "deep list", "deep object", "two", "html"],
)
async def test_a_body_that_is_no_json_is_refused(door: Door, body: bytes) -> None:
    answer = await door.post(content=body)
    assert answer.status_code == 400
    assert refusal(answer) == "the body is not JSON"


@pytest.mark.parametrize("kind", ["", "text/plain", "application/x-www-form-urlencoded", "application/json5"])
async def test_another_content_type_is_refused(door: Door, kind: str) -> None:
    answer = await door.post([], headers={"content-type": kind})
    assert answer.status_code == 415
    assert refusal(answer) == "takes application/json"
    assert (
        await door.post([], headers={"content-type": "Application/JSON; charset=utf-8"})
    ).status_code == 202


async def test_more_than_fits_one_request_is_refused(door: Door) -> None:
    item = {"log_id": "a", "traceparent": PARENT}
    assert (await door.post([item] * MOST_ITEMS)).status_code == 202
    answer = await door.post([item] * (MOST_ITEMS + 1))
    assert answer.status_code == 413
    assert refusal(answer) == f"takes at most {MOST_ITEMS} correlations at once"


@pytest.mark.parametrize("length", ["10485760", "9" * 5_000, "-1", "²"])
async def test_a_length_beyond_the_bound_is_refused_unread(door: Door, length: str) -> None:
    read = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal read
        read += 1
        yield b"x"

    headers = {"content-length": length.encode("latin-1")}
    answer = await door.post(content=endless(), headers=headers)
    assert answer.status_code == 413
    assert refusal(answer) == f"takes at most {MOST_BODY_BYTES} bytes"


async def test_a_body_of_10_mb_without_a_length_is_never_held(door: Door) -> None:
    chunk = b" " * 65_536
    sent = 0

    async def receive() -> dict[str, Any]:
        nonlocal sent
        sent += len(chunk)
        return {"type": "http.request", "body": chunk, "more_body": sent < 10_485_760}

    statuses = []

    async def send(message: Any) -> None:
        statuses.append(message.get("status"))

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/correlations",
        "query_string": b"",
        "headers": [(b"content-type", b"application/json")],
        "client": ("127.0.0.1", 5),
    }
    tracemalloc.start()
    await door.app(scope, receive, send)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert statuses[0] == 413
    assert sent <= MOST_BODY_BYTES + 2 * len(chunk)
    assert peak < 4 * MOST_BODY_BYTES


async def test_a_body_that_does_not_come_or_breaks_off_is_refused(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(correlations, "_READ_S", 0.02)

    async def slow() -> AsyncIterator[bytes]:
        yield b"["
        await asyncio.sleep(5)
        yield b"]"

    assert (await door.post(content=slow())).status_code == 408

    statuses = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        statuses.append(message.get("status"))

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/correlations",
        "query_string": b"",
        "headers": [(b"content-type", b"application/json")],
        "client": ("127.0.0.1", 5),
    }
    await door.app(scope, receive, send)
    assert statuses[0] == 400


async def test_a_flood_is_told_when_to_come_again(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("otel_bridge.ledger.memory_correlations.MOST_CORRELATIONS", 500)
    items = [[{"log_id": f"{m}_{n}", "traceparent": PARENT} for n in range(1_000)] for m in range(12)]
    answers = [await door.post(each) for each in items]
    assert [each.status_code for each in answers] == [202] * 10 + [429] * 2
    assert refusal(answers[-1]) == "too many correlations in a short time"
    assert int(answers[-1].headers["retry-after"]) >= 1
    assert len(door.ledger._kept) == 500
    # What was refused has cost next to nothing, and a second later there is room for some again.
    await door.clock.sleep(1.1)
    assert (await door.post(items[11])).status_code == 202
    assert (await door.post(items[11])).status_code == 429


async def test_only_so_many_bodies_are_held_at_once(door: Door) -> None:
    gate = asyncio.Event()

    async def held() -> AsyncIterator[bytes]:
        yield b"["
        await gate.wait()
        yield b"]"

    waiting = [asyncio.create_task(door.post(content=held())) for _ in range(8)]
    for _ in range(20):
        await asyncio.sleep(0)
    refused = await door.post([])
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
    gate.set()
    assert [(await each).status_code for each in waiting] == [202] * 8
    assert (await door.post([])).status_code == 202


async def test_a_correlation_waits_for_the_ledger_of_a_service_that_starts(door: Door) -> None:
    door.open_ledger = None
    waiting = asyncio.create_task(door.post({"log_id": "a", "traceparent": PARENT}))
    while not door.clock.naps:  # noqa: ASYNC110 - the simulated clock's
        await asyncio.sleep(0)
    door.open_ledger = door.ledger
    assert (await waiting).status_code == 202
    assert (await door.kept("a")).by_log_id == {"a": REMOTE}


async def test_a_ledger_that_can_not_be_used_is_no_reason_to_lose_the_correlation(door: Door) -> None:
    door.open_ledger = None
    answer = await door.post({"log_id": "a", "traceparent": PARENT})
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert sum(door.clock.naps) < 10, "a caller is answered before it gives up"
    door.open_ledger = door.ledger
    await door.ledger.close()
    assert (await door.post({"log_id": "a", "traceparent": PARENT})).status_code == 503
    with pytest.raises(LedgerError):
        await door.kept("a")


async def test_nothing_but_post_is_answered(door: Door) -> None:
    assert (await door.http.get("/v1/correlations")).status_code == 405
