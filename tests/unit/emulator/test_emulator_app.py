from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from simulated_clock import SimulatedClock

from otel_bridge.emulator import EmulatorOptions, Fault, LogStore, create_app, generate
from otel_bridge.emulator.queries import InvalidQueryError, cursor_of, read_list_query, read_usage_query

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

END_MS = 1_776_421_500_000
LIST = "/api/v3.1/logs/tool_execution"
USAGE = "/api/v3.1/project/usage/summary"
KEY = {"x-api-key": "ak_test"}


@pytest.fixture(scope="module")
def store() -> LogStore:
    return LogStore(generate(50, 1, END_MS - 3_000_000, END_MS))


@asynccontextmanager
async def api(store: LogStore, **options: Any) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(store, EmulatorOptions(**options))
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://emulator", headers=KEY
    ) as client:
        yield client


@pytest.mark.parametrize(
    ("keys", "key", "status"),
    [
        ((), "anything", 200),
        ((), "", 401),
        ((), "   ", 401),
        ((), None, 401),
        ((), "ak_invalid", 401),
        ((), "ak_forbidden", 403),
        (("ak_one", "ak_two"), "ak_two", 200),
        (("ak_one", "ak_two"), "ak_three", 401),
        (("ak_one",), "ak_project", 200),
        (("ak_invalid", "ak_forbidden"), "ak_invalid", 200),
    ],
)
async def test_who_is_let_in(store: LogStore, keys: tuple[str, ...], key: str | None, status: int) -> None:
    async with api(store, api_keys=keys, projects={"ak_project": LogStore()}) as client:
        del client.headers["x-api-key"]
        answer = await client.post(LIST, headers={} if key is None else {"x-api-key": key})
        assert answer.status_code == status
        assert answer.headers["x-ratelimit-window-size"] == "60s"
        if status != 200:
            assert answer.json()["error"]["status"] == status
            assert str(key).strip() not in answer.json()["error"]["message"].split()


async def test_keys_have_projects_and_projects_have_their_own_logs(store: LogStore) -> None:
    other = LogStore(generate(3, 2, END_MS - 1_000, END_MS))
    async with api(store, projects={"ak_a": other, "ak_b": other}) as client:
        for key, expected in (("ak_a", other), ("ak_b", other), ("ak_test", store)):
            answer = await client.post(LIST, json={"limit": 100}, headers={"x-api-key": key})
            assert [log["id"] for log in answer.json()["logs"]] == expected.log_ids()[::-1]
            ids = (await client.get("/emulator/ids", params={"api_key": key})).json()["ids"]
            assert ids == expected.log_ids()
        hidden = await client.get(f"{LIST}/{store.log_ids()[0]}", headers={"x-api-key": "ak_a"})
        assert hidden.status_code == 404
        assert len((await client.get("/emulator/ids")).json()["ids"]) == 53
        assert (await client.get("/emulator/stats")).json()["records"] == 53


async def test_routes_and_methods(store: LogStore) -> None:
    async with api(store) as client:
        for method, path, status in (
            ("GET", LIST, 405),
            ("POST", f"{LIST}/log_1", 405),
            ("GET", USAGE, 405),
            ("GET", f"{LIST}/", 404),
            ("POST", "/api/v3.1/project/usage/tool_calls", 404),
            ("GET", "/", 404),
            ("GET", "/emulator/nothing", 404),
        ):
            answer = await client.request(method, path)
            assert (path, answer.status_code) == (path, status)
            assert answer.json()["error"]["status"] == status
        assert (await client.get(LIST)).headers["allow"] == "POST"


async def test_the_budget_is_the_organisations_and_comes_back_after_60_s(store: LogStore) -> None:
    clock = SimulatedClock(auto=False)
    options: dict[str, Any] = {
        "rate_limit": 3,
        "clock": clock,
        "projects": {"ak_elsewhere": store},
        "organisations": {"ak_elsewhere": "other"},
    }
    async with api(store, **options) as client:
        for key, status, remaining in (
            ("ak_one", 200, "2"),
            ("ak_two", 200, "1"),
            ("ak_invalid", 401, "1"),
            ("ak_one", 200, "0"),
            ("ak_two", 429, "0"),
            ("ak_elsewhere", 200, "2"),
        ):
            answer = await client.post(LIST, headers={"x-api-key": key})
            assert (answer.status_code, answer.headers["x-ratelimit-remaining"]) == (status, remaining)
            assert answer.headers["x-ratelimit"] == "3"
        await clock.advance(59.5)
        late = await client.post(LIST)
        assert late.status_code == 429
        assert late.headers["retry-after"] == "1"
        assert late.json() == {"message": "Rate limit exceeded. Try again in 1 seconds."}
        await clock.advance(0.5)
        assert (await client.post(LIST)).headers["x-ratelimit-remaining"] == "2"


