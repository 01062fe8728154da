"""Correlations are reported in the background, and the application never notices."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import composio_client
import httpx
import pytest
from instrumented_client import SUCCESS, Service, client_of, instrumented, traceparent_of

from otel_bridge.instrumentation import correlate, traceparent
from otel_bridge.instrumentation import reporter as reporter_module
from otel_bridge.instrumentation.reporter import Reporter, correlation_url

if TYPE_CHECKING:
    from collections.abc import Iterator

ONE = {"log_id": "log_1", "traceparent": "00-1"}


@dataclass
class Bridge:
    """What stands in for the bridge: keeps what is posted."""

    url: str = ""
    status: int = 200
    first: list[int] = field(default_factory=list)
    retry_after: str = ""
    bodies: list[Any] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    hold: threading.Event = field(default_factory=threading.Event)
    arrived: threading.Condition = field(default_factory=threading.Condition)

    @property
    def correlations(self) -> list[dict[str, str]]:
        """All that came, in order."""
        return [each for body in self.bodies for each in body]

    def wait_for(self, count: int) -> None:
        """Wait until so many correlations are there."""
        with self.arrived:
            assert self.arrived.wait_for(lambda: len(self.correlations) >= count, 10)


@pytest.fixture
def bridge() -> Iterator[Bridge]:
    with bridge_running() as running:
        yield running


@contextmanager
def bridge_running(port: int = 0) -> Iterator[Bridge]:
    bridge = Bridge()
    bridge.hold.set()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            bridge.hold.wait(10)
            with bridge.arrived:
                status = bridge.first.pop(0) if bridge.first else bridge.status
                bridge.bodies.append(body)
                bridge.headers.append({name.lower(): value for name, value in self.headers.items()})
                bridge.paths.append(self.path)
                bridge.arrived.notify_all()
            self.send_response(status)
            self.send_header("location", "/elsewhere")
            self.send_header("retry-after", bridge.retry_after)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    bridge.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield bridge
    finally:
        bridge.hold.set()
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize(
    ("endpoint", "url"),
    [
        ("http://bridge:8790", "http://bridge:8790/v1/correlations"),
        ("http://bridge:8790/", "http://bridge:8790/v1/correlations"),
        ("https://bridge/behind/a/proxy", "https://bridge/behind/a/proxy/v1/correlations"),
        ("https://bridge/v1/correlations", "https://bridge/v1/correlations"),
        ("https://bridge/v1/correlations/", "https://bridge/v1/correlations"),
    ],
)
def test_an_endpoint_is_the_bridges_address_or_the_whole_url(endpoint: str, url: str) -> None:
    assert correlation_url(endpoint) == url


@pytest.mark.parametrize(
    "endpoint",
    ["bridge:8790", "ftp://bridge", "http://", "http://u:p@bridge", "http://bridge?x=1", "http://["],
)
def test_another_endpoint_is_refused_and_not_repeated(
    endpoint: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        correlation_url(endpoint)
    assert "u:p" not in str(caught.value)
    monkeypatch.setenv("OTEL_BRIDGE_CORRELATION_ENDPOINT", endpoint)
    with instrumented() as recorded, recorded.tracer.start_as_current_span("request"):
        assert not correlate(log_id="log_1")
    assert "OTEL_BRIDGE_CORRELATION_ENDPOINT" in caplog.text


def test_calls_whose_request_id_is_the_applications_are_reported(
    bridge: Bridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_BRIDGE_CORRELATION_ENDPOINT", bridge.url)
    monkeypatch.setenv("OTEL_BRIDGE_TOKEN", "the-token")
    mine = {"x-request-id": "mine"}
    with instrumented() as recorded:
        client = client_of(Service())
        client.tools.execute("CARRIED_BY_ITS_ID")
        client.tools.execute("X_Y", extra_headers=mine)
        unknown = client_of(Service({"": {**SUCCESS, "log_id": None}}))
        unknown.tools.execute("X_Y", extra_headers=mine)
        failing = Service()
        failing.error = httpx.ConnectError("gone")
        with pytest.raises(composio_client.APIConnectionError):
            client_of(failing).tools.execute("X_Y", extra_headers=mine)
        shared = Service({"": {**SUCCESS, "log_id": None}})
        # One id for all calls names none of them.
        client_of(shared, default_headers=mine).tools.execute("X_Y")
        with recorded.tracer.start_as_current_span("by hand"):
            by_hand = traceparent()
            assert correlate(request_id="other")
            assert not correlate()
        bridge.wait_for(4)
        texts = [traceparent_of(span) for span in recorded.spans]
    assert bridge.correlations == [
        {"log_id": "log_one000000", "traceparent": texts[1]},
        {"request_id": "mine", "traceparent": texts[2]},
        {"request_id": "mine", "traceparent": texts[3]},
        {"request_id": "other", "traceparent": by_hand},
    ]
    assert bridge.headers[0]["authorization"] == "Bearer the-token"
    assert bridge.headers[0]["content-type"] == "application/json"
    # Not traced itself, so no identity goes along.
    assert "traceparent" not in bridge.headers[0]
    assert set(bridge.paths) == {"/v1/correlations"}


def test_what_comes_together_goes_together(bridge: Bridge) -> None:
    reporter = Reporter(correlation_url(bridge.url))
    for n in range(250):
        reporter.report({"log_id": f"log_{n}", "traceparent": "00-1"})
    bridge.wait_for(250)
    reporter.close(20)
    assert [len(body) for body in bridge.bodies] == [100, 100, 50]


def test_what_waits_is_sent_at_the_end(bridge: Bridge) -> None:
    reporter = Reporter(correlation_url(bridge.url))
    reporter.report({"request_id": "x" * 10_000, "traceparent": "00-1"})
    reporter.report(ONE)
    reporter.close(20)
    assert bridge.correlations == [ONE]
    reporter.report(ONE)
    reporter.close(20)


def test_a_bridge_that_does_not_answer_delays_neither_a_call_nor_the_end(
    bridge: Bridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reporter_module, "_MOST_WAITING", 5)
    bridge.hold.clear()
    reporter = Reporter(correlation_url(bridge.url))
    began = time.monotonic()
    for n in range(10_000):
        reporter.report({"log_id": f"log_{n}", "traceparent": "00-1"})
    reporter.close(0.1)
    assert time.monotonic() - began < 2
    waiting = [each["log_id"] for _, each in reporter._waiting]
    assert waiting in ([], [f"log_{n}" for n in range(9_995, 10_000)])


@pytest.mark.parametrize("status", [401, 500, 302])
def test_a_bridge_that_refuses_is_said_once_and_forgotten(
    bridge: Bridge, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    bridge.status = status
    reporter = Reporter(correlation_url(bridge.url), "the-token")
    with caplog.at_level(logging.DEBUG, "otel_bridge.instrumentation"):
        reporter.report(ONE)
        bridge.wait_for(1)
        reporter.report(ONE)
        reporter.close(20)
    assert bridge.paths == ["/v1/correlations", "/v1/correlations"]
    warned = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(warned) == 1
    assert str(status) in warned[0].getMessage()
    assert ("OTEL_BRIDGE_TOKEN" in warned[0].getMessage()) == (status == 401)
    assert "the-token" not in caplog.text


def test_a_bridge_that_is_away_changes_nothing_for_the_application(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with bridge_running() as gone:
        pass
    monkeypatch.setenv("OTEL_BRIDGE_CORRELATION_ENDPOINT", gone.url)
    with instrumented():
        answer = client_of(Service()).tools.execute("X_Y", extra_headers={"x-request-id": "mine"})
        assert answer.log_id == "log_one000000"
    assert "can't be reached (ConnectionRefusedError)" in caplog.text


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tries that follow each other closely."""
    monkeypatch.setattr(reporter_module, "_LINGER_S", 0.01)
    monkeypatch.setattr(reporter_module, "_FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(reporter_module, "_LONGEST_PAUSE_S", 0.05)


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_bridge_that_is_busy_gets_it_again_in_the_same_order(
    bridge: Bridge, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    bridge.first = [status] * 3
    reporter = Reporter(correlation_url(bridge.url))
    for n in range(150):
        reporter.report({"log_id": f"log_{n}", "traceparent": "00-1"})
    bridge.wait_for(450)
    reporter.close(20)
    assert bridge.correlations[-150:] == [{"log_id": f"log_{n}", "traceparent": "00-1"} for n in range(150)]
    assert warnings(caplog) == [f"100 correlations are waiting: the bridge answered {status}"]


@pytest.mark.usefixtures("at_once")
def test_a_bridge_that_starts_later_gets_what_was_reported_before(caplog: pytest.LogCaptureFixture) -> None:
    with bridge_running() as gone:
        port = int(gone.url.rpartition(":")[2])
    reporter = Reporter(correlation_url(gone.url))
    reporter.report(ONE)
    while "can't be reached (ConnectionRefusedError)" not in caplog.text:
        time.sleep(0.01)
    with bridge_running(port) as back:
        back.wait_for(1)
        assert back.correlations == [ONE]
        reporter.report(ONE)
        back.wait_for(2)
        reporter.close(20)
    assert len(warnings(caplog)) == 1


@pytest.mark.usefixtures("at_once")
def test_what_waited_too_long_is_dropped_and_the_next_is_tried(
    bridge: Bridge, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(reporter_module, "_KEEP_S", 0.0)
    bridge.first = [503]
    reporter = Reporter(correlation_url(bridge.url))
    reporter.report(ONE)
    bridge.wait_for(1)
    reporter.report({**ONE, "log_id": "log_2"})
    reporter.close(20)
    assert [each["log_id"] for each in bridge.correlations] == ["log_1", "log_2"]
    assert warnings(caplog) == ["1 correlations are not reported: the bridge answered 503"]


@pytest.mark.usefixtures("at_once")
def test_what_waits_when_the_application_ends_is_said(
    bridge: Bridge, caplog: pytest.LogCaptureFixture
) -> None:
    bridge.status = 503
    reporter = Reporter(correlation_url(bridge.url))
    reporter.report(ONE)
    bridge.wait_for(1)
    reporter.close(20)
    assert warnings(caplog)[-1] == "1 correlations are not reported: the application ended first"


@pytest.mark.parametrize(
    ("header", "asked_s"), [("7", 7.0), ("", 0.0), ("soon", 0.0), ("-1", 0.0), ("²", 0.0)]
)
def test_a_bridge_that_says_when_is_left_alone_until_then(
    bridge: Bridge, header: str, asked_s: float
) -> None:
    bridge.status, bridge.retry_after = 503, header
    reporter = Reporter(correlation_url(bridge.url))
    reporter._waiting.append((time.monotonic() + 30, ONE))
    assert reporter._send_all() == asked_s
    assert [each for _, each in reporter._waiting] == [ONE]


def test_of_what_waits_the_newest_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reporter_module, "_MOST_WAITING", 5)
    reporter = Reporter("http://127.0.0.1:1/v1/correlations")
    later = time.monotonic() + 30
    batch = [(later, {"log_id": str(n)}) for n in range(4)]
    reporter._waiting.extend((later, {"log_id": str(n)}) for n in range(4, 7))
    reporter._put_back(batch, "away")
    assert [each["log_id"] for _, each in reporter._waiting] == ["2", "3", "4", "5", "6"]
    reporter._put_back(batch, "away")
    assert [each["log_id"] for _, each in reporter._waiting] == ["2", "3", "4", "5", "6"]


def test_a_machine_without_a_thread_to_spare_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    reporter = Reporter("http://127.0.0.1:1/v1/correlations")
    monkeypatch.setattr(threading.Thread, "start", fails)
    reporter.report(ONE)
    reporter.close(20)
    assert len(reporter._waiting) == 1


FORKS = """
import os, sys
from otel_bridge.instrumentation.reporter import Reporter
reporter = Reporter(sys.argv[1])
reporter.report({"log_id": "before", "traceparent": "00-1"})
sys.stdin.readline()
child = os.fork()
if child == 0:
    reporter.report({"log_id": "of the child", "traceparent": "00-1"})
    reporter.close(20)
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
reporter.report({"log_id": "after", "traceparent": "00-1"})
reporter.close(20)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")
def test_a_forked_process_reports_for_itself(bridge: Bridge) -> None:
    # A process of its own: the tests' has threads and servers of others, which are not made to be forked.
    command = [sys.executable, "-c", FORKS, correlation_url(bridge.url)]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as forking:
        try:
            bridge.wait_for(1)
            forking.communicate(b"\n", 60)
        finally:
            forking.kill()
    assert forking.returncode == 0
    assert [each["log_id"] for each in bridge.correlations] == ["before", "of the child", "after"]


def test_what_is_no_longer_used_can_go() -> None:
    reporter_module._begin_if_alive(lambda: None)  # type: ignore[arg-type] # a reference whose object has gone
    reporter_module._close_if_alive(lambda: None)  # type: ignore[arg-type] # as above
