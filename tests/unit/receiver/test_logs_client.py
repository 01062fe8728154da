"""What the client asks, and what it makes of good answers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from fake_source import KEY
from pydantic import SecretStr

from otel_bridge._version import __version__
from otel_bridge.errors import (
    RecordNotFound,
    RecordUnreadable,
    SettingsError,
    SourceFailed,
    SourceUnreachable,
)
from otel_bridge.receiver.budget import Budget, Priority
from otel_bridge.receiver.client import LogsClient
from otel_bridge.receiver.models import Filter

if TYPE_CHECKING:
    from fake_source import FakeSource
    from simulated_clock import SimulatedClock

LIST_URL = "https://backend.composio.dev/api/v3.1/logs/tool_execution"


def page(*ids: str, cursor: str | None = None) -> dict[str, Any]:
    return {"logs": [{"id": log_id} for log_id in ids], "next_cursor": cursor}


def sent(request: httpx.Request) -> Any:
    return json.loads(request.content)


async def test_a_list_request_is_the_documented_one(client: LogsClient, source: FakeSource) -> None:
    source.then(json=page("log_1", cursor="eyJwYWdlIjoyfQ=="))
    answer = await client.list_page(
        from_ms=1000,
        to_ms=2000,
        filters=[Filter(field="status", operator="!=", value="failed")],
        cursor="c",
        limit=7,
    )
    (request,) = source.requests
    assert (request.method, str(request.url)) == ("POST", LIST_URL)
    assert sent(request) == {
        "limit": 7,
        "time_range": {"from": 1000, "to": 2000},
        "filters": [{"field": "status", "operator": "!=", "value": "failed"}],
        "cursor": "c",
    }
    assert request.headers["x-api-key"] == KEY
    assert request.headers["user-agent"] == f"otel-bridge/{__version__}"
    assert request.headers["content-type"] == request.headers["accept"] == "application/json"
    assert [entry.id for entry in answer.entries] == ["log_1"]
    assert answer.next_cursor == "eyJwYWdlIjoyfQ=="


async def test_what_is_not_asked_for_is_not_sent(client: LogsClient, source: FakeSource) -> None:
    source.then(json=page())
    await client.list_page(from_ms=1, to_ms=2)
    assert sent(source.requests[0]) == {"limit": 100, "time_range": {"from": 1, "to": 2}}


async def test_all_pages_are_walked_over_one_frozen_range(client: LogsClient, source: FakeSource) -> None:
    source.then(json=page("log_3", cursor="a")).then(json=page(cursor="b")).then(json=page("log_1"))
    filters = [Filter(field="user_id", operator="==", value="u")]
    found = [p async for p in client.pages(from_ms=5, to_ms=9, filters=filters, limit=50)]
    assert [[entry.id for entry in p.entries] for p in found] == [["log_3"], [], ["log_1"]]
    bodies = [sent(request) for request in source.requests]
    assert [body.pop("cursor", None) for body in bodies] == [None, "a", "b"]
    assert bodies[0] == bodies[1] == bodies[2]


async def test_a_walk_that_is_cut_short_shows_that_there_is_more(
    client: LogsClient, source: FakeSource
) -> None:
    source.then(json=page("log_1", cursor="a")).then(json=page("log_2", cursor="b"))
    found = [p async for p in client.pages(from_ms=5, to_ms=9, max_pages=2)]
    assert len(source.requests) == 2
    assert found[-1].next_cursor == "b"


@pytest.mark.parametrize("cursors", [["a", "a"], ["a", "b", "a"], ["a", "b", "c", "b"]])
async def test_a_cursor_that_comes_again_ends_the_walk_with_an_error(
    client: LogsClient, source: FakeSource, cursors: list[str]
) -> None:
    for cursor in cursors:
        source.then(json=page("log_1", cursor=cursor))
    walk = client.pages(from_ms=5, to_ms=9)
    for _ in cursors:
        await anext(walk)
    with pytest.raises(SourceFailed, match=f"page {len(cursors)} names a cursor that came before"):
        await anext(walk)
    assert len(source.requests) == len(cursors)


@pytest.mark.parametrize(
    ("log_id", "path"),
    [
        ("log_-jRTWClpBoVo", "log_-jRTWClpBoVo"),
        ("a/b", "a%2Fb"),
        ("..", "%2E%2E"),
        (".", "%2E"),
        ("../../project", "..%2F..%2Fproject"),
        ("50%", "50%25"),
        ("%2E", "%252E"),
        ("é?x#y z", "%C3%A9%3Fx%23y%20z"),
        ("-", "-"),
    ],
)
async def test_any_id_stays_one_segment_of_the_path(
    client: LogsClient, source: FakeSource, log_id: str, path: str
) -> None:
    source.then(json={"id": log_id, "data": {"a": 1}})
    detail = await client.detail(log_id)
    (request,) = source.requests
    assert request.method == "GET"
    assert request.url.raw_path == f"/api/v3.1/logs/tool_execution/{path}".encode()
    assert request.content == b""
    assert (detail.id, detail.data) == (log_id, {"a": 1})


async def test_an_id_that_no_address_can_hold_is_asked_without_harm(
    client: LogsClient, source: FakeSource
) -> None:
    source.then(404)
    with pytest.raises(RecordNotFound):
        await client.detail("log_\ud800", missing_retries=0)
    with pytest.raises(RecordNotFound):
        await client.detail("")
    assert len(source.requests) == 1  # without an id the request would be another one


async def test_a_log_just_listed_may_be_missing_for_a_moment(
    client: LogsClient, source: FakeSource, clock: SimulatedClock
) -> None:
    source.then(404).then(404, text="<html>").then(json={"id": "log_1"})
    assert (await client.detail("log_1")).id == "log_1"
    assert 0 < clock.monotonic_s() < 2


async def test_a_log_that_stays_missing_is_not_found(client: LogsClient, source: FakeSource) -> None:
    source.then(404, json={"error": {"message": "Log not found", "status": 404}})
    with pytest.raises(RecordNotFound, match=r'^log log_1: .* was answered with 404.*"Log not found"$'):
        await client.detail("log_1", missing_retries=2)
    assert len(source.requests) == 3


@pytest.mark.parametrize(
    "body", [[], {"message": "secret payload"}, {"id": "log_2"}, {"id": None}, "secret payload"]
)
async def test_json_that_is_not_this_log_is_unreadable_and_not_asked_again(
    client: LogsClient, source: FakeSource, body: Any
) -> None:
    source.then(json=body)
    with pytest.raises(RecordUnreadable, match=r"^log log_1: the answer is") as caught:
        await client.detail("log_1")
    assert "secret" not in str(caught.value)
    assert len(source.requests) == 1


async def test_the_usage_summary_is_asked_as_documented(client: LogsClient, source: FakeSource) -> None:
    source.then(json={"entities": {"tool_calls": {"event_count": 42}}, "instant_charge": "0.1"})
    summary = await client.usage_summary(from_ms=1, to_ms=2)
    (request,) = source.requests
    assert str(request.url) == "https://backend.composio.dev/api/v3.1/project/usage/summary"
    assert sent(request) == {"from": 1, "to": 2, "entity_types": ["tool_calls"]}
    assert summary.tool_calls == 42


async def test_every_request_has_its_place_in_the_budget(
    client: LogsClient, source: FakeSource, budget: Budget, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Priority] = []
    acquire = budget.acquire

    async def noting(priority: Priority) -> None:
        asked.append(priority)
        await acquire(priority)

    monkeypatch.setattr(budget, "acquire", noting)
    rate = {"X-RateLimit": "100", "X-RateLimit-Remaining": "80"}
    source.then(json={"id": "log_1", "logs": []}, headers=rate)
    await client.list_page(from_ms=1, to_ms=2, priority=Priority.RECHECK)
    _ = [p async for p in client.pages(from_ms=1, to_ms=2, priority=Priority.BACKFILL)]
    await client.detail("log_1", priority=Priority.BACKFILL)
    await client.usage_summary(from_ms=1, to_ms=2)
    assert asked == [Priority.RECHECK, Priority.BACKFILL, Priority.BACKFILL, Priority.HEAD]
    assert (budget.state.limit, budget.state.remaining, budget.state.used) == (100, 80, 4)


def test_the_key_is_in_no_repr(client: LogsClient) -> None:
    assert repr(client) == "LogsClient(base_url='https://backend.composio.dev', api_key='***')"


def make(clock: SimulatedClock, *, key: str = KEY, base_url: str = "https://h") -> LogsClient:
    return LogsClient(
        base_url=base_url, api_key=SecretStr(key), budget=Budget(0.5, clock), clock=clock, timeout_s=1.0
    )


@pytest.mark.parametrize("key", ["ak_x\n", "ak x", "ak_\r\nhost: evil", "ak_ключ", "ak_\x00", "\ufeffak"])
def test_a_key_that_no_header_can_carry_is_said_without_showing_it(clock: SimulatedClock, key: str) -> None:
    with pytest.raises(SettingsError, match=r"^api_key holds a character") as caught:
        make(clock, key=key)
    assert key not in str(caught.value)


def test_an_empty_key_is_said(clock: SimulatedClock) -> None:
    with pytest.raises(SettingsError, match=r"^api_key is empty"):
        make(clock, key="")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "backend.composio.dev",
        "ftp://h",
        "https://",
        "http://[",
        "http://h:99999999",
        "http://h:port",
        "https://h?x=1",
        "https://h/#f",
    ],
)
def test_a_base_url_that_is_none_is_said(clock: SimulatedClock, url: str) -> None:
    with pytest.raises(SettingsError, match=r"COMPOSIO_BASE_URL \(base_url\) takes an address") as caught:
        make(clock, base_url=url)
    assert repr(url) in str(caught.value)


def test_a_password_in_the_base_url_is_refused_without_showing_it(clock: SimulatedClock) -> None:
    with pytest.raises(SettingsError, match="COMPOSIO_BASE_URL") as caught:
        make(clock, base_url="https://user:hunter2@h")
    assert "hunter2" not in str(caught.value)
    assert "https://***@h" in str(caught.value)


def test_a_proxy_in_the_environment_that_cannot_be_used_is_said(
    clock: SimulatedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "ftp://user:hunter2@proxy")
    with pytest.raises(SettingsError, match="HTTPS_PROXY") as caught:
        make(clock)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("proxy", ["http://user:hunter2@127.0.0.1:9", "127.0.0.1:9"])
async def test_a_proxy_that_stands_between_is_named_without_its_password(
    clock: SimulatedClock, monkeypatch: pytest.MonkeyPatch, proxy: str
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    monkeypatch.setenv("NO_PROXY", "")
    async with make(clock, base_url="https://backend.invalid") as client:
        with pytest.raises(SourceUnreachable) as caught:
            await client.list_page(from_ms=1, to_ms=2)
    assert "no connection to backend.invalid through the proxy 127.0.0.1:9 (" in str(caught.value)
    assert "hunter2" not in str(caught.value)


async def test_a_base_url_with_a_path_keeps_it(source: FakeSource, clock: SimulatedClock) -> None:
    source.then(json=page())
    async with LogsClient(
        base_url="http://127.0.0.1:9/composio//",
        api_key=SecretStr(KEY),
        budget=Budget(0.5, clock),
        clock=clock,
        transport=httpx.MockTransport(source),
    ) as client:
        await client.list_page(from_ms=1, to_ms=2)
        await client.aclose()  # twice does no harm
    assert str(source.requests[0].url) == "http://127.0.0.1:9/composio/api/v3.1/logs/tool_execution"
