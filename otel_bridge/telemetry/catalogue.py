"""Every metric, declared once: the code makes its instruments from here, and ``docs/metrics.md`` its tables.

Names follow the OpenTelemetry conventions: no unit and no ``total`` in a name, a namespace for attributes.
``prometheus_name`` tells what becomes of them at ``/metrics``. Every attribute is bounded: by the values
given here, by the settings, or, for the names of tools, by the number of series.
"""

from __future__ import annotations

from typing import Final

from otel_bridge.exporter.destination import Signal
from otel_bridge.ledger import Lane, Reason
from otel_bridge.mapping import conventions as c
from otel_bridge.mapping.measurement import METRIC_BUCKETS, METRIC_DESCRIPTION, METRIC_NAME, METRIC_UNIT
from otel_bridge.receiver.routes import Route
from otel_bridge.telemetry.declaration import Attribute, Kind, Metric

# ── what metrics are counted by ──────────────────────────────────────────────────────────────────────
PROJECT: Final = Attribute(c.PROJECT, bound="the projects of the settings")
LANE: Final = Attribute("otel_bridge.lane", tuple(lane.value for lane in Lane))
PASS: Final = Attribute("otel_bridge.pass", ("first", "recheck"))
REASON: Final = Attribute("otel_bridge.reason", tuple(reason.value for reason in Reason))
ROUTE: Final = Attribute("otel_bridge.route", tuple(route.value for route in Route))
STATUS: Final = Attribute(
    "http.response.status_code", bound="the status codes of HTTP; absent where no answer came"
)
ERROR: Final = Attribute(c.ERROR_TYPE, bound="the classes of the bridge's errors; absent where all went well")
SIGNAL: Final = Attribute("otel_bridge.signal", (Signal.TRACES.value, Signal.LOGS.value))
BUDGET: Final = Attribute("otel_bridge.budget", bound="the organisations of the settings, or their projects")
CIRCUIT: Final = Attribute(
    "otel_bridge.circuit", bound="the addresses of the settings; one for each source and destination"
)
OUTCOME: Final = Attribute("otel_bridge.outcome", ("registered", "used", "late", "refused", "unused"))
CPU_MODE: Final = Attribute("cpu.mode", ("user", "system"))

_VERSION: Final = Attribute("otel_bridge.version", bound="one: the bridge's version")
_PYTHON: Final = Attribute("process.runtime.version", bound="one: Python's version")
_SDK: Final = Attribute("telemetry.sdk.version", bound="one: the version of the OpenTelemetry SDK")

# ── buckets ──────────────────────────────────────────────────────────────────────────────────────────
# As the HTTP conventions advise for http.client.request.duration.
_REQUEST_S: Final = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
_LAG_S: Final = (1.0, 2.0, 4.0, 6.0, 8.0, 10.0, 15.0, 20.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0)
# Around the default ages of re-checks: 30 s, 2 min, 10 min, 1 h.
_LATENESS_S: Final = (10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 7200.0, 21_600.0, 86_400.0)
_BATCH_RECORDS: Final = (1.0, 4.0, 16.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 4096.0)
_BATCH_BYTES: Final = (1e3, 4e3, 16e3, 64e3, 250e3, 1e6, 3e6, 10e6, 30e6)

