"""A record as a log record."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from otel_bridge.mapping import conventions as c
from otel_bridge.mapping.attributes import log_attributes
from otel_bridge.mapping.timings import timestamp_ns
from otel_bridge.mapping.values import NAME_BYTES, limited_text
from otel_bridge.receiver.models import TOOL_EXECUTION
from otel_bridge.signals import LogRecord, Severity

if TYPE_CHECKING:
    from otel_bridge.mapping.facts import Facts
    from otel_bridge.mapping.identity import Identity
    from otel_bridge.mapping.masking import Masker
    from otel_bridge.mapping.options import MappingOptions
    from otel_bridge.receiver.models import Detail

_SEVERITIES: Final = {
    "info": Severity.INFO,
    "warn": Severity.WARN,
    "warning": Severity.WARN,
    "error": Severity.ERROR,
}
_LEVEL_BYTES: Final = 32


def make_log_record(
    record: Detail, facts: Facts, identity: Identity, options: MappingOptions, masker: Masker
) -> LogRecord:
    """Make the log record of an entry.

    It bears the ids of its span also where sampling leaves the span out: records of one trace still belong
    together. An entry that is no tool call has no span, and so no ids. A level that Composio does not
    document counts as ERROR on failure and as INFO else.
    """
    severity = _SEVERITIES.get((record.level or "").lower())
    if severity is None:
        severity = Severity.ERROR if facts.failed else Severity.INFO
    spans = record.is_tool_execution
    observed = timestamp_ns(record)
    return LogRecord(
        time_ns=facts.timing.end_ns,
        observed_ns=observed if observed is not None else facts.timing.end_ns,
        severity=severity,
        severity_text=limited_text(record.level or severity.name.lower(), _LEVEL_BYTES),
        body=facts.message or _subject(record, facts, options.attribute_bytes),
        event_name=limited_text(c.EVENT_PREFIX + (record.type or TOOL_EXECUTION), NAME_BYTES),
        attributes=log_attributes(record, facts, options, masker),
        trace_id=identity.trace_id if spans else None,
        span_id=identity.span_id if spans else None,
    )


def _subject(record: Detail, facts: Facts, limit: int) -> str:
    """What stands in for a message: tool and status."""
    subject = facts.tool or record.type or TOOL_EXECUTION
    return limited_text(f"{subject} {record.status}" if record.status else subject, limit)
