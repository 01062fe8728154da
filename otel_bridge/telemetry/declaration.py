"""How a metric is declared, and what Prometheus calls it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

_UNITS: Final = {"s": "seconds", "By": "bytes"}
_ANNOTATION: Final = re.compile(r"\{.*\}")
_NOT_A_NAME: Final = re.compile(r"[^a-zA-Z0-9]+")


class Kind(StrEnum):
    """What can be done with a metric, by the names of OpenTelemetry's instruments.

    What is added up over processes is an up-down counter. What every replica tells alike, because the ledger
    or the organisation is the same, is a gauge: a sum would count it once for each of them.
    """

    COUNTER = "counter"
    UP_DOWN_COUNTER = "up-down counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Attribute:
    """What a metric is counted by.

    Attributes:
        name: As OpenTelemetry writes it.
        values: Every value it can have; empty where only their number is bounded.
        bound: What bounds their number, for people.
    """

    name: str
    values: tuple[str, ...] = ()
    bound: str = ""


@dataclass(frozen=True, slots=True, eq=False)  # each is declared once, and found by what it is
class Metric:
    """One metric.

    Attributes:
        name: As OpenTelemetry writes it.
        kind: Which instrument.
        unit: In UCUM: ``s``, ``By``, ``1``, or what is counted in braces, such as ``{record}``.
        description: For people; says what a value means.
        attributes: What it is counted by.
        buckets: A histogram's upper bounds, in ``unit``.
        of_tool_calls: Whether it speaks of the tool calls and not of the bridge: such a metric has their
            resource.
    """

    name: str
    kind: Kind
    unit: str
    description: str
    attributes: tuple[Attribute, ...] = ()
    buckets: tuple[float, ...] = ()
    of_tool_calls: bool = False


def prometheus_name(metric: Metric) -> str:
    """The name of a metric's family in Prometheus.

    A histogram's series add ``_bucket``, ``_sum`` and ``_count`` to it.

    Rules: https://opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics/
    """
    name = _NOT_A_NAME.sub("_", metric.name)
    unit = _UNITS.get(_ANNOTATION.sub("", metric.unit), "")
    if unit and not name.endswith(f"_{unit}"):
        name = f"{name}_{unit}"
    return f"{name}_total" if metric.kind is Kind.COUNTER else name


def prometheus_label(attribute: str) -> str:
    """The name of an attribute as a Prometheus label."""
    return _NOT_A_NAME.sub("_", attribute)