# ── collecting ───────────────────────────────────────────────────────────────────────────────────────
WINDOWS: Final = Metric(
    "otel_bridge.windows.collected",
    Kind.COUNTER,
    "{window}",
    "Windows listed to their end and committed.",
    (PROJECT, LANE, PASS),
)
WINDOWS_OPEN: Final = Metric(
    "otel_bridge.windows.open",
    Kind.GAUGE,
    "{window}",
    "Windows with a pass still to come: re-checks and what is planned for a backfill.",
    (PROJECT,),
)
LISTED: Final = Metric(
    "otel_bridge.records.listed",
    Kind.COUNTER,
    "{record}",
    "Records that lists showed; one that several passes show counts each time.",
    (PROJECT, LANE),
)
DEDUPLICATED: Final = Metric(
    "otel_bridge.records.deduplicated",
    Kind.COUNTER,
    "{record}",
    "Listed records that were known already, so that nothing was done for them.",
    (PROJECT,),
)
LATENESS: Final = Metric(
    "otel_bridge.record.lateness",
    Kind.HISTOGRAM,
    "s",
    "How long after its time a record was found that no first pass had shown; none in a healthy hour.",
    (PROJECT,),
    _LATENESS_S,
)
WATERMARK_AGE: Final = Metric(
    "otel_bridge.watermark.age",
    Kind.GAUGE,
    "s",
    "How long ago the moment is up to which everything has been collected at least once.",
    (PROJECT,),
)
SEALED_AGE: Final = Metric(
    "otel_bridge.sealed.age",
    Kind.GAUGE,
    "s",
    "How long ago the moment is up to which no late record is looked for any more.",
    (PROJECT,),
)
PASS_FAILURES: Final = Metric(
    "otel_bridge.pass.failures",
    Kind.COUNTER,
    "{pass}",
    "Passes that failed and are made again, by the class of the error.",
    (PROJECT, ERROR),
)
POLL_AGE: Final = Metric(
    "otel_bridge.poll.age",
    Kind.GAUGE,
    "s",
    "How long ago the live lane was last collected up to the present by this process.",
    (PROJECT,),
)
MISSING: Final = Metric(
    "otel_bridge.verification.missing",
    Kind.GAUGE,
    "{record}",
    "Records that the last daily comparison with the source found missing and that are not delivered since.",
    (PROJECT,),
)
VERIFICATION_AGE: Final = Metric(
    "otel_bridge.verification.age",
    Kind.GAUGE,
    "s",
    "How long ago the last daily comparison with the source was made.",
    (PROJECT,),
)

# ── the source ───────────────────────────────────────────────────────────────────────────────────────
REQUEST_DURATION: Final = Metric(
    "otel_bridge.source.request.duration",
    Kind.HISTOGRAM,
    "s",
    "Requests to Composio, from sending to the last byte; their count is how many were made.",
    (PROJECT, ROUTE, STATUS),
    _REQUEST_S,
)
BUDGET_LIMIT: Final = Metric(
    "otel_bridge.budget.limit",
    Kind.GAUGE,
    "{request}",
    "The organisation's requests in a rate-limit window, as Composio last said.",
    (BUDGET,),
)
BUDGET_ALLOWED: Final = Metric(
    "otel_bridge.budget.allowed",
    Kind.GAUGE,
    "{request}",
    "What of the limit the bridge may use: its share.",
    (BUDGET,),
)
BUDGET_USED: Final = Metric(
    "otel_bridge.budget.used",
    Kind.GAUGE,
    "{request}",
    "Requests the bridge has sent in the last window.",
    (BUDGET,),
)
BUDGET_REMAINING: Final = Metric(
    "otel_bridge.budget.remaining",
    Kind.GAUGE,
    "{request}",
    "What the organisation had left when Composio last said so; absent where that is out of date.",
    (BUDGET,),
)
BUDGET_WAITING: Final = Metric(
    "otel_bridge.budget.waiting",
    Kind.UP_DOWN_COUNTER,
    "{request}",
    "Requests of this process that wait for their turn.",
    (BUDGET,),
)

