"""``status``, in a process of its own, tells what holds up the service now, and nothing that is over."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from bridge_process import KEY, emulator, environment, finish, run, start
from recording_sink import HttpAnswer, RecordingSink

if TYPE_CHECKING:
    from pathlib import Path

_SECRET = "sink-secret-token"


async def status_once(env: dict[str, str], word: str, *, there: bool = True) -> str:
    """What status says, as soon as it has the word in it, or has not."""
    async with asyncio.timeout(30):
        while True:
            said = (await run("status", env=env)).out
            if (word in said) is there:
                return said
            await asyncio.sleep(0.2)


async def test_a_destination_that_takes_nothing_is_told_while_it_lasts(tmp_path: Path) -> None:
    async with RecordingSink() as sink, emulator("--logs", "40", folder=tmp_path) as base_url:
        env = environment(
            tmp_path,
            COMPOSIO_API_KEY=KEY,
            COMPOSIO_BASE_URL="http://127.0.0.1:9",
            OTEL_EXPORTER_OTLP_ENDPOINT=sink.http_endpoint,
            OTEL_EXPORTER_OTLP_HEADERS=f"authorization={_SECRET}",
            OTEL_BRIDGE_SIGNALS="traces",
        )
        assert (await run("run", "--once", env=env)).status == 1
        assert "127.0.0.1:9" in await status_once(env, "last error")
        env["COMPOSIO_BASE_URL"] = base_url  # mended
        sink.http_answers.extend([HttpAnswer(503, b"full up")] * 200)
        service = await start("run", env=env)
        try:
            said = await status_once(env, "takes no records")
            head, *facts = said.splitlines()
            assert head.endswith("failing")
            (line,) = [fact for fact in facts if "last error" in fact]
            assert sink.http_endpoint in line
            assert "503" in line
            assert "127.0.0.1:9 " not in said
            assert _SECRET not in said
            sink.http_answers.clear()
            assert "failing" not in await status_once(env, "last error", there=False)
            assert "40 records delivered" in await status_once(env, "40 records")
        finally:
            service.terminate()
            await finish(service, 15)


async def test_the_log_and_status_name_what_a_person_can_mend(tmp_path: Path) -> None:
    async with RecordingSink() as sink, emulator("--logs", "40", folder=tmp_path) as base_url:
        env = environment(
            tmp_path,
            COMPOSIO_API_KEY=KEY,
            COMPOSIO_BASE_URL=base_url,
            OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=f"{sink.http_endpoint}/v1/traces",
            OTEL_BRIDGE_SIGNALS="traces",
        )
        page = {"server": "nginx", "content-type": "text/html"}
        sink.http_answers.extend([HttpAnswer(403, b"<html>no</html>", page)] * 200)
        done = await run("run", "--once", env=env)
        assert done.status == 1
        for said in (done.err, (await run("status", env=env)).out):
            assert "said by what stands before the receiver (nginx)" in said
            assert "or correct OTEL_EXPORTER_OTLP_TRACES_ENDPOINT" in said
            assert "OTEL_EXPORTER_OTLP_HEADERS" not in said
