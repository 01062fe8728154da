"""The class of a failure."""

from __future__ import annotations

from typing import Any

import pytest

from otel_bridge.mapping.error_type import error_type_of
from otel_bridge.receiver.models import Detail


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, "_OTHER"),
        ({"metadata": {"status_code": 429}}, "429"),
        ({"metrics": {"http_status": "503"}}, "503"),
        ({"data": {"statusCode": 404.0}}, "404"),
        ({"data": {"response": {"error": {"status": 403}}}}, "403"),
        ({"data": {"error": {"code": 401, "slug": "NotFound"}}}, "401"),
        ({"data": {"status_code": 200, "error": {"code": "rate_limited"}}}, "rate_limited"),
        ({"data": {"status_code": True}}, "_OTHER"),
        ({"data": {"status_code": 999}}, "_OTHER"),
        ({"data": {"error": {"code": "RATE-LIMIT-EXCEEDED"}}}, "rate_limited"),
        ({"data": {"error": {"type": "invalidArgument"}}}, "invalid_request"),
        ({"data": {"error": {"code": "ETIMEDOUT"}}}, "timeout"),
        ({"data": {"error": "timeout"}}, "timeout"),
        ({"metadata": {"error_code": "TOOL_NOT_FOUND"}}, "tool_not_found"),
        ({"data": {"error": {"code": "SOMETHING_OF_ITS_OWN_17"}}}, "_OTHER"),
        ({"data": {"error": {"code": "x" * 100}}}, "_OTHER"),
        ({"data": {"error": {"error": {"error": {"code": "timeout"}}}}}, "_OTHER"),
        ({"data": [{"status_code": 500}]}, "_OTHER"),
        ({"message": "GMAIL_SEND_EMAIL failed: HTTP 404 from upstream"}, "404"),
        ({"message": "Request failed with status code 500"}, "500"),
        ({"message": "Status: 422"}, "422"),
        ({"message": "429 Too Many Requests"}, "429"),
        ({"message": "Rate limit exceeded. Try again"}, "rate_limited"),
        ({"message": "the call timed out after 400 ms"}, "timeout"),
        ({"message": "repository not found"}, "not_found"),
        ({"message": "sent 500 messages, invalid recipient"}, "_OTHER"),
        ({"message": "x" * 5000 + " HTTP 404"}, "_OTHER"),
        ({"message": "HTTP 404", "data": {"error": {"code": "timeout"}}}, "timeout"),
    ],
)
def test_error_types(fields: dict[str, Any], expected: str) -> None:
    assert error_type_of(Detail.of_value({"id": "log_a", **fields})) == expected
