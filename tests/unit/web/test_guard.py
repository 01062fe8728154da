"""What no request gets past: other sites' names and pages, bodies without end, errors with their text."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from web_stage import Stage, asking

from otel_bridge.web import guard
from otel_bridge.web.guard import HEADERS, Guard
from otel_bridge.web.request_body import MOST_BODY_BYTES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

LOCAL = ["127.0.0.1", "127.0.0.1:8790", "localhost", "LOCALHOST:80", "[::1]:8790", "a.localhost", "127.8.8.8"]
FOREIGN = ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "10.0.0.1", "[::2]", "0.0.0.0"]  # noqa: S104
BROKEN = [
    "",
    "a b",
    "http://localhost",
    "user@localhost",
    "localhost/",
    "[::1",
    "localhost:port",
    "löcal",
    "?",
]


@pytest.mark.parametrize("host", LOCAL)
async def test_on_loopback_this_machines_own_names_are_answered(quiet: httpx.AsyncClient, host: str) -> None:
    assert (await quiet.get("/livez", headers={"host": host})).status_code == 200


@pytest.mark.parametrize("host", FOREIGN)
async def test_on_loopback_no_other_name_is_answered(quiet: httpx.AsyncClient, host: str) -> None:
    answer = await quiet.get("/", headers={"host": host})
    assert answer.status_code == 421
    own = "this machine's own name, such as localhost"
    assert answer.json() == {"error": f"ask under {own}, or a name that OTEL_BRIDGE_HOSTS lists"}


async def test_on_loopback_a_reverse_proxys_name_is_answered_when_it_is_listed(tmp_path: Path) -> None:
    stage = Stage(tmp_path, http={"hosts": "bridge.example.com"})
    async with asking(stage) as client:
        for host, status in (("bridge.example.com", 200), ("localhost:8790", 200), ("evil.example", 421)):
            assert (await client.get("/livez", headers={"host": host})).status_code == status


@pytest.mark.parametrize(
    ("path", "prefix", "status"),
    [
        ("/livez", "/bridge", 200),
        ("/bridge/livez", "/bridge", 200),
        ("/bridge/livez", "/bridge/", 200),
        ("/ops/bridge/livez", "/ops/bridge", 200),
        ("//livez", "", 200),
        ("/bridge/livez", "", 404),
        ("/bridgelivez", "/bridge", 404),
        ("/bridge/livez", "//evil.example", 404),
    ],
)
async def test_a_prefix_that_a_reverse_proxy_names_is_left_out(
    quiet: httpx.AsyncClient, path: str, prefix: str, status: int
) -> None:
    url = f"http://localhost{path}"
    assert (await quiet.get(url, headers={"x-forwarded-prefix": prefix})).status_code == status


@pytest.mark.parametrize("host", BROKEN)
async def test_a_host_that_is_none_is_refused(quiet: httpx.AsyncClient, host: str) -> None:
    answer = await quiet.get("/", headers=[(b"host", host.encode("latin-1"))])
    assert answer.status_code == 400


@pytest.mark.parametrize("host", [*LOCAL, "bridge.internal:8790", "10.0.0.1"])
async def test_beyond_loopback_any_name_is_answered(tmp_path: Path, host: str) -> None:
    async with asking(Stage(tmp_path), "0.0.0.0") as client:  # noqa: S104 - nothing is bound
        assert (await client.get("/livez", headers={"host": host})).status_code == 200


@pytest.mark.parametrize(
    ("host", "status"),
    [
        *((host, 200) for host in (*LOCAL, "bridge:8790", "BRIDGE", "172.18.0.3:8790", "[fd00::3]:8790")),
        *((host, 421) for host in ("evil.example", "bridge.evil.example", "localhost.evil.example:8790")),
    ],
)
async def test_beyond_loopback_a_list_of_names_keeps_others_out(
    tmp_path: Path, host: str, status: int
) -> None:
    stage = Stage(tmp_path, http={"hosts": "localhost,bridge"})
    async with asking(stage, "0.0.0.0") as client:  # noqa: S104 - nothing is bound
        assert (await client.get("/", headers={"host": host})).status_code == status


async def test_the_name_that_is_listened_on_is_its_own(tmp_path: Path) -> None:
    async with asking(Stage(tmp_path), "[::1]") as client:
        assert (await client.get("/livez", headers={"host": "[::1]:8790"})).status_code == 200


NEEDED = {
    "content-security-policy": (
        "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
"""Written out: what is compared with the program's own table would go with it."""


def test_no_header_has_gone() -> None:
    assert HEADERS == NEEDED