# ── delivering ───────────────────────────────────────────────────────────────────────────────────────
DELIVERED: Final = Metric(
    "otel_bridge.records.delivered",
    Kind.COUNTER,
    "{record}",
    "Records that every destination has acknowledged and the ledger remembers.",
    (PROJECT, LANE),
)
DELIVERY_LAG: Final = Metric(
    "otel_bridge.delivery.lag",
    Kind.HISTOGRAM,
    "s",
    "From a tool call's end to its acknowledged delivery, in the live lane.",
    (PROJECT,),
    _LAG_S,
)
UNDELIVERED_AGE: Final = Metric(
    "otel_bridge.undelivered.age",
    Kind.GAUGE,
    "s",
    "How old the oldest record is that is set aside, or for how long a destination has not taken the batch "
    "in hand, whichever is more. 0 where all that is known is delivered.",
    (PROJECT,),
)
SET_ASIDE: Final = Metric(
    "otel_bridge.records.set_aside",
    Kind.COUNTER,
    "{record}",
    "Records set aside, for the first time or again after another try.",
    (PROJECT, REASON),
)
ASIDE_NOW: Final = Metric(
    "otel_bridge.records.held",
    Kind.GAUGE,
    "{record}",
    "Records that are set aside now.",
    (PROJECT, REASON),
)
REJECTED: Final = Metric(
    "otel_bridge.records.rejected",
    Kind.COUNTER,
    "{record}",
    "Records that a destination refuses for good; once more where a person has them tried again.",
    (PROJECT,),
)
RESENT: Final = Metric(
    "otel_bridge.records.resent",
    Kind.COUNTER,
    "{record}",
    "Spans and log records sent more than once to find the ones that a destination refuses.",
    (PROJECT,),
)
DELIVERY_FAILURES: Final = Metric(
    "otel_bridge.delivery.failures",
    Kind.COUNTER,
    "{batch}",
    "Batches that a destination did not take; they are sent again, so nothing is lost by it.",
    (PROJECT, ERROR),
)
EXPORT_DURATION: Final = Metric(
    "otel_bridge.export.duration",
    Kind.HISTOGRAM,
    "s",
    "Requests to a destination, from sending to the answer; their count is how many were made.",
    (SIGNAL, ERROR),
    _REQUEST_S,
)
EXPORT_RECORDS: Final = Metric(
    "otel_bridge.export.records",
    Kind.HISTOGRAM,
    "{record}",
    "Spans or log records in one request to a destination.",
    (SIGNAL,),
    _BATCH_RECORDS,
)
EXPORT_SIZE: Final = Metric(
    "otel_bridge.export.size",
    Kind.HISTOGRAM,
    "By",
    "Bytes of one request to a destination, before compression.",
    (SIGNAL,),
    _BATCH_BYTES,
)
EXPORT_RETRIES: Final = Metric(
    "otel_bridge.export.retries",
    Kind.COUNTER,
    "{request}",
    "Requests to a destination that are sent once more after a wait.",
    (SIGNAL,),
)
CIRCUIT_OPEN: Final = Metric(
    "otel_bridge.circuit.open",
    Kind.GAUGE,
    "1",
    "1 while a source or a destination is held to be down and only probed, else 0.",
    (CIRCUIT,),
)
CIRCUIT_OPENINGS: Final = Metric(
    "otel_bridge.circuit.openings",
    Kind.COUNTER,
    "{outage}",
    "How often a source or a destination went down.",
    (CIRCUIT,),
)
CORRELATIONS: Final = Metric(
    "otel_bridge.correlations",
    Kind.COUNTER,
    "{correlation}",
    "Correlations by what became of them: registered, used to place a record, late, refused because another "
    "one was there first, or expired unused (then of no project).",
    (PROJECT, OUTCOME),
)

# ── the process ──────────────────────────────────────────────────────────────────────────────────────
LEDGER_SIZE: Final = Metric(
    "otel_bridge.ledger.size",
    Kind.UP_DOWN_COUNTER,
    "By",
    "Bytes that the ledger takes on disk; absent where it is not a file.",
)
BUILD: Final = Metric(
    "otel_bridge.build.info",
    Kind.GAUGE,
    "1",
    "Always 1; what runs is in the attributes.",
    (_VERSION, _PYTHON, _SDK),
)
UPTIME: Final = Metric("process.uptime", Kind.GAUGE, "s", "How long the process has been running.")
CPU_TIME: Final = Metric(
    "process.cpu.time", Kind.COUNTER, "s", "Processor time that the process has used.", (CPU_MODE,)
)
MEMORY: Final = Metric(
    "process.memory.usage",
    Kind.UP_DOWN_COUNTER,
    "By",
    "Memory the process holds (resident set); absent where the system does not tell.",
)

# ── the tool calls ───────────────────────────────────────────────────────────────────────────────────
TOOL_DURATION: Final = Metric(
    METRIC_NAME,
    Kind.HISTOGRAM,
    METRIC_UNIT,
    f"{METRIC_DESCRIPTION} Recorded once a call, when it is first delivered live.",
    (
        Attribute(c.TOOL_NAME, bound="1,000 series in all; what is beyond counts in an overflow series"),
        Attribute(c.TOOLKIT_SLUG, bound="as the tool's name"),
        Attribute(c.ERROR_TYPE, bound="the classes of failures; absent on success"),
        PROJECT,
    ),
    METRIC_BUCKETS,
    of_tool_calls=True,
)

CATALOGUE: Final[tuple[Metric, ...]] = tuple(
    value for value in tuple(globals().values()) if isinstance(value, Metric)
)
"""All of them, in the order above."""
