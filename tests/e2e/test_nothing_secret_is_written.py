"""What the process writes, at debug level and while things go wrong, holds no secret and no payload."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from bridge_process import environment, run
from recording_sink import HttpAnswer, RecordingSink

from otel_bridge.emulator import EmulatorOptions, EmulatorServer
from otel_bridge.emulator.chaos import random_faults

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SECRETS = {
    "COMPOSIO_API_KEY": "ak_grep_for_this_key",
    "OTEL_BRIDGE_TOKEN": "grep-for-this-token",
    "OTEL_EXPORTER_OTLP_HEADERS": "dd-api-key=grep-for-this-header",
}
SHORTEST = 16  # a payload's shorter texts may stand in any log


def texts_in(value: Any) -> Iterator[str]:
    """Every text of a payload that is long enough to be told apart."""
    if isinstance(value, str) and len(value) >= SHORTEST:
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from texts_in(each)
    elif isinstance(value, list):
        for each in value:
            yield from texts_in(each)


def everything_in(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in folder.iterdir() if file.is_file())


@pytest.mark.parametrize("form", ["text", "json"])
async def test_nothing_secret_is_written_at_debug_level(tmp_path: Path, form: str) -> None:
    options = EmulatorOptions(logs=60, fault=random_faults(3, 0.1))
    async with EmulatorServer(options) as server, RecordingSink() as sink:
        # A destination that repeats what it was sent.
        echo = HttpAnswer(status=400, body=b"dd-api-key: grep-for-this-header")
        sink.http_answers.extend([echo, HttpAnswer(status=503, body=b"grep-for-this-header")])
        env = environment(
            tmp_path,
            **SECRETS,
            COMPOSIO_BASE_URL=server.base_url,
            OTEL_EXPORTER_OTLP_ENDPOINT=sink.http_endpoint.replace("//", "//me:grep-for-this-password@"),
            OTEL_BRIDGE_LOG_LEVEL="debug",
            OTEL_BRIDGE_LOG_FORMAT=form,
            OTEL_BRIDGE_PARENT_WAIT="1s",
            OTEL_BRIDGE_SOURCE_TIMEOUT="2s",
            OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT="SPAN_AND_EVENT",
        )
        commands = (
            ["run", "--once"],
            ["check"],
            ["status", "--json"],
            ["config"],
            ["run", "--config", "/nowhere"],
        )
        ended = [await run(*arguments, env=env) for arguments in commands]
        written = "".join(done.out + done.err for done in ended)
        kept = await asyncio.to_thread(everything_in, tmp_path)
        payloads = {
            text
            for log_id in server.store.log_ids()
            if (record := server.store.get(log_id)) is not None
            for text in texts_in(json.loads(record.detail)["data"])
        }
    assert "records delivered" in written
    assert len(payloads) > 20
    for secret in ("grep-for-this", "grep_for_this", *payloads):
        assert secret not in written
        assert secret.encode() not in kept
    assert "Traceback" not in written
