"""What a source or a destination may answer: HTTP that is right, odd in every part, and no HTTP."""

from __future__ import annotations

import json

from hypothesis import strategies as st

from otel_bridge.times import SystemClock, format_time

ENTRY = {
    "id": "log_1",
    "timestamp": format_time(SystemClock().now_ms() - 600_000),
    "type": "tool.execution",
    "status": "success",
    "level": "info",
    "metadata": {"tool_slug": "GMAIL_SEND"},
    "metrics": {},
    "parent": None,
}
DETAIL = {**ENTRY, "context": {}, "source": {}, "data": {"a": 1}}
BODIES = [
    b"",
    b"null",
    b"[]",
    b"{}",
    b"0",
    b"NaN",
    b'"text"',
    b"{",
    b"\xff\xfe\x00",
    b"<html>login</html>",
    b"\x08\x96\x01",
    b"[" * 3000,
    b"9" * 5000,
    b'{"logs": null}',
    b'{"logs": {}}',
    b'{"logs": [], "next_cursor": 7}',
    b'{"logs": [null, 1, {}, {"id": null}], "next_cursor": null}',
    b'{"logs": [{"id": "log_1", "timestamp": "soon"}], "next_cursor": null}',
    b'{"error": null}',
    b'{"error": {"message": {"a": [1]}, "suggested_fix": 3}}',
    b'{"message": ["a"]}',
    json.dumps({"logs": [ENTRY], "next_cursor": None}).encode(),
    json.dumps({"logs": [ENTRY], "next_cursor": "again"}).encode(),
    json.dumps({"logs": [{**ENTRY, "metadata": [1], "parent": "x"}], "next_cursor": None}).encode(),
    json.dumps({"logs": [{**ENTRY, "timestamp": "9999-12-31T23:59:59Z"}], "next_cursor": None}).encode(),
    json.dumps(DETAIL).encode(),
    json.dumps({**DETAIL, "timings": {"start_time": -1e308, "end_time": 1e308}}).encode(),
    json.dumps({**DETAIL, "data": {"a\ud800": "\ud800"}, "context": None}).encode(),
    b'{"entities": {"tool_calls": {"unit": 1, "total_quantity": "x", "event_count": -1}}}',
    b'{"partialSuccess": {"rejectedSpans": "-5", "errorMessage": 7}}',
    b'{"partialSuccess": {"rejectedSpans": "900000000000000000000"}}',
]
STATUS_LINES = [
    *(f"HTTP/1.1 {status} x" for status in (200, 202, 204, 301, 302, 304, 307, 308, 400, 401, 403, 404, 405)),
    *(
        f"HTTP/1.1 {status}"
        for status in (407, 408, 409, 410, 413, 415, 418, 422, 425, 429, 431, 451, 500, 501)
    ),
    *(f"HTTP/1.0 {status} OK" for status in (200, 429, 502, 503, 504, 520, 529)),
    "HTTP/1.1 99 low",
    "HTTP/1.1 600 high",
    "HTTP/1.1 abc",
    "HTTP/2 200",
    "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK",
    "SSH-2.0-OpenSSH_9.6",
    "",
]
HEADERS = [
    "content-type: application/json",
    "content-type: text/html; charset=utf-99",
    "content-type: application/x-protobuf",
    "content-type: \xff",
    "content-encoding: gzip",
    "content-encoding: br, deflate, nope",
    "transfer-encoding: chunked",
    "content-length: -1",
    "content-length: 9999999999999999999999",
    "content-length: 3",
    "retry-after: -5",
    "retry-after: soon",
    "retry-after: Wed, 99 Foo 2026 10:00:00 GMT",
    "retry-after: 1e400",
    "retry-after: \u0663",
    "location: ",
    "location: //[",
    "location: http://[::1",
    "location: \x7f\x01",
    "location: /moved?key=secret",
    "x-ratelimit: lots",
    "x-ratelimit: 0",
    "x-ratelimit-remaining: -1e9",
    "x-ratelimit-window-size: 0s",
    "x-ratelimit-window-size: 99999999999999999999s",
    "date: Thu, 01 Jan 0001 00:00:00 GMT",
    "date: yesterday",
    "set-cookie: a",
    "connection: close, keep-alive",
    "no colon",
]


def answer(line: str, headers: list[str], body: bytes) -> bytes:
    head = "\r\n".join([line, *headers]).encode("latin-1", "replace")
    sized = b"\r\ncontent-length: %d" % len(body) if not any("length" in each for each in headers) else b""
    return head + sized + b"\r\n\r\n" + body


answers = st.builds(
    answer,
    st.sampled_from(STATUS_LINES),
    st.lists(st.sampled_from(HEADERS), max_size=3),
    st.sampled_from(BODIES),
)
GOOD_LIST = answer("HTTP/1.1 200 OK", [], json.dumps({"logs": [ENTRY], "next_cursor": None}).encode())
GOOD_DETAIL = answer("HTTP/1.1 200 OK", [], json.dumps(DETAIL).encode())
GOOD_EXPORT = answer("HTTP/1.1 200 OK", ["content-type: application/x-protobuf"], b"")
