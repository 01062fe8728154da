"""Keys and certificates are renewed on disk while the bridge runs: it goes on, and no record is lost."""

from __future__ import annotations

import asyncio
import shutil
import ssl
from typing import TYPE_CHECKING

import grpc
import pytest
from certificates import Certificates, make_certificates
from chaotic_sink import TAKEN, Treatment
from fault_stage import Stage, service, stage
from recording_sink import HttpAnswer, Received, RecordingSink
from switched_port import switched

from otel_bridge.emulator import EmulatorOptions, EmulatorServer
from otel_bridge.emulator.records import TOOL_EXECUTION

if TYPE_CHECKING:
    from pathlib import Path

RECORDS = 6


def receiver(made: Certificates) -> RecordingSink:
    """A destination that asks for a client's certificate of its own authority."""
    http = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(made.authority))
    http.load_cert_chain(made.server, made.server_key)
    http.verify_mode = ssl.CERT_REQUIRED
    pair = (made.server_key.read_bytes(), made.server.read_bytes())
    secured = grpc.ssl_server_credentials([pair], made.authority.read_bytes(), require_client_auth=True)
    return RecordingSink(http, secured)


def spans_of(sink: RecordingSink) -> set[str]:
    """The log ids of what it has."""
    pairs = (pair for *_, span in sink.spans() for pair in span.attributes)
    return {pair.value.string_value for pair in pairs if pair.key == "composio.log.id"}


def tool_calls(on: Stage) -> set[str]:
    """The log ids of what becomes a span."""
    records = ((log_id, on.source.store.get(log_id)) for log_id in on.ids)
    return {log_id for log_id, record in records if record and record.type == TOOL_EXECUTION}


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
async def test_an_authority_and_a_client_pair_are_renewed(tmp_path: Path, protocol: str) -> None:
    for name in ("old", "new", "live"):
        (tmp_path / name).mkdir()
    old, new = make_certificates(tmp_path / "old"), make_certificates(tmp_path / "new")
    authority, certificate, key = (tmp_path / "live" / name for name in ("ca.crt", "tls.crt", "tls.key"))

    def install(made: Certificates) -> None:
        shutil.copy(made.authority, authority)
        shutil.copy(made.client, certificate)
        shutil.copy(made.client_key, key)

    install(old)
    variables = {
        "OTEL_BRIDGE_SIGNALS": "traces",
        "OTEL_BRIDGE_POLL_INTERVAL": "1s",
        "OTEL_BRIDGE_RECHECK": "3s,6s",
        "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
        "OTEL_EXPORTER_OTLP_CERTIFICATE": str(authority),
        "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE": str(certificate),
        "OTEL_EXPORTER_OTLP_CLIENT_KEY": str(key),
    }
    async with receiver(old) as first, receiver(new) as second:
        ports = [one.grpc_port if protocol == "grpc" else one.http_port for one in (first, second)]
        async with switched(ports[0]) as port:
            variables["OTEL_EXPORTER_OTLP_ENDPOINT"] = f"https://localhost:{port.port}"
            async with stage(tmp_path, logs=RECORDS, settings=variables) as on, service(on) as running:
                await first.wait_for(spans=1)
                shutil.copy(new.client, certificate)  # its key comes later
                port.turn(ports[1])
                on.go_live(rate=3, seed=7)
                await running.until_logged("OTEL_EXPORTER_OTLP_CLIENT_KEY is ")
                install(new)
                await second.wait_for(spans=1, timeout_s=30)
                await on.end_feed()
                calls = tool_calls(on)
                async with asyncio.timeout(30):
                    while spans_of(first) | spans_of(second) < calls:  # noqa: ASYNC110 - two receivers
                        await asyncio.sleep(0.1)
                await running.terminate()
                assert running.log.count("OTEL_EXPORTER_OTLP_CLIENT_KEY is ") == 1


async def test_the_key_of_the_source_is_renewed(tmp_path: Path) -> None:
    """The source takes another key at once; the file has it a little later, and is empty for a moment."""
    key = tmp_path / "key"
    key.write_text("ak_old")
    variables = {
        "COMPOSIO_API_KEY": "",
        "COMPOSIO_API_KEY_FILE": str(key),
        "OTEL_BRIDGE_POLL_INTERVAL": "1s",
        "OTEL_BRIDGE_RECHECK": "3s,6s",
    }
    async with (
        stage(tmp_path, logs=RECORDS, settings=variables) as on,
        EmulatorServer(EmulatorOptions(api_keys=("ak_old",)), on.source.store) as old,
        EmulatorServer(EmulatorOptions(api_keys=("ak_new",)), on.source.store) as new,
        switched(port_of(old)) as port,
    ):
        on.env["COMPOSIO_BASE_URL"] = f"http://127.0.0.1:{port.port}"
        async with service(on) as running:
            await on.sink.until(lambda: len(on.sink.ids) == RECORDS)
            port.turn(port_of(new))
            on.go_live(rate=3, seed=7)
            await running.until_logged("was answered with 401")
            key.write_text("")
            await running.until_logged("is empty; what was read before stays in use")
            key.write_text("ak_new")
            await on.end_feed()
            await on.sink.until(lambda: on.sink.ids == on.ids, timeout_s=30)
            await running.terminate()
            assert "ak_" not in running.log
        on.assert_nothing_lost_and_nothing_differs()


async def test_the_headers_of_a_destination_are_renewed(tmp_path: Path) -> None:
    headers = tmp_path / "headers"
    headers.write_text("api-key=old")
    takes = "old"

    def policy(received: Received) -> Treatment:
        return TAKEN if received.headers["api-key"] == takes else Treatment(HttpAnswer(401), keeps=False)

    variables = {"OTEL_EXPORTER_OTLP_HEADERS_FILE": str(headers), "OTEL_BRIDGE_POLL_INTERVAL": "1s"}
    variables["OTEL_BRIDGE_RECHECK"] = "3s,6s"
    async with stage(tmp_path, logs=RECORDS, settings=variables) as on:
        on.sink.policy = policy
        async with service(on) as running:
            await on.sink.until(lambda: len(on.sink.ids) == RECORDS)
            takes = "new"
            on.go_live(rate=3, seed=7)
            await running.until_logged("401")
            headers.write_text("api-key=new")
            await on.end_feed()
            await on.sink.until(lambda: on.sink.ids == on.ids, timeout_s=30)
            await running.terminate()
        on.assert_nothing_lost_and_nothing_differs()


def port_of(server: EmulatorServer) -> int:
    """Where it listens."""
    return int(server.base_url.rpartition(":")[2])
