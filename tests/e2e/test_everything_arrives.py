"""Ten thousand tool calls through an independent collector: each exactly once, every field as documented."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from bridge_process import KEY, emulator, environment, run
from expected_signals import assert_log, assert_span, attributes_of, fingerprint
from recording_sink import RecordingSink
from rotel_process import running_rotel

if TYPE_CHECKING:
    from pathlib import Path

    from opentelemetry.proto.trace.v1.trace_pb2 import Span

pytestmark = [pytest.mark.backend, pytest.mark.slow, pytest.mark.timeout(600)]
RECORDS = 10_000
LIST = "/api/v3.1/logs/tool_execution"


async def details_of(base_url: str) -> dict[str, dict[str, Any]]:
    """Every record as the source tells it, read without the bridge."""
    limits = httpx.Limits(max_connections=8)
    async with httpx.AsyncClient(
        base_url=base_url, headers={"x-api-key": "ak_other"}, limits=limits, timeout=60
    ) as client:
        ids = (await client.get("/emulator/ids")).json()["ids"]
        found: dict[str, dict[str, Any]] = {}
        remaining = iter(ids)

        async def fetch() -> None:
            for log_id in remaining:
                found[log_id] = (await client.get(f"{LIST}/{log_id}")).json()

        await asyncio.gather(*(fetch() for _ in range(8)))
        return found


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
async def test_everything_arrives_once_with_every_field(tmp_path: Path, protocol: str) -> None:
    async with (
        RecordingSink() as sink,
        running_rotel(sink.http_endpoint) as rotel,
        emulator("--logs", str(RECORDS), folder=tmp_path) as base_url,
    ):
        endpoint = rotel.grpc_endpoint if protocol == "grpc" else rotel.http_endpoint
        env = environment(
            tmp_path,
            COMPOSIO_API_KEY=KEY,
            COMPOSIO_BASE_URL=base_url,
            OTEL_EXPORTER_OTLP_ENDPOINT=endpoint,
            OTEL_EXPORTER_OTLP_PROTOCOL=protocol,
            OTEL_BRIDGE_SIGNALS="traces,logs",
            OTEL_RESOURCE_ATTRIBUTES="deployment.environment.name=test",
        )
        done = await run("run", "--once", env=env, timeout_s=300)
        assert (done.status, done.out.strip()) == (0, f"{RECORDS:,} records delivered"), done.err
        records = await details_of(base_url)
        calls = {key: each for key, each in records.items() if each["type"] == "tool.execution"}
        await sink.wait_for(spans=len(calls), logs=RECORDS, timeout_s=60)

        spans: dict[str, Span] = {}
        for resource, scope, span in sink.spans():
            attributes = attributes_of(span.attributes)
            assert attributes["composio.log.id"] not in spans, "delivered twice"
            spans[attributes["composio.log.id"]] = span
            assert scope.name == "otel_bridge"
            assert attributes_of(resource.attributes) == {
                "service.name": "composio",
                "composio.project": "default",
                "deployment.environment.name": "test",
            }
        assert spans.keys() == calls.keys()
        for key, span in spans.items():
            assert_span(calls[key], span, spans)

        logs = {attributes_of(log.attributes)["log.record.uid"]: log for _, _, log in sink.logs()}
        assert logs.keys() == records.keys()
        assert sum(1 for _ in sink.logs()) == RECORDS
        for key, log in logs.items():
            assert_log(records[key], log, spans.get(key))

        seen = len(sink.received)
        again = await run("run", "--once", env=env)
        assert (again.status, again.out.strip()) == (0, "0 records delivered"), again.err
        await asyncio.sleep(0.5)
        assert len(sink.received) == seen

        # A ledger that is lost means delivery again, of the same bytes.
        sink.received.clear()
        other = tmp_path / "other"
        other.mkdir()
        fresh = environment(other, **{key: env[key] for key in env if key.startswith(("OTEL_", "COMPOSIO_"))})
        fresh["OTEL_BRIDGE_STATE"] = f"sqlite:///{other}/ledger.db"
        assert (await run("run", "--once", env=fresh, timeout_s=300)).status == 0
        # Counted from the beginning: the collector passes the last of it on after the bridge has ended.
        await sink.wait_for(spans=2 * len(calls), timeout_s=60)
        second = {attributes_of(span.attributes)["composio.log.id"]: span for _, _, span in sink.spans()}
        assert fingerprint(second) == fingerprint(spans)
