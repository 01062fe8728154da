"""From a log entry to a span, a log record and a measurement: pure functions, no I/O, no clock, no chance."""
