"""``backfill`` and ``retry`` as a person runs them."""

from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING

import httpx
import pytest
from bridge_process import KEY, emulator, environment, finish, run, start
from judging_sink import JudgingSink, log_ids
from recording_sink import HttpAnswer, RecordingSink

if TYPE_CHECKING:
    from pathlib import Path


def settings(folder: Path, base_url: str, sink: RecordingSink, **more: str) -> dict[str, str]:
    return environment(
        folder,
        COMPOSIO_API_KEY=KEY,
        COMPOSIO_BASE_URL=base_url,
        OTEL_EXPORTER_OTLP_ENDPOINT=sink.http_endpoint,
        OTEL_BRIDGE_SIGNALS="logs",
        **more,
    )


async def test_a_killed_backfill_goes_on_and_doubles_little(tmp_path: Path) -> None:
    async with RecordingSink() as sink, emulator("--logs", "2000", folder=tmp_path) as base_url:
        env = settings(tmp_path, base_url, sink)
        first = await start("backfill", "--from", "55m", "--to", "now", env=env)
        await sink.wait_for(logs=300)
        first.kill()
        await finish(first)
        done = await run("backfill", "--from", "55m", "--to", "now", env=env)
        assert done.status == 0, done.err
        assert "100% of the range" in done.err
        logs = [log.SerializeToString(deterministic=True) for _, _, log in sink.logs()]
        assert len(set(logs)) == 2000
        assert len(logs) <= 2000 + 256


async def test_beside_a_running_service_the_service_does_the_work(tmp_path: Path) -> None:
    async with RecordingSink() as sink, emulator("--logs", "300", folder=tmp_path) as base_url:
        env = settings(tmp_path, base_url, sink, OTEL_BRIDGE_START="1s", OTEL_BRIDGE_POLL_INTERVAL="300ms")
        service = await start("run", env=env)
        try:
            assert service.stderr is not None
            await service.stderr.readline()
            done = await run("backfill", "--from", "55m", "--to", "1m", env=env)
            assert done.status == 0, done.err
            assert "only watches" in done.err
            assert sum(1 for _ in sink.logs()) > 200
        finally:
            service.terminate()
            await finish(service, 15)


@pytest.mark.parametrize("again", [(), ("--again",)], ids=["once", "again"])
async def test_what_a_destination_refuses_for_its_age_is_counted_and_left_out(
    tmp_path: Path, again: tuple[str, ...]
) -> None:
    async with RecordingSink() as sink, emulator("--logs", "300", folder=tmp_path) as base_url:
        env = settings(tmp_path, base_url, sink, OTEL_BRIDGE_AGE_LIMIT="30m")
        began_ns = time.time_ns()
        done = await run("backfill", "--from", "55m", "--to", "1m", *again, env=env)
        assert done.status == 0, done.err
        assert re.search(r"skipped: [1-9]\d* tool calls before 20.*takes nothing older than 30 min", done.err)
        times_ns = [log.time_unix_nano for _, _, log in sink.logs()]
        assert times_ns
        assert min(times_ns) >= began_ns - 30 * 60 * 10**9

        # Whoever knows better says so.
        done = await run(
            "backfill", "--from", "55m", "--to", "1m", *again, env={**env, "OTEL_BRIDGE_AGE_LIMIT": "0s"}
        )
        assert done.status == 0, done.err
        assert "skipped" not in done.err
        assert min(log.time_unix_nano for _, _, log in sink.logs()) < began_ns - 40 * 60 * 10**9


async def test_again_sends_a_lost_backend_everything_anew_beside_a_running_service(tmp_path: Path) -> None:
    async with RecordingSink() as sink, emulator("--logs", "300", folder=tmp_path) as base_url:
        env = settings(tmp_path, base_url, sink, OTEL_BRIDGE_START="20m")
        env["OTEL_BRIDGE_SIGNALS"] = "traces,logs"
        assert (await run("run", "--once", env=env)).status == 0
        before = sent(sink)
        there = (await run("status", "--json", env=env)).out
        sink.received.clear()
        done = await run("backfill", "--from", "19m", "--to", "1m", "--again", env=env)
        assert done.status == 0, done.err
        alone = sent(sink)
        assert f"{len(alone[1])} records delivered again, 0 for the first time" in done.out
        assert len(alone[1]) > 50
        assert all(set(a) <= set(b) and len(a) == len(set(a)) for a, b in zip(alone, before, strict=True))
        assert without_times((await run("status", "--json", env=env)).out) == without_times(there)
        service = await start("run", env=env)
        try:
            assert service.stderr is not None
            await service.stderr.readline()
            sink.received.clear()
            # What lies before the last 20 minutes was never collected.
            done = await run("backfill", "--from", "59m", "--to", "1m", "--again", env=env)
        finally:
            service.terminate()
            await finish(service, 15)
        assert done.status == 0, done.err
        assert " delivered again, 0 for the first time" not in done.out
        assert all(set(a) <= set(b) for a, b in zip(alone, sent(sink), strict=True))
        assert (await run("verify", "--from", "19m", "--to", "1m", env=env)).status == 0


def sent(sink: RecordingSink) -> tuple[list[bytes], list[bytes]]:
    """Spans and log records as bytes."""
    return tuple(
        [each.SerializeToString(deterministic=True) for _, _, each in signal()]
        for signal in (sink.spans, sink.logs)
    )  # type: ignore[return-value]  # two


def without_times(status: str) -> list[object]:
    return [{key: value for key, value in each.items() if key != "lag_ms"} for each in json.loads(status)]


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("--from", "1d", "--to", "2d"), "--to"),
        (("--from", "1d", "--to", "1d"), "no length"),
        (("--from", "soon", "--to", "1d"), "'soon'"),
        (("--from", "1d", "--to", "2099-01-01"), "future"),
        (("--from", "900d", "--to", "1d"), "a year"),
    ],
)
async def test_a_wrong_range_is_one_line(tmp_path: Path, arguments: tuple[str, ...], word: str) -> None:
    done = await run("backfill", *arguments, env=environment(tmp_path, COMPOSIO_API_KEY=KEY))
    assert done.status == 2
    (line,) = done.err.splitlines()
    assert word in line


async def test_what_was_refused_is_listed_and_tried_again_on_demand(tmp_path: Path) -> None:
    async with JudgingSink() as sink, emulator("--logs", "20", folder=tmp_path) as base_url:
        async with httpx.AsyncClient() as client:
            ids = set((await client.get(f"{base_url}/emulator/ids")).json()["ids"])
        bad = set(sorted(ids)[:3])
        sink.judge = lambda received: HttpAnswer(400) if bad.intersection(log_ids(received)) else None
        env = settings(tmp_path, base_url, sink)
        refused = await run("run", "--once", env=env)
        assert refused.status == 1
        assert "3 records set aside: 3 refused" in refused.err
        assert sink.taken.keys() == ids - bad
        status = await run("status", env=env)
        assert "3 refused" in status.out
        # What was refused is left alone until it is asked for, also where it would be taken by now.
        sink.judge = lambda _: None
        sink.received.clear()
        again = await run("run", "--once", env=env)
        assert (again.status, list(sink.logs())) == (1, [])
        put_back = await run("retry", env=env)
        assert put_back.out.startswith("3 records")
        done = await run("run", "--once", env=env)
        assert done.status == 0, done.err
        assert sink.taken == dict.fromkeys(ids, 1)
        assert len(ids) == 20
