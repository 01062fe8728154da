"""What each endpoint answers, from before the ledger is open to a worker that has ended."""

from __future__ import annotations

import asyncio
import gzip
from typing import TYPE_CHECKING, Any

import pytest
from web_stage import Stage, asking

from otel_bridge.errors import LedgerError, SourceFailed
from otel_bridge.web.snapshot import Fresh

if TYPE_CHECKING:
    from pathlib import Path

    import httpx

GETS = ["/livez", "/readyz", "/metrics", "/api/status", "/", "/openapi.yaml"]


async def test_before_the_ledger_is_open_the_process_is_alive_and_not_ready(tmp_path: Path) -> None:
    async with asking(Stage(tmp_path)) as client:
        assert (await client.get("/livez")).status_code == 200
        ready = await client.get("/readyz")
        assert (ready.status_code, ready.json()["status"]) == (503, "starting")
        assert [reason["reason"] for reason in ready.json()["reasons"]] == ["starting"]
        status = (await client.get("/api/status")).json()
        assert [project["watermark_ms"] for project in status["projects"]] == [None]
        page = (await client.get("/")).text
        assert "Starting: collecting what there was before." in page
        assert "nothing collected yet" in page
        assert (await client.get("/metrics")).text == ""


async def test_ready_is_200_and_not_ready_is_503_with_the_reasons(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    await stage.start()
    async with asking(stage) as client:
        answer = await client.get("/readyz")
        assert (answer.status_code, answer.json()) == (200, {"status": "ready", "reasons": []})
        for _ in range(3):
            stage.running.health.poll_failed("default", SourceFailed("HTTP 502"), stage.now_ms)
            stage.clock.step_wall_clock(2_000)
        answer = await client.get("/readyz")
        assert answer.status_code == 503
        (reason,) = answer.json()["reasons"]
        assert reason.pop("since").startswith("2026-04-17T10:00:0")
        assert reason == {
            "project": "default",
            "reason": "source_failing",
            "message": "HTTP 502",
            "to_do": "See whether Composio can be reached from here: otel-bridge check. "
            "What is missed is collected later.",
        }
        assert (await client.get("/livez")).status_code == 200, "to restart would not help"


async def test_a_worker_that_ended_by_itself_makes_the_process_not_alive(tmp_path: Path) -> None:
    stage = Stage(tmp_path)

    async def breaks() -> None:
        raise KeyError("a payload")

    async def ends() -> None:
        pass

    async with asking(stage) as client:
        for work, words in ((breaks, "ended with KeyError"), (ends, "ended by itself")):
            task = asyncio.create_task(work())
            stage.running.watch("default", task, asyncio.Event())
            await asyncio.wait({task})
            await asyncio.sleep(0)
            answer = await client.get("/livez")
            assert answer.status_code == 503
            assert answer.json()["status"] == "not_alive"
            assert answer.json()["reasons"][0]["message"] == f"the worker {words}"
            assert "payload" not in answer.text


async def test_a_worker_that_was_stopped_is_no_fault(tmp_path: Path) -> None:
    stage, stop = Stage(tmp_path), asyncio.Event()
    cancelled = asyncio.create_task(asyncio.sleep(60))
    ended: asyncio.Task[None] = asyncio.create_task(asyncio.sleep(0))
    stage.running.watch("default", cancelled, asyncio.Event())
    stage.running.watch("default", ended, stop)
    cancelled.cancel()
    stop.set()
    await asyncio.wait({cancelled, ended})
    await asyncio.sleep(0)
    assert stage.running.health.ended() == []


async def test_the_status_says_how_every_project_stands(client: httpx.AsyncClient) -> None:
    body = (await client.get("/api/status")).json()
    assert body["status"] == "not_ready"
    shop, desk = body["projects"]
    assert shop["project"] == "shop"
    assert shop["lag_ms"] == 3_000
    assert shop["delivered"] == 50
    assert shop["delivered_last_hour"] == 1_306
    assert shop["set_aside"] == {"not_found": 1, "refused": 1}
    assert shop["budget"] == {
        "organization": "acme",
        "share": 0.5,
        "limit": 2_000,
        "remaining": 1_433,
        "allowed": 1_000,
        "used": 312,
        "window_s": 60.0,
        "waiting": 0,
        "blocked_until_ms": None,
    }
    assert desk["delivered"] == 0
    assert [reason["reason"] for reason in body["reasons"]] == ["source_refused"]


async def test_metrics_are_what_the_telemetry_writes(stage: Stage, client: httpx.AsyncClient) -> None:
    stage.running.metrics = lambda: b"# HELP up is it\nup 1\n"
    answer = await client.get("/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert answer.text == "# HELP up is it\nup 1\n"


@pytest.mark.parametrize(
    ("accepted", "zipped"),
    [
        ("gzip", True),
        ("deflate, GZIP;q=0.5", True),
        ("gzip;q=0.10", True),
        ("", False),
        ("identity", False),
        ("x-gzip", False),
        ("gzip;q=0", False),
        ("gzip; q=0.000", False),
    ],
)
async def test_metrics_are_small_for_who_takes_gzip(
    stage: Stage, client: httpx.AsyncClient, accepted: str, zipped: bool
) -> None:
    text = b'# TYPE up gauge\nup{of="this and that"} 1\n' * 2_000
    stage.running.metrics = lambda: text
    async with client.stream("GET", "/metrics", headers={"accept-encoding": accepted}) as answer:
        sent = b"".join([chunk async for chunk in answer.aiter_raw()])
    assert answer.headers.get("content-encoding") == ("gzip" if zipped else None)
    assert answer.headers["vary"] == "accept-encoding"
    assert int(answer.headers["content-length"]) == len(sent)
    if zipped:
        assert len(sent) < len(text) / 20
    assert (gzip.decompress(sent) if zipped else sent) == text


async def test_while_the_ledger_can_not_be_read_the_last_word_stands(
    stage: Stage, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (await client.get("/api/status")).json()["ledger_error"] is None

    async def broken(_projects: object) -> Any:
        raise LedgerError("the disk is full")

    monkeypatch.setattr(stage.ledger, "status", broken)
    await stage.clock.advance(20)
    body = (await client.get("/api/status")).json()
    assert body["ledger_error"] == "the disk is full"
    assert body["projects"][0]["delivered"] == 50
    assert "The ledger can't be read just now: the disk is full" in (await client.get("/")).text


@pytest.mark.parametrize("path", GETS)
async def test_only_get_and_head_are_answered(quiet: httpx.AsyncClient, path: str) -> None:
    for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"):
        answer = await quiet.request(method, path)
        assert answer.status_code == 405
        assert set(answer.headers["allow"].split(", ")) == {"GET", "HEAD"}
    assert (await quiet.head(path)).status_code == (await quiet.get(path)).status_code


@pytest.mark.parametrize("path", ["/nope", "/livez/", "/api", "/api/status/x", "/<script>"])
async def test_an_unknown_path_is_404_and_nothing_of_it_is_written_back(
    quiet: httpx.AsyncClient, path: str
) -> None:
    answer = await quiet.get(f"http://127.0.0.1:8790{path}")
    assert answer.status_code == 404
    assert answer.json() == {"error": "not found"}


async def test_however_many_ask_the_ledger_is_read_once_a_second(
    stage: Stage, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, status = 0, stage.ledger.status

    async def counted(projects: Any) -> Any:
        nonlocal read
        read += 1
        await asyncio.sleep(0)
        return await status(projects)

    monkeypatch.setattr(stage.ledger, "status", counted)
    await asyncio.gather(*(client.get(path) for path in ("/", "/api/status") for _ in range(20)))
    assert read == 1
    await stage.clock.advance(1.5)
    await asyncio.gather(*(client.get("/api/status") for _ in range(20)))
    assert read == 2


async def test_a_slow_maker_keeps_nobody_waiting_who_can_have_the_last_value(stage: Stage) -> None:
    gate, made = asyncio.Event(), 0

    async def make() -> int:
        nonlocal made
        made += 1
        if made > 1:
            await gate.wait()
        return made

    fresh = Fresh(make, stage.clock)
    assert await fresh.get() == 1
    await stage.clock.advance(5)
    assert await fresh.get() == 1, "the next one is being made"
    await stage.clock.advance(6)
    waiting = asyncio.create_task(fresh.get())
    gives_up = asyncio.create_task(fresh.get())
    await asyncio.sleep(0)
    gives_up.cancel()
    gate.set()
    assert await waiting == 2, "too old to show"


async def test_a_maker_that_fails_fails_for_who_asks_and_is_tried_again(stage: Stage) -> None:
    tries = 0

    async def make() -> int:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise ValueError("no")
        return tries

    fresh = Fresh(make, stage.clock)
    with pytest.raises(ValueError, match="no"):
        await fresh.get()
    assert await fresh.get() == 2
