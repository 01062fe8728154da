"""The program as processes: collected, delivered, remembered; stopped, killed, started again."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
from typing import TYPE_CHECKING

import httpx
import pytest
from bridge_process import KEY, emulator, environment, finish, run, start
from recording_sink import HttpAnswer, RecordingSink

if TYPE_CHECKING:
    from pathlib import Path


async def ids_of(base_url: str) -> set[str]:
    async with httpx.AsyncClient() as client:
        return set((await client.get(f"{base_url}/emulator/ids")).json()["ids"])


def delivered_ids(sink: RecordingSink) -> list[str]:
    return [
        next(pair.value.string_value for pair in log.attributes if pair.key == "log.record.uid")
        for _, _, log in sink.logs()
    ]


async def test_a_second_run_delivers_nothing_and_new_records_only(tmp_path: Path) -> None:
    async with RecordingSink() as sink, emulator("--logs", "250", folder=tmp_path) as base_url:
        env = environment(
            tmp_path,
            COMPOSIO_API_KEY=KEY,
            COMPOSIO_BASE_URL=base_url,
            OTEL_EXPORTER_OTLP_ENDPOINT=sink.http_endpoint,
            OTEL_BRIDGE_SIGNALS="traces,logs",
        )
        first = await run("run", "--once", env=env)
        assert (first.status, first.out.strip()) == (0, "250 records delivered"), first.err
        assert sorted(delivered_ids(sink)) == sorted(await ids_of(base_url))
        before = len(sink.received)
        second = await run("run", "--once", env=env)
        assert (second.status, second.out.strip()) == (0, "0 records delivered"), second.err
        assert len(sink.received) == before

        status = await run("status", "--json", env=env)
        (project,) = json.loads(status.out)
        assert (project["project"], project["delivered"], project["set_aside"]) == ("default", 250, {})
        assert KEY not in first.out + first.err + status.out


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_the_service_stops_cleanly_and_goes_on_where_it_was(
    tmp_path: Path, number: signal.Signals
) -> None:
    async with (
        RecordingSink() as sink,
        emulator("--logs", "400", "--latency", "20", folder=tmp_path) as base_url,
    ):
        env = environment(
            tmp_path,
            COMPOSIO_API_KEY=KEY,
            COMPOSIO_BASE_URL=base_url,
            OTEL_EXPORTER_OTLP_ENDPOINT=sink.http_endpoint,
            OTEL_BRIDGE_SIGNALS="traces,logs",
            OTEL_BRIDGE_CONCURRENCY="4",
        )
        service = await start("run", env=env)
        await sink.wait_for(logs=1)
        service.send_signal(number)
        async with asyncio.timeout(10):
            ended = await finish(service)
        assert ended.status == 0, ended.err
        early = len(delivered_ids(sink))
        assert early < 400
        rest = await run("run", "--once", env=env)
        assert rest.status == 0, rest.err
        delivered = delivered_ids(sink)
        assert len(delivered) == len(set(delivered)) == 400


async def test_killed_at_any_moment_nothing_is_lost_and_what_comes_again_is_the_same(tmp_path: Path) -> None:
    seed = int(os.environ.get("OTEL_BRIDGE_TEST_SEED", random.SystemRandom().randrange(10**6)))
    print(f"seed {seed}")  # noqa: T201 - to run the same kills again
    rng = random.Random(seed)
    async with RecordingSink() as sink, emulator("--logs", "1500", folder=tmp_path) as base_url:
        env = environment(
            tmp_path,
            COMPOSIO_API_KEY=KEY,
            COMPOSIO_BASE_URL=base_url,
            OTEL_EXPORTER_OTLP_ENDPOINT=sink.http_endpoint,
            OTEL_BRIDGE_SIGNALS="traces,logs",
        )
        kills = 0
        for _ in range(12):
            process = await start("run", "--once", env=env)
            # By what has arrived and not by time: how fast it goes is nothing that this should depend on.
            arrives = asyncio.create_task(sink.wait_for(logs=len(delivered_ids(sink)) + rng.randrange(250)))
            ends = asyncio.create_task(process.wait())
            await asyncio.wait({arrives, ends}, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.sleep(rng.random() / 20)
            if process.returncode is None:
                process.kill()
                kills += 1
            arrives.cancel()
            await asyncio.gather(arrives, ends, return_exceptions=True)
            await finish(process)
        last = await run("run", "--once", env=env)
        assert last.status == 0, last.err
        assert kills
        delivered = delivered_ids(sink)
        assert set(delivered) == await ids_of(base_url)
        spans: dict[bytes, set[bytes]] = {}
        for _, _, span in sink.spans():
            spans.setdefault(span.span_id, set()).add(span.SerializeToString(deterministic=True))
        assert all(len(versions) == 1 for versions in spans.values())


async def test_a_destination_that_is_away_costs_nothing_but_time(tmp_path: Path) -> None:
    async with RecordingSink() as sink, emulator("--logs", "40", folder=tmp_path) as base_url:
        env = environment(
            tmp_path,
            COMPOSIO_API_KEY=KEY,
            COMPOSIO_BASE_URL=base_url,
            OTEL_EXPORTER_OTLP_ENDPOINT=sink.http_endpoint,
            OTEL_BRIDGE_SIGNALS="traces,logs",
        )
        sink.http_answers.extend([HttpAnswer(503), HttpAnswer(hangs_up=True), HttpAnswer(429)])
        done = await run("run", "--once", env=env)
        assert (done.status, done.out.strip()) == (0, "40 records delivered"), done.err
        assert len(set(delivered_ids(sink))) == 40


async def test_several_projects_are_collected_by_one_process(tmp_path: Path) -> None:
    async with (
        RecordingSink() as sink,
        emulator("--logs", "30", "--seed", "1", folder=tmp_path) as one,
        emulator("--logs", "20", "--seed", "2", folder=tmp_path) as two,
    ):
        config = tmp_path / "bridge.yaml"
        config.write_text(
            "projects:\n"
            f"  - {{name: shop, api_key: '${{env:SHOP_KEY}}', base_url: '{one}'}}\n"
            f"  - {{name: desk, api_key: ak_2, base_url: '{two}', resource: {{team: support}}}}\n"
            f"export: {{endpoint: '{sink.http_endpoint}', signals: [traces, logs]}}\n"
        )
        env = environment(tmp_path, SHOP_KEY=KEY)
        done = await run("run", "--once", "--config", str(config), env=env)
        assert (done.status, done.out.strip()) == (0, "50 records delivered"), done.err
        counts: dict[str, int] = {}
        for resource, _, _ in sink.logs():
            attributes = {pair.key: pair.value.string_value for pair in resource.attributes}
            counts[attributes["composio.project"]] = counts.get(attributes["composio.project"], 0) + 1
            assert attributes.get("team") == ("support" if attributes["composio.project"] == "desk" else None)
        assert counts == {"shop": 30, "desk": 20}


async def test_show_prints_what_a_log_becomes(tmp_path: Path) -> None:
    async with emulator("--logs", "30", folder=tmp_path) as base_url:
        env = environment(tmp_path, COMPOSIO_API_KEY=KEY, COMPOSIO_BASE_URL=base_url)
        log_id = min(await ids_of(base_url))
        tree = await run("show", log_id, env=env)
        assert tree.status == 0, tree.err
        assert log_id in tree.out
        document = await run("show", log_id, "--as", "otlp-json", env=env)
        shown = json.loads(document.out)
        assert log_id in json.dumps(shown)
        missing = await run("show", "log_none", env=env)
        assert missing.status == 1
        assert "log_none" in missing.err


async def test_check_passes_where_all_is_well_and_says_what_is_not(tmp_path: Path) -> None:
    async with RecordingSink() as sink, emulator("--logs", "3", folder=tmp_path) as base_url:
        env = environment(
            tmp_path,
            COMPOSIO_API_KEY=KEY,
            COMPOSIO_BASE_URL=base_url,
            OTEL_EXPORTER_OTLP_ENDPOINT=sink.http_endpoint,
        )
        unsent = await run("check", "--no-send", env=env)
        assert (unsent.status, "FAIL" in unsent.out) == (0, False), unsent.out
        assert list(sink.spans()) + list(sink.logs()) == []
        good = await run("check", env=env)
        assert (good.status, "FAIL" in good.out) == (0, False), good.out
        assert [span.name for _, _, span in sink.spans()] == ["otel_bridge.check"]
        assert [log.event_name for _, _, log in sink.logs()] == ["otel_bridge.check"]
        forbidden = await run("check", env={**env, "COMPOSIO_API_KEY": "ak_forbidden"})
        assert forbidden.status == 1
        assert "Observability: Read" in forbidden.out
        nowhere = await run("check", env={**env, "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"})
        assert nowhere.status == 1
        assert "127.0.0.1:9" in nowhere.out
