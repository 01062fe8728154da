"""A record as a span."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from otel_bridge.mapping import conventions as c
from otel_bridge.mapping.attributes import span_attributes
from otel_bridge.mapping.values import limited_text
from otel_bridge.signals import Span, StatusCode

if TYPE_CHECKING:
    from otel_bridge.mapping.facts import Facts
    from otel_bridge.mapping.identity import Identity
    from otel_bridge.mapping.masking import Masker
    from otel_bridge.mapping.options import MappingOptions
    from otel_bridge.receiver.models import Detail

_NAME_BYTES: Final = 256


def make_span(
    record: Detail, facts: Facts, identity: Identity, options: MappingOptions, masker: Masker
) -> Span:
    """Make the span of a tool call.

    A call whose record names no tool is ``execute_tool``, without a tool: the conventions' form for a span
    whose target is not known.
    """
    name = f"{c.EXECUTE_TOOL} {facts.tool}" if facts.tool else c.EXECUTE_TOOL
    return Span(
        trace_id=identity.trace_id,
        span_id=identity.span_id,
        parent_span_id=identity.parent_span_id,
        name=limited_text(name, _NAME_BYTES),
        kind=options.span_kind,
        start_ns=facts.timing.start_ns,
        end_ns=facts.timing.end_ns,
        attributes=span_attributes(record, facts, identity, options, masker),
        status=StatusCode.ERROR if facts.failed else StatusCode.UNSET,
        status_message=facts.message if facts.failed else "",
        links=identity.links,
    )
