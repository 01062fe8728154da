"""An address that no request can be sent to is a wrong setting, at the source and at every destination."""

from __future__ import annotations

import contextlib

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_bridge.errors import SettingsError
from otel_bridge.exporter.destination import Protocol, Signal, destination_from
from otel_bridge.exporter.http_sender import HttpSender
from otel_bridge.network.address import read_url
from otel_bridge.receiver.routes import read_base_url

WRONG = [
    "xn--",
    "xn--a",
    "[v1.x]",
    "[::1",
    "a%zz",
    "host:99999",
    "host:0",
    "host:-1",
    "host:80:80",
    ":80",
    "<x>",
]
RIGHT = ["localhost:4318", "[::1]:4318", "10.0.0.1", "otlp.example", "bücher.example", "a_b"]


@pytest.mark.parametrize("host", WRONG)
def test_what_names_no_host_is_refused_everywhere(host: str) -> None:
    assert read_url(f"https://{host}") is None
    with pytest.raises(SettingsError, match="COMPOSIO_BASE_URL"):
        read_base_url(f"https://{host}")
    for name in ("ENDPOINT", *(f"{signal.value.upper()}_ENDPOINT" for signal in Signal)):
        signal = Signal.TRACES if name == "ENDPOINT" else Signal(name.split("_")[0].lower())
        for protocol in Protocol:
            given = {f"OTEL_EXPORTER_OTLP_{name}": f"https://{host}", "OTEL_EXPORTER_OTLP_PROTOCOL": protocol}
            with pytest.raises(SettingsError, match=f"^OTEL_EXPORTER_OTLP_{name} is "):
                destination_from(signal, given)


@pytest.mark.parametrize("host", RIGHT)
def test_what_names_one_is_taken_everywhere(host: str) -> None:
    assert read_base_url(f"https://{host}").host
    for protocol in Protocol:
        given = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"https://{host}", "OTEL_EXPORTER_OTLP_PROTOCOL": protocol}
        assert destination_from(Signal.TRACES, given).endpoint


@given(st.from_regex(r"https?://[!-~\u00e0-\u00ff]{0,20}", fullmatch=True))
async def test_what_is_taken_can_be_asked(url: str) -> None:
    async def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200)

    with contextlib.suppress(SettingsError):
        destination = destination_from(Signal.TRACES, {"OTEL_EXPORTER_OTLP_ENDPOINT": url})
        sender = HttpSender(destination, httpx.MockTransport(answer))
        await sender.send(b"")
    with contextlib.suppress(SettingsError):
        httpx.Request("GET", read_base_url(url))
