"""What the observer hears of the rarer kind is counted as well."""

from __future__ import annotations

import pytest
from opentelemetry.sdk.resources import Resource
from prometheus_client.parser import text_string_to_metric_families

from otel_bridge.errors import BridgeError
from otel_bridge.ledger import Lane
from otel_bridge.service.own_metrics import OwnMetrics
from otel_bridge.signals import Delivery, Scope, Span, SpanKind
from otel_bridge.signals import Resource as Of
from otel_bridge.telemetry.meters import Meters

SPAN = Span(b"t" * 16, b"s" * 8, None, "execute_tool X", SpanKind.INTERNAL, 0, 2_000_000_000, {})
CALL = Delivery("log_1", Of(()), Scope("", "", ""), SPAN, None)
NO_SPAN = Delivery("log_2", Of(()), Scope("", "", ""), None, None)


@pytest.fixture
def meters() -> Meters:
    return Meters(Resource({}), Resource({}))


@pytest.fixture
def heard(meters: Meters) -> OwnMetrics:
    return OwnMetrics(meters, ["p"])


def samples(meters: Meters, name: str) -> dict[str, float]:
    families = text_string_to_metric_families(meters.prometheus_text().decode())
    found = (sample for family in families for sample in family.samples if sample.name == name)
    return {" ".join(sample.labels.values()): sample.value for sample in found if sample.value}


def test_lag_is_counted_of_live_tool_calls_alone(meters: Meters, heard: OwnMetrics) -> None:
    heard.delivered("p", Lane.LIVE, [CALL, NO_SPAN], 5_000)
    heard.delivered("p", Lane.BACKFILL, [CALL], 9_000_000)
    assert samples(meters, "otel_bridge_records_delivered_total") == {"p live": 2, "p backfill": 1}
    assert samples(meters, "otel_bridge_delivery_lag_seconds_count") == {"p": 1}
    assert samples(meters, "otel_bridge_delivery_lag_seconds_sum") == {"p": 3}


def test_a_clock_that_is_behind_the_source_makes_no_negative_lag(meters: Meters, heard: OwnMetrics) -> None:
    heard.delivered("p", Lane.LIVE, [CALL], 1_000)
    heard.late("p", [-3.0, 40.0])
    assert samples(meters, "otel_bridge_delivery_lag_seconds_count") == {"p": 1}
    assert samples(meters, "otel_bridge_delivery_lag_seconds_sum") == {}
    assert samples(meters, "otel_bridge_record_lateness_seconds_sum") == {"p": 40}


def test_counters(meters: Meters, heard: OwnMetrics) -> None:
    heard.resent("p", 4)
    heard.correlations("p", "used", 2)
    heard.correlations(None, "unused", 3)
    heard.poll_failed("p", BridgeError("x"), 0)
    assert samples(meters, "otel_bridge_records_resent_total") == {"p": 4}
    assert samples(meters, "otel_bridge_correlations_total") == {"p used": 2, "unused": 3}
    assert samples(meters, "otel_bridge_pass_failures_total") == {"p BridgeError": 1}
