"""A record as a measurement of ``gen_ai.execute_tool.duration``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from otel_bridge.frozen import value
from otel_bridge.mapping import conventions as c
from otel_bridge.mapping.values import NAME_BYTES, present

if TYPE_CHECKING:
    from otel_bridge.mapping.facts import Facts

METRIC_NAME: Final = "gen_ai.execute_tool.duration"
METRIC_UNIT: Final = "s"
METRIC_DESCRIPTION: Final = "Duration of tool calls."
METRIC_BUCKETS: Final = tuple(0.01 * 2**n for n in range(14))
"""Upper bounds in seconds, 0.01 to 81.92, as the GenAI conventions advise."""

_NS_PER_S: Final = 1_000_000_000


@value(frozen=True, slots=True)
class Measurement:
    """One call's duration.

    Attributes:
        duration_s: Seconds.
        attributes: What it is counted by.
    """

    duration_s: float
    attributes: dict[str, str]


def make_measurement(facts: Facts, project: str) -> Measurement | None:
    """Measure a tool call; None where its duration is not known: a zero would draw the histogram down."""
    timing = facts.timing
    if not timing.duration_known:
        return None
    texts = {
        c.TOOL_NAME: facts.tool,
        c.TOOLKIT_SLUG: facts.toolkit,
        c.ERROR_TYPE: facts.error_type,
        c.PROJECT: project,
    }
    return Measurement((timing.end_ns - timing.start_ns) / _NS_PER_S, present(texts, NAME_BYTES))
