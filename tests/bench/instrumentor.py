"""What the instrumentor costs an application: a tool call with it and without, through the vendor's client.

The client is answered without a network, so the difference is the instrumentor's own. Most of it is the
OpenTelemetry SDK's: how much, is measured in the same run by a span with the same attributes that is made by
hand around the same call. What an exporter's span processor costs comes on top of either.

Calls of each kind take turns, because a shared machine is faster at one moment than at another. Judged is the
processor time of the calling thread. On a machine too busy for microseconds to mean much, the span made by
hand decides, of which the cost may be twice as much.

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
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from instrumented_client import SdkClient, Service, client_of
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.trace import SpanKind
from processes import at_most

from otel_bridge.instrumentation import ComposioInstrumentor

if TYPE_CHECKING:
    from composio_client import Composio
    from opentelemetry.trace import Tracer

ROUNDS = 60
CALLS = 30
WARM_UP = 5
LIMIT_US = 100.0
LIMIT_SPANS = 2.0
MINE = {"x-request-id": "of-the-application"}
NAME = "execute_tool SLACK_SEND_MESSAGE"
ATTRIBUTES = {
    "gen_ai.operation.name": "execute_tool",
    "gen_ai.tool.name": "SLACK_SEND_MESSAGE",
    "gen_ai.tool.type": "extension",
    "gen_ai.conversation.id": "trs_1",
    "session.id": "trs_1",
    "server.address": "composio.example",
}


@dataclass
class Times:
    """Microseconds of each call: processor time of the calling thread, and time that passed."""

    processor: list[float] = field(default_factory=list)
    passed: list[float] = field(default_factory=list)


def call(headers: dict[str, str] | None, times: Times, tracer: Tracer | None = None) -> None:
    """Make calls and time them, each within a span made by hand where a tracer is given."""
    client = client_of(Service(), SdkClient)
    for n in range(CALLS):
        passed, processor = time.perf_counter_ns(), time.thread_time_ns()
        if tracer is None:
            execute(client, headers)
        else:
            with tracer.start_as_current_span(NAME, kind=SpanKind.CLIENT, attributes=ATTRIBUTES) as span:
                span.set_attribute("composio.log.id", execute(client, headers).log_id)
        if n >= WARM_UP:
            times.processor.append((time.thread_time_ns() - processor) / 1000)
            times.passed.append((time.perf_counter_ns() - passed) / 1000)


def execute(client: Composio, headers: dict[str, str] | None) -> Any:
    """One tool call."""
    return client.tool_router.session.execute(
        "trs_1", tool_slug="SLACK_SEND_MESSAGE", arguments={"channel": "#support"}, extra_headers=headers
    )


def measure(headers: dict[str, str] | None) -> tuple[Times, Times, Times]:
    """Without the instrumentor, with it, and with a span made by hand."""
    provider = TracerProvider()
    provider.add_span_processor(SpanProcessor())
    instrumentor = ComposioInstrumentor()
    plain, traced, by_hand = Times(), Times(), Times()
    for _ in range(ROUNDS):
        call(headers, plain)
        instrumentor.instrument(tracer_provider=provider)
        call(headers, traced)
        instrumentor.uninstrument()
        call(headers, by_hand, provider.get_tracer("by hand"))
    return plain, traced, by_hand


def main() -> int:
    """Print the numbers; 1 where one is over its limit."""
    at_most(15)
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
        plain, traced, by_hand = measure(headers)
        for what, without, with_it, bare in (
            ("processor time", plain.processor, traced.processor, by_hand.processor),
            ("time that passed", plain.passed, traced.passed, by_hand.passed),
        ):
            cost, span = median(with_it) - median(without), median(bare) - median(without)
            print(
                f"{name}, {what}: {median(without):.0f} µs a call, traced {median(with_it):.0f} µs: "
                f"{cost:.0f} µs more, of which a span by hand has {span:.0f} µs"
            )
            if what == "processor time":
                slow += cost >= LIMIT_US and cost / span >= LIMIT_SPANS
    print(f"limit: {LIMIT_US:.0f} µs of processor time at the median, or {LIMIT_SPANS:.0f} spans by hand")
    return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main())
