"""The bridge's own log as OpenTelemetry log records. Off by default.

It never tells of itself: a failed export of log records is written to standard error alone, or each would
make the next one.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor

from otel_bridge import __version__
from otel_bridge.mapping.conventions import SCOPE_NAME
from otel_bridge.telemetry.watched import ended_within

if TYPE_CHECKING:
    from opentelemetry.sdk._logs.export import LogRecordExporter
    from opentelemetry.sdk.resources import Resource

EVENT_PREFIX: Final = "otel_bridge."
"""Stands before an action to make a log record's event name."""

OWN_EXPORT: Final = "telemetry_export"
"""The action of events about the export of own telemetry, which are not exported."""

_END_S: Final = 1.5
_NS_PER_S: Final = 1_000_000_000
_SEVERITIES: Final = {
    logging.DEBUG: SeverityNumber.DEBUG,
    logging.INFO: SeverityNumber.INFO,
    logging.WARNING: SeverityNumber.WARN,
    logging.ERROR: SeverityNumber.ERROR,
    logging.CRITICAL: SeverityNumber.FATAL,
}


class OwnLogRecords(logging.Handler):
    """Makes a log record of each event and sends it.

    Args:
        resource: The bridge's.
        exporter: Sends them.
    """

    def __init__(self, resource: Resource, exporter: LogRecordExporter) -> None:
        super().__init__()
        meters = NoOpMeterProvider()
        self._exporter = exporter
        self._provider = LoggerProvider(resource, shutdown_on_exit=False, meter_provider=meters)
        self._provider.add_log_record_processor(BatchLogRecordProcessor(exporter, meter_provider=meters))
        self._logger = self._provider.get_logger(SCOPE_NAME, __version__)

    def emit(self, record: logging.LogRecord) -> None:
        """Take one event; what is not an event of the bridge has no fields and no name."""
        fields: dict[str, Any] = dict(getattr(record, "fields", {}))
        action = fields.pop("action", None)
        if action == OWN_EXPORT:
            return
        # Standard error has them as fields; here they are the record's own, from the same span.
        fields.pop("trace_id", None)
        fields.pop("span_id", None)
        self._logger.emit(
            LogRecord(
                timestamp=round(record.created * _NS_PER_S),
                severity_number=_SEVERITIES.get(record.levelno, SeverityNumber.UNSPECIFIED),
                severity_text=record.levelname,
                body=record.getMessage(),
                event_name=f"{EVENT_PREFIX}{action}" if action else None,
                attributes={f"{EVENT_PREFIX}{key}": _value(value) for key, value in fields.items()},
            )
        )

    def close(self) -> None:
        """Send what is left, for a bounded time. Blocks: call it off the event loop."""
        ended_within(_END_S, self._provider.shutdown, self._exporter.shutdown)
        super().close()


def _value(value: object) -> str | int | float | bool:
    return value if isinstance(value, (str, int, float, bool)) else str(value)