async def test_other_users_of_the_budget_leave_less(store: LogStore) -> None:
    app = create_app(store, EmulatorOptions(rate_limit=10))
    assert app.rate_window().take(8)
    assert not app.rate_window().take(3)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://emulator") as client:
        answer = await client.post(LIST, headers=KEY)
    assert answer.headers["x-ratelimit-remaining"] == "1"


async def test_stats_count_requests_by_route(store: LogStore) -> None:
    async with api(store) as client:
        await client.post(LIST)
        await client.post(LIST, json={"limit": 0})
        await client.get(f"{LIST}/{store.log_ids()[0]}")
        await client.post(USAGE, json={})
        await client.get("/elsewhere")
        del client.headers["x-api-key"]
        assert (await client.get("/emulator/stats")).json() == {
            "records": 50,
            "requests": {"list": 2, "detail": 1, "usage": 1, "other": 1},
            "faults": {"list": 0, "detail": 0, "usage": 0, "other": 0},
            "statuses": {"200": 3, "400": 1, "404": 1},
        }


async def test_faults_that_are_answers(store: LogStore) -> None:
    faults = {
        0: Fault(status=503),
        1: Fault(status=502, html=True),
        2: Fault(html=True),
        3: Fault(cut_json=True),
        4: Fault(delay_ms=1),
    }
    seen = []

    def fault(path: str, number: int) -> Fault | None:
        seen.append((path, number))
        return faults.get(number)

    async with api(store, fault=fault) as client:
        answers = [await client.post(LIST) for _ in range(6)]
    assert [answer.status_code for answer in answers] == [503, 502, 200, 200, 200, 200]
    assert answers[0].json()["error"]["slug"] == "HTTP_InternalServerError"
    assert answers[1].text.startswith("<html>")
    assert answers[2].headers["content-type"] == "text/html"
    with pytest.raises(ValueError, match=r"line 1 column"):
        answers[3].json()
    assert answers[4].json() == answers[5].json()
    assert seen == [(LIST, number) for number in range(6)]


async def test_latency_is_added(store: LogStore) -> None:
    async with api(store, latency_ms=30) as client:
        answer = await client.post(LIST)
        assert answer.elapsed.total_seconds() >= 0.03


async def test_a_body_may_come_in_pieces(store: LogStore) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b'{"lim'
        yield b'it": 3}'

    async with api(store) as client:
        assert len((await client.post(LIST, content=pieces())).json()["logs"]) == 3


def test_a_cursor_is_a_page_as_in_the_official_example() -> None:
    assert cursor_of(2) == "eyJwYWdlIjoyfQ=="
    assert read_list_query(b'{"cursor": "eyJwYWdlIjo3fQ=="}').page == 7
    assert read_list_query(b'{"cursor": null}').page == read_list_query(b"").page == 1


@pytest.mark.parametrize("cursor", ["", "!", "e30=", "WzJd", "eyJwYWdlIjp0cnVlfQ==", "eyJwYWdlIjotMX0=", "é"])
def test_a_cursor_of_somebody_else_is_refused(cursor: str) -> None:
    with pytest.raises(InvalidQueryError, match="cursor"):
        read_list_query(b'{"cursor": "%b"}' % cursor.encode())


def test_everything_that_is_wrong_is_named_at_once() -> None:
    with pytest.raises(InvalidQueryError) as caught:
        read_list_query(
            b'{"limit": true, "cursor": 1, "filters": 1, "time_range": {"from": NaN, "to": null}}'
        )
    assert [error.split(":")[0] for error in caught.value.errors] == [
        "time_range.from",
        "time_range.to",
        "limit",
        "cursor",
        "filters",
    ]


@pytest.mark.parametrize(
    ("body", "place"),
    [
        (b'{"from": "1"}', "from"),
        (b'{"from": 5, "to": 4}', "from"),
        (b'{"from": 0, "to": 31622400001}', "from"),
        (b'{"filters": [1]}', "filters"),
        (b'{"filters": {"user_id": [1]}}', "user_id"),
        (b'{"entity_types": 1}', "entity_types"),
    ],
)
def test_a_usage_request_that_is_wrong_is_refused(body: bytes, place: str) -> None:
    with pytest.raises(InvalidQueryError, match=f"^{place}:"):
        read_usage_query(body, END_MS)


def test_usage_is_of_the_last_30_days_unless_asked_otherwise() -> None:
    query = read_usage_query(b"{}", END_MS)
    assert (query.from_ms, query.to_ms) == (END_MS - 30 * 86_400_000, END_MS)
    assert query.entity_types == ("tool_calls", "sessions")
    assert read_usage_query(b'{"filters": {"user_id": "ada"}}', END_MS).user_ids == ("ada",)
