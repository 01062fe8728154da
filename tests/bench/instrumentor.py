"""What the instrumentor costs an application: a tool call with it and without, through the vendor's client.

The client is answered without a network, so the difference is the instrumentor's own. Calls with and without
take turns, because a shared machine is faster at one moment than at another. Judged is the processor time of
the calling thread. On a machine too busy for microseconds to mean much, the floor decides: a bare span, made
and ended with the OpenTelemetry SDK in the same run, of which the cost may be a few times as much.

    python tests/bench/instrumentor.py
"""

from __future__ import annotations

import logging
import os
import socket
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parents[1]))

from instrumented_client import SdkClient, Service, client_of
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.trace import SpanKind

from otel_bridge.instrumentation import ComposioInstrumentor

ROUNDS = 60
CALLS = 30
WARM_UP = 5
LIMIT_US = 100.0
LIMIT_SPANS = 4.0
MINE = {"x-request-id": "of-the-application"}


@dataclass
class Times:
    """Microseconds of each call: processor time of the calling thread, and time that passed."""

    processor: list[float] = field(default_factory=list)
    passed: list[float] = field(default_factory=list)


def call(headers: dict[str, str] | None, times: Times) -> None:
    """Make calls and time them."""
    client = client_of(Service(), SdkClient)
    for n in range(CALLS):
        passed, processor = time.perf_counter_ns(), time.thread_time_ns()
        client.tool_router.session.execute(
            "trs_1", tool_slug="SLACK_SEND_MESSAGE", arguments={"channel": "#support"}, extra_headers=headers
        )
        if n >= WARM_UP:
            times.processor.append((time.thread_time_ns() - processor) / 1000)
            times.passed.append((time.perf_counter_ns() - passed) / 1000)


def bare_spans(provider: TracerProvider, times: Times) -> None:
    """Make spans with as many attributes, between calls as the others are."""
    client, tracer = client_of(Service(), SdkClient), provider.get_tracer("floor")
    attributes = {f"attribute.{n}": "value" for n in range(6)}
    for n in range(CALLS):
        client.tool_router.session.execute("trs_1", tool_slug="SLACK_SEND_MESSAGE")
        passed, processor = time.perf_counter_ns(), time.thread_time_ns()
        with tracer.start_as_current_span("execute_tool", kind=SpanKind.CLIENT, attributes=attributes):
            pass
        if n >= WARM_UP:
            times.processor.append((time.thread_time_ns() - processor) / 1000)
            times.passed.append((time.perf_counter_ns() - passed) / 1000)


def measure(headers: dict[str, str] | None) -> tuple[Times, Times, Times]:
    """Without the instrumentor, with it, and a bare span."""
    provider = TracerProvider()
    provider.add_span_processor(SpanProcessor())
    instrumentor = ComposioInstrumentor()
    plain, traced, floor = Times(), Times(), Times()
    for _ in range(ROUNDS):
        call(headers, plain)
        instrumentor.instrument(tracer_provider=provider)
        call(headers, traced)
        instrumentor.uninstrument()
        bare_spans(provider, floor)
    return plain, traced, floor


def main() -> int:
    """Print the numbers; 1 where one is over its limit."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        away = f"http://127.0.0.1:{server.getsockname()[1]}"
    slow = 0
    logging.getLogger("otel_bridge.instrumentation").setLevel(logging.ERROR)
    os.environ.pop("OTEL_BRIDGE_CORRELATION_ENDPOINT", None)
    for name, endpoint, headers in (
        ("its request id carries the span", "", None),
        ("reported, and the bridge is away", away, MINE),
    ):
        if endpoint:
            os.environ["OTEL_BRIDGE_CORRELATION_ENDPOINT"] = endpoint
        plain, traced, floor = measure(headers)
        for what, before, after, bare in (
            ("processor time", plain.processor, traced.processor, floor.processor),
            ("time that passed", plain.passed, traced.passed, floor.passed),
        ):
            without, with_it, span = median(before), median(after), median(bare)
            print(
                f"{name}, {what}: {without:.0f} µs a call, traced {with_it:.0f} µs, "
                f"{with_it - without:.1f} µs more, "
                f"{(with_it - without) / span:.1f} bare spans of {span:.1f} µs"
            )
        cost = median(traced.processor) - median(plain.processor)
        slow += cost >= LIMIT_US and cost / median(floor.processor) >= LIMIT_SPANS
    print(f"limit: {LIMIT_US:.0f} µs of processor time at the median, or {LIMIT_SPANS:.0f} bare spans")
    return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main())
