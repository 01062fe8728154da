"""What a running bridge tells of itself, over the emulator."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.proto.metrics.v1.metrics_pb2 import AGGREGATION_TEMPORALITY_CUMULATIVE
from own_telemetry_world import metrics_in, world
from recording_sink import HttpAnswer

from otel_bridge.emulator import record_of
from otel_bridge.errors import DestinationError
from otel_bridge.ledger import Verification
from otel_bridge.telemetry.catalogue import CATALOGUE
from otel_bridge.telemetry.declaration import Kind, prometheus_label, prometheus_name
from otel_bridge.times import SystemClock, format_time

if TYPE_CHECKING:
    from pathlib import Path

    from opentelemetry.proto.resource.v1.resource_pb2 import Resource
    from own_telemetry_world import World

# What is sealed at once holds no record; all that there are is re-checked a second later.
WINDOWS: dict[str, Any] = {"OTEL_BRIDGE_RECHECK": "1s,90m", "OTEL_BRIDGE_START": "2h"}


async def everything_happens(made: World) -> None:
    """Records, a late one, a destination that is away for a moment, a comparison with the source."""
    made.sink.http_answers.append(HttpAnswer(status=503))
    await made.worker.run_once()
    at_ms = SystemClock().now_ms() - 60_000
    made.server.store.add(record_of(late_record(at_ms), at_ms))
    await asyncio.sleep(1.1)
    await made.worker.run_once()
    await made.ledger.note_verification("default", Verification(1, 0, 1, 9, 6, 3, 1))
    await made.looked()


def late_record(at_ms: int) -> dict[str, Any]:
    return {
        "id": "log_late",
        "timestamp": format_time(at_ms),
        "type": "tool.execution",
        "status": "success",
        "level": "info",
        "metadata": {"tool_slug": "GMAIL_SEND_EMAIL", "toolkit_slug": "gmail"},
        "metrics": {"duration_ms": 12},
        "parent": None,
        "context": {},
        "data": {},
    }


async def test_every_declared_metric_is_exposed_and_no_other(tmp_path: Path) -> None:
    async with world(tmp_path, **WINDOWS) as made:
        await everything_happens(made)
        families = made.families().items()
    kinds = {Kind.UP_DOWN_COUNTER: "gauge"}
    declared = {
        prometheus_name(metric).removesuffix("_total"): kinds.get(metric.kind, metric.kind.value)
        for metric in CATALOGUE
    }
    assert {name: family.type for name, family in families if name != "target_info"} == declared


async def test_no_series_has_a_label_or_a_value_that_is_not_declared(tmp_path: Path) -> None:
    async with world(tmp_path, **WINDOWS) as made:
        await everything_happens(made)
        families = made.families()
    for metric in CATALOGUE:
        family = families.get(prometheus_name(metric).removesuffix("_total"))
        allowed = {prometheus_label(each.name): each.values for each in metric.attributes}
        for sample in family.samples if family else ():
            for label, value in sample.labels.items():
                if label != "le":
                    assert label in allowed, sample
                    assert not allowed[label] or value in {*allowed[label], ""}, sample


async def test_the_numbers_are_what_happened(tmp_path: Path) -> None:
    async with world(tmp_path, **WINDOWS) as made:
        await everything_happens(made)
        total = len(made.server.store.log_ids())
        assert made.value("otel_bridge_records_delivered_total", otel_bridge_lane="live") == total
        assert made.value("otel_bridge_record_lateness_seconds_count") == 1
        assert (
            made.value("otel_bridge_export_retries_total", otel_bridge_signal="traces")
            + made.value("otel_bridge_export_retries_total", otel_bridge_signal="logs")
            == 1
        )
        details = made.value(
            "otel_bridge_source_request_duration_seconds_count",
            otel_bridge_route="detail",
            http_response_status_code="200",
        )
        assert details == total
        assert made.value("otel_bridge_records_deduplicated_total") >= total - 1
        assert made.value("otel_bridge_records_rejected_total") == 0
        assert made.value("otel_bridge_delivery_lag_seconds_count") > 0
        assert (
            made.value(
                "otel_bridge_windows_collected_total", otel_bridge_pass="recheck", otel_bridge_lane="live"
            )
            > 0
        )
        assert made.value("otel_bridge_verification_missing") == 2
        assert made.value("otel_bridge_ledger_size_bytes") > 4096
        assert 0 <= made.value("otel_bridge_watermark_age_seconds") < 60
        assert made.value("otel_bridge_undelivered_age_seconds") == 0
        assert made.value("otel_bridge_budget_limit") == 1_000_000


async def test_a_destination_that_is_down_shows(tmp_path: Path) -> None:
    async with world(tmp_path, OTEL_BRIDGE_SIGNALS="traces") as made:
        made.sink.http_answers.extend([HttpAnswer(status=503)] * 5)
        with pytest.raises(DestinationError):
            await made.worker.run_once()
        where = f"{made.sink.http_endpoint}/v1/traces (traces)"
        assert made.value("otel_bridge_circuit_open", otel_bridge_circuit=where) == 1
        assert made.value("otel_bridge_circuit_openings_total", otel_bridge_circuit=where) == 1
        failed = {"composio_project": "default", "error_type": "DestinationUnavailable"}
        assert made.value("otel_bridge_delivery_failures_total", **failed) == 1
        assert made.value("otel_bridge_pass_failures_total", **failed) == 1
        assert made.value("otel_bridge_records_delivered_total", otel_bridge_lane="live") == 0
        assert made.value("otel_bridge_undelivered_age_seconds") >= 0
        taken = {"otel_bridge_signal": "traces", "error_type": "DestinationUnavailable"}
        assert made.value("otel_bridge_export_duration_seconds_count", **taken) == 5


async def test_what_a_destination_refuses_is_counted_as_rejected(tmp_path: Path) -> None:
    one_by_one = {"OTEL_BRIDGE_SIGNALS": "traces", "OTEL_BRIDGE_MAX_BATCH_RECORDS": "1"}
    async with world(tmp_path, logs=4, **one_by_one) as made:
        # The first record is tried again after another one was taken.
        made.sink.http_answers.extend([HttpAnswer(status=400), HttpAnswer(), HttpAnswer(status=400)])
        await made.worker.run_once()
        assert made.value("otel_bridge_records_rejected_total") == 1
        assert made.value("otel_bridge_records_set_aside_total", otel_bridge_reason="refused") == 1
        await made.looked()
        assert made.value("otel_bridge_records_held", otel_bridge_reason="refused") == 1
        assert made.value("otel_bridge_undelivered_age_seconds") > 0


async def test_metrics_arrive_over_otlp_under_two_resources(tmp_path: Path) -> None:
    async with world(tmp_path, OTEL_RESOURCE_ATTRIBUTES="deployment.environment.name=test") as made:
        await made.worker.run_once()
    arrived = metrics_in(made.sink)
    assert set(arrived) <= {metric.name for metric in CATALOGUE}
    ((own, delivered),) = arrived["otel_bridge.records.delivered"][-1:]
    assert own["service.name"] == "otel-bridge"
    assert own["service.instance.id"]
    assert own["deployment.environment.name"] == "test"
    assert sum(point.as_int for point in delivered.sum.data_points) == len(made.server.store.log_ids())
    assert delivered.unit == "{record}"
    ((theirs, duration),) = arrived["gen_ai.execute_tool.duration"][-1:]
    assert theirs == {"service.name": "composio", "deployment.environment.name": "test"}
    assert sum(point.count for point in duration.histogram.data_points) > 0


async def test_every_declared_metric_is_sent_over_otlp_as_it_is_declared(tmp_path: Path) -> None:
    async with world(tmp_path, **WINDOWS) as made:
        await everything_happens(made)
    arrived = metrics_in(made.sink)
    assert set(arrived) == {metric.name for metric in CATALOGUE}
    for metric in CATALOGUE:
        _, sent = arrived[metric.name][-1]
        assert (sent.unit, sent.description) == (metric.unit, metric.description)
        sums = {Kind.COUNTER, Kind.UP_DOWN_COUNTER}
        assert sent.WhichOneof("data") == ("sum" if metric.kind in sums else metric.kind.value), metric.name
        assert sent.sum.is_monotonic == (metric.kind is Kind.COUNTER), metric.name
        if metric.kind is Kind.UP_DOWN_COUNTER:
            assert sent.sum.aggregation_temporality == AGGREGATION_TEMPORALITY_CUMULATIVE


async def test_own_metrics_can_be_left_out_of_otlp(tmp_path: Path) -> None:
    async with world(tmp_path, OTEL_BRIDGE_TELEMETRY="none") as made:
        await made.worker.run_once()
        assert "otel_bridge_records_delivered" in made.families()
    assert set(metrics_in(made.sink)) == {"gen_ai.execute_tool.duration"}


async def test_without_metrics_among_the_signals_none_are_sent(tmp_path: Path) -> None:
    async with world(tmp_path, OTEL_BRIDGE_SIGNALS="traces,logs") as made:
        await made.worker.run_once()
        assert made.value("otel_bridge_records_delivered_total", otel_bridge_lane="live") > 0
    assert {received.signal for received in made.sink.received} == {"traces", "logs"}


async def test_one_trace_a_window_apart_from_the_tool_calls(tmp_path: Path) -> None:
    async with world(tmp_path, OTEL_BRIDGE_TELEMETRY="traces") as made:
        await made.worker.run_once()
    own = [
        (resource, span) for resource, scope, span in made.sink.spans() if service(resource) == "otel-bridge"
    ]
    tools = [span for resource, _, span in made.sink.spans() if service(resource) == "composio"]
    assert len(tools) == sum(1 for log_id in made.server.store.log_ids() if is_call(made, log_id))
    assert not {span.trace_id for span in tools} & {span.trace_id for _, span in own}
    roots = [span for _, span in own if not span.parent_span_id]
    assert {span.name for span in roots} == {"window"}
    assert len({span.trace_id for span in roots}) == len(roots)
    names = [{span.name for _, span in own if span.trace_id == root.trace_id} for root in roots]
    assert {"window", "list", "details", "deliver", "commit"} in names


async def test_without_being_asked_the_bridge_traces_and_logs_nothing_of_itself(tmp_path: Path) -> None:
    async with world(tmp_path) as made:
        await made.worker.run_once()
    assert {service(resource) for resource, _, _ in made.sink.spans()} == {"composio"}
    assert {service(resource) for resource, _, _ in made.sink.logs()} == {"composio"}


async def test_the_bridges_events_arrive_as_log_records(tmp_path: Path) -> None:
    from otel_bridge.service import logs  # noqa: PLC0415 - sets the process's log up

    logs.set_up("info", "json")
    async with world(tmp_path, OTEL_BRIDGE_TELEMETRY="logs,traces") as made:
        await made.worker.run_once()
    own = [record for resource, _, record in made.sink.logs() if service(resource) == "otel-bridge"]
    collected = [record for record in own if record.event_name == "otel_bridge.window_collected"]
    assert collected
    facts = {each.key: each.value for each in collected[0].attributes}
    assert facts["otel_bridge.project"].string_value == "default"
    assert "otel_bridge.trace_id" not in facts
    windows = {span.trace_id for _, _, span in made.sink.spans() if span.name == "window"}
    assert collected[0].trace_id in windows


def service(resource: Resource) -> str:
    return next(each.value.string_value for each in resource.attributes if each.key == "service.name")


def is_call(made: World, log_id: str) -> bool:
    record = made.server.store.get(log_id)
    return record is not None and record.type == "tool.execution"
