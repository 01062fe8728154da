"""One record to everything it becomes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from otel_bridge.mapping import conventions as c
from otel_bridge.mapping.facts import read_facts
from otel_bridge.mapping.log_record import make_log_record
from otel_bridge.mapping.masking import Masker
from otel_bridge.mapping.measurement import make_measurement
from otel_bridge.mapping.resource import Resources
from otel_bridge.mapping.sampling import is_kept, keep_below
from otel_bridge.mapping.span import make_span
from otel_bridge.signals import Delivery, Scope

if TYPE_CHECKING:
    from otel_bridge.mapping.facts import Facts
    from otel_bridge.mapping.identity import Identity
    from otel_bridge.mapping.measurement import Measurement
    from otel_bridge.mapping.options import MappingOptions
    from otel_bridge.receiver.models import Detail


class Mapper:
    """Maps the records of one project.

    A pure function of the options and the record: no clock, no chance, no state but caches. Raises for no
    record that could be read: one bad field never costs the record.
    """

    def __init__(self, options: MappingOptions) -> None:
        self._options = options
        self._masker = Masker(options.redact)
        self._resources = Resources(options)
        self._scope = Scope(c.SCOPE_NAME, options.version, c.SCHEMA_URL)
        self._last: tuple[Detail, Facts] | None = None
        self._bound = keep_below(options.sample)

    def delivery(self, record: Detail, identity: Identity) -> Delivery:
        """Map a record.

        Args:
            record: The record, in full or as a list shows it.
            identity: Where it stands; see ``identify``.

        Returns:
            A span for a tool call whose trace is sampled, here and by the application, or that failed; a log
            record for every entry; each only where the options want that signal.
        """
        options = self._options
        facts = self._facts(record)
        span = log = None
        if options.traces and record.is_tool_execution:  # noqa: SIM102 - two questions: wanted? sampled?
            if facts.failed or (identity.sampled and is_kept(identity.trace_id, self._bound)):
                span = make_span(record, facts, identity, options, self._masker)
        if options.logs:
            log = make_log_record(record, facts, identity, options, self._masker)
        return Delivery(record.id, self._resources.of(facts.toolkit), self._scope, span, log)

    def measurement(self, record: Detail) -> Measurement | None:
        """Measure a record; None for what is no tool call, or has no duration."""
        if not record.is_tool_execution:
            return None
        return make_measurement(self._facts(record), self._options.project)

    def _facts(self, record: Detail) -> Facts:
        # A record is mapped and measured one after the other: reading it once is enough for both.
        last = self._last
        if last is not None and last[0] is record:
            return last[1]
        facts = read_facts(record, self._options, self._masker)
        self._last = (record, facts)
        return facts
