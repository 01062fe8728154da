"""Random histories of a ledger against a model that knows nothing of rows: hours, ids, and a count."""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from unit.ledger.ledger_samples import HOUR, T0, aside, made, record, window

from otel_bridge.errors import LedgerError
from otel_bridge.ledger import Lane

if TYPE_CHECKING:
    from collections.abc import Coroutine

HOURS = 72
MARGIN_H = 1 / 3600
LANES = st.sampled_from(Lane)
IDS = st.lists(st.integers(0, 60), max_size=8).map(lambda numbers: [f"log_{n}" for n in numbers])
OFFSETS = st.sampled_from([0, 0.5 / 3600, 0.5, 1 - 0.5 / 3600, 1 - 2 / 3600])


class LedgerMachine(RuleBasedStateMachine):
    kind: ClassVar[str]

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder = tempfile.TemporaryDirectory()
        self.ledger = made(self.kind, Path(self.folder.name))
        self.do(self.ledger.open())
        # By lane and hour: whether it is collected, and when its next pass is due.
        self.hours: dict[Lane, dict[int, tuple[bool, int | None]]] = {lane: {} for lane in Lane}
        self.records = dict.fromkeys(Lane, 0)
        self.delivered: dict[str, float] = {}
        self.delivered_in_all = 0
        self.aside: set[str] = set()

    def do(self, call: Coroutine[Any, Any, Any]) -> Any:
        return self.runner.run(call)

    def teardown(self) -> None:
        self.do(self.ledger.close())
        self.runner.close()
        self.folder.cleanup()

    def cover(self, lane: Lane, from_h: int, to_h: int, *, collected: bool, due_ms: int | None) -> None:
        self.hours[lane].update(dict.fromkeys(range(from_h, to_h), (collected, due_ms)))

    @rule(ids=IDS, other=IDS, hour=st.integers(0, HOURS - 1), offset=OFFSETS)
    def deliver(self, ids: list[str], other: list[str], hour: int, offset: float) -> None:
        self.do(
            self.ledger.commit(
                "p",
                delivered=[record(log_id, hour + offset) for log_id in ids],
                set_aside=[aside(log_id, hour) for log_id in other],
            )
        )
        for log_id in ids:
            if log_id not in self.delivered:
                self.delivered[log_id] = hour + offset
                self.delivered_in_all += 1
        self.aside = (self.aside | set(other)) - self.delivered.keys()

    @rule(
        lane=LANES,
        from_h=st.integers(0, HOURS - 1),
        length=st.integers(1, 30),
        due_ms=st.none() | st.integers(0, 3),
        count=st.integers(0, 5),
    )
    def complete_a_window(self, lane: Lane, from_h: int, length: int, due_ms: int | None, count: int) -> None:
        there = self.do(
            self.ledger.windows("p", lane, from_ms=T0 + from_h * HOUR, to_ms=T0 + (from_h + length) * HOUR)
        )
        from_h = min([from_h, *((each.from_ms - T0) // HOUR for each in there)])
        to_h = max([from_h + length, *((each.to_ms - T0) // HOUR for each in there)])
        log_id = f"log_{from_h}_{to_h}_{self.delivered_in_all}"
        done = window(from_h, to_h, lane=lane, due_ms=due_ms, records=count)
        if any(each.from_ms != done.from_ms for each in there):
            with pytest.raises(LedgerError):
                self.do(self.ledger.commit("p", delivered=[record(log_id)], window=done))
        still = self.do(self.ledger.windows("p", lane, from_ms=T0 + from_h * HOUR, to_ms=T0 + to_h * HOUR))
        self.do(self.ledger.commit("p", delivered=[record(log_id, from_h)], window=done, replaces=still))
        self.delivered[log_id] = from_h
        self.delivered_in_all += 1
        self.records[lane] += count - sum(each.records for each in still)
        self.cover(lane, from_h, to_h, collected=True, due_ms=due_ms)

    @rule(lane=LANES, from_h=st.integers(0, HOURS - 1), length=st.integers(1, 12), count=st.integers(1, 4))
    def plan(self, lane: Lane, from_h: int, length: int, count: int) -> None:
        plans = [
            window(from_h + n * length, from_h + (n + 1) * length, lane=lane, passes=0, due_ms=0)
            for n in range(count)
        ]
        self.do(self.ledger.add_windows(plans))
        for n in range(count):
            span = range(from_h + n * length, from_h + (n + 1) * length)
            if not self.hours[lane].keys() & set(span):
                self.cover(lane, span.start, span.stop, collected=False, due_ms=0)

    @precondition(lambda self: any(self.hours.values()))
    @rule(lane=LANES, data=st.data())
    def split(self, lane: Lane, data: st.DataObject) -> None:
        long = [each for each in self.do(self.ledger.windows("p", lane)) if each.length_ms > HOUR]
        if not long:
            return
        old = data.draw(st.sampled_from(long))
        middle_ms = old.from_ms + data.draw(st.integers(1, old.length_ms // HOUR - 1)) * HOUR
        parts = [old.part(old.from_ms, middle_ms), old.part(middle_ms, old.to_ms)]
        self.do(self.ledger.replace_windows([old], parts))
        self.records[lane] -= old.records

    @rule(lane=LANES, data=st.data())
    def merge(self, lane: Lane, data: st.DataObject) -> None:
        every = self.do(self.ledger.windows("p", lane))
        pairs = [
            (a, b)
            for a, b in pairwise(every)
            if a.to_ms == b.from_ms and a.due_ms == b.due_ms and bool(a.passes) == bool(b.passes)
        ]
        if pairs:
            a, b = data.draw(st.sampled_from(pairs))
            both = replace(a, to_ms=b.to_ms, records=a.records + b.records)
            self.do(self.ledger.replace_windows([b, a], [both]))

    @rule(before_h=st.integers(0, HOURS + 30))
    def prune(self, before_h: int) -> None:
        kept = [
            (hour - MARGIN_H, hour + 1 + MARGIN_H)
            for hours in self.hours.values()
            for hour, (_, due_ms) in hours.items()
            if due_ms is not None
        ]
        gone = [
            log_id
            for log_id, at_h in self.delivered.items()
            if at_h < before_h and not any(start <= at_h < end for start, end in kept)
        ]
        forgotten = self.do(self.ledger.prune("p", T0 + before_h * HOUR, T0 + 200 * HOUR))
        assert forgotten == len(gone)
        for log_id in gone:
            del self.delivered[log_id]
        for lane in Lane:
            every = self.do(self.ledger.windows("p", lane))
            for a, b in pairwise(every):
                same_day = (a.from_ms - T0) // (24 * HOUR) == (b.to_ms - T0 - 1) // (24 * HOUR)
                assert not (a.sealed and b.sealed and a.to_ms == b.from_ms and same_day)

    @rule()
    def reopen(self) -> None:
        self.do(self.ledger.close())
        self.do(self.ledger.open())

    @invariant()
    def windows_cover_what_was_covered_each_hour_once(self) -> None:
        for lane in Lane:
            found: dict[int, tuple[bool, int | None]] = {}
            windows = self.do(self.ledger.windows("p", lane))
            for each in windows:
                for hour in range((each.from_ms - T0) // HOUR, (each.to_ms - T0) // HOUR):
                    assert hour not in found
                    found[hour] = (each.passes > 0, each.due_ms)
            assert found == self.hours[lane]
            assert sum(each.records for each in windows) == self.records[lane]
            due = self.do(self.ledger.due_windows("p", lane, 1))
            assert due == [each for each in windows if each.due_ms is not None and each.due_ms <= 1]

    @invariant()
    def watermarks_end_at_the_first_hour_that_is_not_done(self) -> None:
        for lane in Lane:
            hours = self.hours[lane]
            expected = None
            if hours:
                hour = min(hours)
                while hours.get(hour, (False, None))[0]:
                    hour += 1
                expected = T0 + hour * HOUR
            assert self.do(self.ledger.watermark_ms("p", lane)) == expected

    @invariant()
    def ids_are_known_until_they_are_forgotten(self) -> None:
        asked = {f"log_{n}" for n in range(61)} | self.delivered.keys()
        assert self.do(self.ledger.known("p", asked)) == self.delivered.keys() | self.aside
        found = self.do(self.ledger.identities("p", asked))
        assert found == {log_id: record(log_id, at_h) for log_id, at_h in self.delivered.items()}
        for status in self.do(self.ledger.status([])):
            assert status.delivered == self.delivered_in_all
            assert sum(status.set_aside.values()) == len(self.aside)


class SqliteMachine(LedgerMachine):
    kind = "sqlite"


class PostgresMachine(LedgerMachine):
    kind = "postgres"


class MemoryMachine(LedgerMachine):
    kind = "memory"


# The files of SQLite and the tables of PostgreSQL are real, so their histories are fewer.
_SETTINGS = settings(stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck))
TestSqliteLedger = SqliteMachine.TestCase
TestSqliteLedger.settings = settings(_SETTINGS, max_examples=10)
TestPostgresLedger = PostgresMachine.TestCase
TestPostgresLedger.settings = settings(_SETTINGS, max_examples=4)
TestMemoryLedger = MemoryMachine.TestCase
TestMemoryLedger.settings = settings(_SETTINGS, max_examples=40)
