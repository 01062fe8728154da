"""What the vendor's client makes of the emulator's refusals."""

from __future__ import annotations

from typing import Any

import composio_client as vendor
import httpx
import pytest
from composio_client import Composio
from composio_client._generated.pydantic_gen import Error

from contract.vendor_client import Start, connect
from otel_bridge.emulator import EmulatorOptions, EmulatorServer, Fault, LogStore


def assert_is_the_vendors_envelope(error: vendor.APIStatusError, status: int) -> Error:
    """The body fits the vendor's schema of errors and agrees with the HTTP status."""
    assert error.status_code == status
    envelope = Error.model_validate_json(error.response.content, strict=True)
    assert envelope.error.status == status
    assert envelope.error.message
    assert envelope.error.slug
    assert envelope.error.suggested_fix
    assert error.details is not None
    assert error.request_id == envelope.error.request_id
    assert envelope.model_extra == {}
    assert envelope.error.model_extra == {}
    return envelope


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ({"limit": 0}, "limit"),
        ({"limit": 101}, "limit"),
        ({"limit": 2.5}, "limit"),
        ({"limit": "20"}, "limit"),
        ({"limit": None}, "limit"),
        ({"cursor": "?"}, "cursor"),
        ({"cursor": "eyJwYWdlIjowfQ=="}, "cursor"),
        ({"cursor": 2}, "cursor"),
        ({"filters": {}}, "filters"),
        ({"filters": ["status"]}, "filters.0"),
        ({"filters": [{"field": "tool", "operator": "==", "value": "x"}]}, "filters.0.field"),
        ({"filters": [{"field": "status", "operator": "~", "value": "x"}]}, "filters.0.operator"),
        ({"filters": [{"field": "status", "operator": "==", "value": 1}]}, "filters.0.value"),
        ({"time_range": 5}, "time_range"),
        ({"time_range": {"from": 5}}, "time_range.to"),
        ({"time_range": {"to": 5}}, "time_range.from"),
        ({"time_range": {"from": "5", "to": 6}}, "time_range.from"),
        ({"time_range": {"from": 6, "to": 5}}, "time_range.from"),
    ],
)
def test_a_list_that_is_asked_for_wrongly_names_the_place(
    client: Composio, body: dict[str, Any], place: str
) -> None:
    # The client's own check of a body is passed by: extra_body is sent as it is.
    with pytest.raises(vendor.BadRequestError) as caught:
        client.logs.create_tool_execution(extra_body=body)
    envelope = assert_is_the_vendors_envelope(caught.value, 400)
    assert [error.split(":")[0] for error in envelope.error.errors or []] == [place]


def test_a_body_that_is_no_json_is_refused(server: EmulatorServer) -> None:
    for content in (b"{", b"[]", b'"text"', b"\xff"):
        answer = httpx.post(
            f"{server.base_url}/api/v3.1/logs/tool_execution", content=content, headers={"x-api-key": "ak_x"}
        )
        assert answer.status_code == 400
        assert Error.model_validate_json(answer.content, strict=True).error.errors


def test_a_usage_range_that_is_backwards_is_refused(client: Composio) -> None:
    with pytest.raises(vendor.BadRequestError) as caught:
        client.project.usage.retrieve_summary(from_=10, to=5)
    assert_is_the_vendors_envelope(caught.value, 400)


def test_a_wrong_key_is_401(server: EmulatorServer) -> None:
    with connect(server, "ak_invalid") as client, pytest.raises(vendor.AuthenticationError) as caught:
        client.logs.create_tool_execution()
    assert_is_the_vendors_envelope(caught.value, 401)


def test_a_key_without_permission_is_403_and_told_which(server: EmulatorServer) -> None:
    with connect(server, "ak_forbidden") as client, pytest.raises(vendor.PermissionDeniedError) as caught:
        client.logs.create_tool_execution()
    assert "Observability: Read" in assert_is_the_vendors_envelope(caught.value, 403).error.message


@pytest.mark.parametrize("log_id", ["log_nobody000000", "log_日本/../x", "log_'\";--"])
def test_an_unknown_id_is_404(client: Composio, log_id: str) -> None:
    with pytest.raises(vendor.NotFoundError) as caught:
        client.logs.retrieve_tool_execution(log_id)
    assert_is_the_vendors_envelope(caught.value, 404)


def test_too_many_requests_are_429_with_the_time_to_wait(start: Start) -> None:
    server = start(EmulatorOptions(rate_limit=2), LogStore())
    with connect(server) as client:
        for remaining in ("1", "0"):
            raw = client.logs.with_raw_response.create_tool_execution()
            assert raw.headers["x-ratelimit"] == "2"
            assert raw.headers["x-ratelimit-remaining"] == remaining
            assert raw.headers["x-ratelimit-window-size"] == "60s"
        with pytest.raises(vendor.RateLimitError) as caught:
            client.logs.create_tool_execution()
    assert 0 < int(caught.value.response.headers["retry-after"]) <= 60
    assert caught.value.response.headers["x-ratelimit-remaining"] == "0"
    assert isinstance(caught.value.body, dict)
    assert caught.value.body["message"].startswith("Rate limit exceeded.")


def test_a_gateways_page_is_no_envelope_and_retried(start: Start, store: LogStore) -> None:
    server = start(
        EmulatorOptions(fault=lambda _, n: Fault(status=502, html=True) if n == 0 else None), store
    )
    with connect(server, max_retries=1) as client:
        assert len(client.logs.create_tool_execution().logs) == 20
    assert server.api.stats()["statuses"] == {"200": 1, "502": 1}