@pytest.mark.parametrize(
    "path", ["/livez", "/readyz", "/metrics", "/api/status", "/", "/openapi.yaml", "/nope"]
)
async def test_every_answer_carries_the_security_headers(quiet: httpx.AsyncClient, path: str) -> None:
    for headers in ({}, {"host": "evil.example"}):
        answer = await quiet.get(path, headers=headers)
        for name, value in HEADERS.items():
            assert answer.headers.get_list(name)[0].startswith(value)
            assert len(answer.headers.get_list(name)) == 1
        assert "server" not in answer.headers


async def guarded(app: Any, method: str = "POST", **options: Any) -> httpx.Response:
    transport = httpx.ASGITransport(Guard(app, "127.0.0.1"))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8790") as client:
        return await client.request(method, "/some/path", **options)


async def reads_all(scope: Any, receive: Any, send: Any) -> None:
    assert scope["type"] == "http"
    size = 0
    while True:
        message = await receive()
        size += len(message.get("body", b""))
        if not message.get("more_body"):
            break
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": str(size).encode()})


OTHER_SITES = [
    {"origin": "https://evil.example"},
    {"origin": "null"},
    {"origin": "http://127.0.0.1:9999"},
    {"sec-fetch-site": "cross-site"},
    {"sec-fetch-site": "same-site"},
]


@pytest.mark.parametrize("headers", OTHER_SITES)
async def test_a_browser_can_not_change_anything_for_another_sites_page(headers: dict[str, str]) -> None:
    assert (await guarded(reads_all, headers=headers)).status_code == 403
    assert (await guarded(reads_all, "GET", headers=headers)).status_code == 200, (
        "reading is bound by its origin"
    )


@pytest.mark.parametrize(
    "headers", [{}, {"origin": "http://127.0.0.1:8790", "sec-fetch-site": "same-origin"}]
)
async def test_who_is_no_other_sites_page_may(headers: dict[str, str]) -> None:
    assert (await guarded(reads_all, headers=headers)).status_code == 200


async def pieces(count: int) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield b"x" * 65_536


async def test_a_body_is_bounded_whether_its_length_is_said_or_not() -> None:
    most = b"x" * MOST_BODY_BYTES
    assert (await guarded(reads_all, content=most)).text == str(MOST_BODY_BYTES)
    for content in (most + b"x", pieces(17)):
        answer = await guarded(reads_all, content=content)
        assert answer.status_code == 413
        assert answer.json() == {"error": "a body has at most 1048576 bytes"}
        assert answer.headers["connection"] == "close"
    for length in ("-1", "1e9", "9" * 5000, "٣"):
        answer = await guarded(reads_all, headers={"content-length": length.encode()})
        assert answer.status_code == 413


async def test_an_answer_is_bounded_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "ANSWER_S", 0.05)

    async def hangs(_scope: Any, _receive: Any, _send: Any) -> None:
        await asyncio.sleep(60)

    assert (await guarded(hangs, "GET")).status_code == 503


async def test_an_error_nobody_foresaw_is_one_event_without_its_text(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def breaks(_scope: Any, _receive: Any, _send: Any) -> None:
        raise KeyError("a payload")

    with caplog.at_level(logging.ERROR, "otel_bridge"):
        answer = await guarded(breaks, "GET")
    assert (answer.status_code, answer.json()) == (500, {"error": "the bridge's log says what went wrong"})
    (record,) = caplog.records
    assert record.getMessage().startswith("unforeseen KeyError at test_guard.py:")
    assert record.exc_info is None
    assert "payload" not in caplog.text


async def test_an_answer_that_has_begun_is_not_begun_again() -> None:
    async def breaks_late(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200})
        raise KeyError

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message["type"])

    scope = {"type": "http", "method": "GET", "path": "/", "http_version": "1.0", "headers": []}
    await Guard(breaks_late, "127.0.0.1")(scope, asyncio.Queue[Any]().get, send)
    assert sent == ["http.response.start"]


@pytest.mark.parametrize(
    ("version", "hosts", "status"),
    [
        ("1.0", [], 200),
        ("1.1", [], 400),
        ("1.1", [b"localhost", b"localhost"], 400),
        ("1.1", [b"localhost"], 200),
    ],
)
async def test_one_host_is_named_except_by_http_1_0(version: str, hosts: list[bytes], status: int) -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.request"}

    headers = [(b"host", host) for host in hosts]
    scope: dict[str, Any] = {
        "type": "http",
        "method": "GET",
        "path": "/",
        "http_version": version,
        "headers": headers,
    }
    await Guard(reads_all, "127.0.0.1")(scope, receive, send)
    assert sent[0]["status"] == status


async def test_what_is_no_http_is_not_answered() -> None:
    async def never(*_: Any) -> None:
        raise AssertionError

    await Guard(never, "127.0.0.1")({"type": "websocket"}, never, never)  # type: ignore[arg-type]
