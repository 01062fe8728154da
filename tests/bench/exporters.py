"""The exporter alone beside the SDK's: the same spans to the same sink, in the same batches, by turns.

Each side gets its spans ready in its own shape beforehand, and is timed from the first batch to the last
answer. Spans have 25 attributes. Read the ratios.

    python tests/bench/exporters.py
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from processes import HERE, at_most, server
from ratios import middle, ratio
from results import note

if TYPE_CHECKING:
    from collections.abc import Callable

OURS, THEIRS = "otel-bridge", "OpenTelemetry SDK"
COMPRESSION = ("gzip", "none")
BATCH = 512
DISTINCT = 8
"""So many batches are made, and sent again and again: more would measure the making."""
SCOPE = "otel_bridge"
_ATTRIBUTES = 25
_START_NS = 1_776_420_000_000_000_000
_TIMEOUT_S = 300


def attributes(number: int) -> dict[str, str | int | bool | float]:
    """What one tool call may have: 25 values, two thirds of them text."""
    rng = random.Random(number)
    tool = rng.choice(("GMAIL_SEND_EMAIL", "SLACK_SEND_MESSAGE", "GITHUB_CREATE_AN_ISSUE"))
    found: dict[str, str | int | bool | float] = {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": tool,
        "gen_ai.tool.type": "extension",
        "gen_ai.conversation.id": f"trs_{rng.getrandbits(48):012x}",
        "composio.log.id": f"log_{rng.getrandbits(48):012x}",
        "composio.toolkit": tool.partition("_")[0].lower(),
        "user.id": f"user_{rng.randrange(500)}",
        "server.address": "backend.composio.dev",
    }
    while len(found) < _ATTRIBUTES:
        place = len(found)
        kind = place % 6
        value = rng.randrange(10**6) if kind < 2 else bool(rng.getrandbits(1)) if kind == 2 else None
        found[f"composio.metadata.field_{place}"] = f"{rng.getrandbits(64):016x}" if value is None else value
    return found


def ours(url: str, compression: str, batches: int) -> Callable[[], None]:
    """The bridge's exporter, with its spans ready."""
    from otel_bridge.exporter.destination import Destination, Protocol, Signal  # noqa: PLC0415 - each its own
    from otel_bridge.exporter.otlp import OtlpExporter  # noqa: PLC0415
    from otel_bridge.signals import Delivery, Resource, Scope, Span, SpanKind  # noqa: PLC0415
    from otel_bridge.times import SystemClock  # noqa: PLC0415

    resource, scope = Resource((("service.name", "bench"),)), Scope(SCOPE, "1", "")

    def delivery(number: int) -> Delivery:
        span = Span(
            trace_id=(number + 1).to_bytes(16, "big"),
            span_id=(number + 1).to_bytes(8, "big"),
            parent_span_id=None,
            name="execute_tool",
            kind=SpanKind.INTERNAL,
            start_ns=_START_NS + number,
            end_ns=_START_NS + number + 200_000_000,
            attributes=attributes(number),
        )
        return Delivery(f"log_{number}", resource, scope, span, None)

    made = [
        [delivery(number) for number in range(start, start + BATCH)]
        for start in range(0, BATCH * min(DISTINCT, batches), BATCH)
    ]
    traces = Destination(
        signal=Signal.TRACES,
        protocol=Protocol.HTTP,
        endpoint=f"{url}/v1/traces",
        gzip=compression == "gzip",
    )

    async def send() -> None:
        exporter = OtlpExporter({Signal.TRACES: traces}, clock=SystemClock())
        for number in range(batches):
            outcome = await exporter.export(made[number % len(made)])
            assert len(outcome.delivered) == BATCH, outcome
        await exporter.aclose()

    return lambda: asyncio.run(send())


def theirs(url: str, compression: str, batches: int) -> Callable[[], None]:
    """The SDK's exporter, with its spans ready."""
    from opentelemetry.exporter.otlp.proto.http import Compression  # noqa: PLC0415
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace import ReadableSpan  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import SpanExportResult  # noqa: PLC0415
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope  # noqa: PLC0415
    from opentelemetry.trace import SpanContext, SpanKind  # noqa: PLC0415

    resource, scope = Resource({"service.name": "bench"}), InstrumentationScope(SCOPE, "1", "")

    def span(number: int) -> ReadableSpan:
        return ReadableSpan(
            name="execute_tool",
            context=SpanContext(number + 1, number + 1, is_remote=False),
            resource=resource,
            attributes=attributes(number),
            kind=SpanKind.INTERNAL,
            start_time=_START_NS + number,
            end_time=_START_NS + number + 200_000_000,
            instrumentation_scope=scope,
        )

    made = [
        [span(number) for number in range(start, start + BATCH)]
        for start in range(0, BATCH * min(DISTINCT, batches), BATCH)
    ]
    chosen = Compression.Gzip if compression == "gzip" else Compression.NoCompression
    exporter = OTLPSpanExporter(endpoint=f"{url}/v1/traces", compression=chosen)

    def send() -> None:
        for number in range(batches):
            assert exporter.export(made[number % len(made)]) is SpanExportResult.SUCCESS
        exporter.shutdown()  # type: ignore[no-untyped-call] # as the SDK has it

    return send


def alone(who: str, url: str, compression: str, batches: int) -> None:
    """Measure one side in a process of its own, and print."""
    send = {OURS: ours, THEIRS: theirs}[who](url, compression, batches)
    began, used = time.perf_counter(), time.process_time()
    send()
    seconds, cpu_s = time.perf_counter() - began, time.process_time() - used
    spans = batches * BATCH
    print(json.dumps({"spans_per_s": spans / seconds, "cpu_us": cpu_s / spans * 1e6}))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--batches", type=int, default=40, help=f"of {BATCH} spans, a run")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--only", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    at_most(30)
    if options.only:
        who, url, compression = options.only
        alone(who, url, compression, options.batches)
        return
    found: dict[str, dict[str, list[dict[str, float]]]] = {
        compression: {OURS: [], THEIRS: []} for compression in COMPRESSION
    }
    with server(str(HERE / "sink.py")) as sink:
        for _ in range(options.rounds):
            for compression, sides in found.items():
                for who, runs in sides.items():
                    command = [__file__, "--batches", str(options.batches), "--only", who, sink, compression]
                    done = subprocess.run(
                        [sys.executable, *command],
                        capture_output=True,
                        text=True,
                        check=True,
                        timeout=_TIMEOUT_S,
                    )
                    runs.append(json.loads(done.stdout))
    print("| compression | exporter | spans/s | to the SDK's | CPU µs a span | to the SDK's |")
    print("|---|---|---|---|---|---|")
    for compression, sides in found.items():
        for who in sides:
            print(
                f"| {compression} | {who} | {middle(sides, who, 'spans_per_s'):,.0f}"
                f" | {ratio(sides, who, THEIRS, 'spans_per_s'):.2f} | {middle(sides, who, 'cpu_us'):.1f}"
                f" | {ratio(sides, who, THEIRS, 'cpu_us'):.2f} |"
            )
    if options.json:
        note(options.json, "exporters", found)


if __name__ == "__main__":
    main()
