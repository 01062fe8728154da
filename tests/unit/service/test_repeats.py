"""A failure that repeats is written at once, then counted."""

from __future__ import annotations

import io
import json
import logging

from otel_bridge.service import logs
from otel_bridge.service.repeats import Repeats


class Clock:
    """Seconds that a test moves."""

    def __init__(self) -> None:
        self.s = 0.0

    def __call__(self) -> float:
        return self.s


def written(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def log_to(stream: io.StringIO, level: str = "info") -> Clock:
    logs.set_up(level, "json", stream)
    clock = Clock()
    logger = logging.getLogger("otel_bridge")
    if level != "debug":
        logger.filters[:] = [Repeats(300, clock)]
    return clock


def failed(number: int = 7) -> None:
    logs.event(logging.WARNING, "pass_failed", f"p: no answer in {number} ms", project="p")


def test_the_first_is_written_at_once_and_the_rest_in_one_line() -> None:
    stream = io.StringIO()
    clock = log_to(stream)
    failed()
    for step in range(9):
        clock.s = 10.0 * step
        failed(step)
    assert len(written(stream)) == 1
    clock.s = 301
    failed()
    first, second = written(stream)
    assert first["message"] == "p: no answer in 7 ms"
    assert second["message"] == "p: no answer in 7 ms (10 times more in the last 5 min 1 s)"
    assert second["repeated"] == 10
    assert second["repeated_over_s"] == 301.0
    assert second["action"] == "pass_failed"


def test_another_failure_is_another_line() -> None:
    stream = io.StringIO()
    log_to(stream)
    failed()
    logs.event(logging.ERROR, "pass_failed", "q: the key is refused", project="q")
    logs.event(logging.WARNING, "rate_limited", "p: no answer in 7 ms")
    assert len(written(stream)) == 3


def test_one_that_comes_back_after_a_while_is_a_line_of_its_own() -> None:
    stream = io.StringIO()
    clock = log_to(stream)
    failed()
    clock.s = 400
    failed()
    assert [line.get("repeated") for line in written(stream)] == [None, None]


def test_what_is_no_failure_is_never_held_back() -> None:
    stream = io.StringIO()
    log_to(stream)
    for _ in range(3):
        logs.event(logging.INFO, "window_collected", "p: 1 delivered")
    logging.getLogger("otel_bridge").warning("from elsewhere")
    logging.getLogger("otel_bridge").warning("from elsewhere")
    assert len(written(stream)) == 5


def test_at_debug_every_line_is_written() -> None:
    stream = io.StringIO()
    log_to(stream, "debug")
    for _ in range(3):
        failed()
    assert len(written(stream)) == 3


def test_at_the_end_what_was_held_back_is_told_once() -> None:
    stream = io.StringIO()
    clock = log_to(stream)
    for _ in range(2):
        failed()
    logs.event(logging.WARNING, "rate_limited", "only once")
    clock.s = 12
    logs.tell_repeats()
    logs.tell_repeats()
    assert [line["message"] for line in written(stream)][2:] == [
        "p: no answer in 7 ms (once more in the last 12 s)"
    ]


def test_kinds_are_bounded() -> None:
    stream = io.StringIO()
    log_to(stream)
    for number in range(300):
        logs.event(logging.WARNING, "pass_failed", f"p: {'x' * number}")
    (repeats,) = logging.getLogger("otel_bridge").filters
    assert isinstance(repeats, Repeats)
    assert len(repeats._kinds) == 256


def test_as_text_a_line_has_its_facts_behind_it() -> None:
    stream = io.StringIO()
    logs.set_up("info", "text", stream)
    logs.event(logging.INFO, "window_collected", "p: 2 delivered", delivered=2, window_to="a b", late="")
    logs.event(logging.INFO, "stopped", "stopped")
    first, second = stream.getvalue().splitlines()
    assert first[9:] == 'info    p: 2 delivered  delivered=2 window_to="a b" late=""'
    assert second[9:] == "info    stopped"
