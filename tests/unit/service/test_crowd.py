"""What all projects together hold is bounded, however many of them catch up at once."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from otel_bridge.service.crowd import Crowd
from otel_bridge.service.detail_stream import AHEAD_RECORDS
from otel_bridge.service.planner import WINDOW_PAGES


@pytest.mark.parametrize("rows", [0, 1, 8])
def test_a_few_take_as_much_as_one(rows: int) -> None:
    crowd = Crowd()
    with ExitStack() as stack:
        for _ in range(rows):
            stack.enter_context(crowd.row())
        assert crowd.ahead(AHEAD_RECORDS, least=16) == AHEAD_RECORDS
        assert crowd.batch(256) == 256
        assert crowd.pages == WINDOW_PAGES


@pytest.mark.parametrize("rows", [9, 20, 60])
def test_many_take_no_more_than_a_few(rows: int) -> None:
    crowd = Crowd()
    with ExitStack() as stack:
        for _ in range(rows):
            stack.enter_context(crowd.row())
        assert rows * crowd.ahead(AHEAD_RECORDS, least=16) <= 2_048
        assert rows * crowd.batch(256) <= 2_048
    assert crowd.batch(256) == 256


def test_each_can_go_on_however_many_there_are() -> None:
    crowd = Crowd()
    with ExitStack() as stack:
        for _ in range(10_000):
            stack.enter_context(crowd.row())
        assert crowd.ahead(AHEAD_RECORDS, least=16) == 16
        assert crowd.batch(256) == 32
        assert crowd.batch(5) == 5
        assert crowd.pages == 2
