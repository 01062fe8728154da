"""A metric's values, counted where they happen and read when somebody asks.

The SDK's own instruments cost about 10 µs a value in Python, and three values a record would be more than the
bridge may spend on itself. Here a value costs about one; the SDK's reader and exporters carry them over OTLP.
"""

from __future__ import annotations

import threading
import time
from bisect import bisect_left
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics.export import AggregationTemporality, Histogram, HistogramDataPoint
from opentelemetry.sdk.metrics.export import Metric as MetricData

from otel_bridge.telemetry.prometheus import labels

if TYPE_CHECKING:
    from collections.abc import Iterable

    from otel_bridge.telemetry.declaration import Metric

MOST_SERIES: Final = 1000
"""So many sets of attributes a metric has at most; all others count as one."""

Key = tuple[str | int | None, ...]
"""The values of a metric's attributes, in the order of its declaration; None for one that is absent."""

OVERFLOW: Final = {"otel.metric.overflow": True}
"""The attributes of the series that takes what is beyond the bound, as the SDK's specification names it."""

_BEYOND: Final[Key] = (None, "overflow")


def attributes(metric: Metric, key: Key) -> dict[str, str | int | bool]:
    """The attributes of one series."""
    if key is _BEYOND:
        return dict(OVERFLOW)
    named = zip(metric.attributes, key, strict=True)
    return {attribute.name: value for attribute, value in named if value is not None}


class Counts:
    """The sums of a counter.

    Args:
        metric: Its declaration.
        most_series: The most sets of attributes.
    """

    def __init__(self, metric: Metric, most_series: int = MOST_SERIES) -> None:
        self._metric = metric
        self._most = most_series
        self._sums: dict[Key, float] = {}
        self._labels: dict[Key, str] = {}
        self._lock = threading.Lock()  # a reader's thread looks while the event loop counts

    def add(self, amount: float, key: Key) -> None:
        """Count ``amount`` more."""
        with self._lock:
            if key not in self._sums and len(self._sums) >= self._most:
                key = _BEYOND
            self._sums[key] = self._sums.get(key, 0) + amount

    def points(self) -> list[tuple[str, float]]:
        """All sums, as Prometheus takes them."""
        with self._lock:
            sums = list(self._sums.items())
        return [(_labels_of(self._labels, self._metric, key), value) for key, value in sums]

    def observe(self, options: CallbackOptions) -> Iterable[Observation]:
        """All sums, as an observable counter's callback gives them."""
        del options
        with self._lock:
            sums = list(self._sums.items())
        return [Observation(value, attributes(self._metric, key)) for key, value in sums]


@dataclass(slots=True)
class _Cells:
    """One series of a histogram: how many values each bucket holds, and their sum."""

    counts: list[int]
    sum: float = 0.0


@dataclass(slots=True)
class Seen:
    """What a reader has seen of a histogram, for the next difference; times in ns since the epoch.

    Attributes:
        since_ns: When it looked last.
        cells: What it saw then.
    """

    since_ns: int
    cells: dict[Key, tuple[tuple[int, ...], float]] = field(default_factory=dict)


class Distribution:
    """The buckets of a histogram.

    Args:
        metric: Its declaration.
        most_series: The most sets of attributes.
    """

    def __init__(self, metric: Metric, most_series: int = MOST_SERIES) -> None:
        self.metric = metric
        self._most = most_series
        self._cells: dict[Key, _Cells] = {}
        self._labels: dict[Key, str] = {}
        self._lock = threading.Lock()
        self._start_ns = time.time_ns()

    def record(self, value: float, key: Key) -> None:
        """Take one value."""
        with self._lock:
            cells = self._cells.get(key)
            if cells is None:
                cells = self._new(key)
            cells.counts[bisect_left(self.metric.buckets, value)] += 1
            cells.sum += value

    def _new(self, key: Key) -> _Cells:
        if len(self._cells) >= self._most:
            key = _BEYOND
        return self._cells.setdefault(key, _Cells([0] * (len(self.metric.buckets) + 1)))

    def first_seen(self) -> Seen:
        """What a reader begins with that wants differences."""
        return Seen(self._start_ns)

    def data(self, now_ns: int, seen: Seen | None = None) -> MetricData | None:
        """What the SDK's exporters take: everything since the start, or since the reader looked last.

        Args:
            now_ns: Now, in ns since the epoch.
            seen: Of a reader that wants differences; brought up to date.

        Returns:
            None where there is nothing to tell.
        """
        cells = self._snapshot()
        start_ns = self._start_ns
        told = cells
        if seen is not None:
            start_ns = seen.since_ns
            told = _differences(seen.cells, cells)
            seen.since_ns, seen.cells = now_ns, cells
        points = [self._point(key, *each, start_ns, now_ns) for key, each in told.items()]
        if not points:
            return None
        temporality = AggregationTemporality.CUMULATIVE if seen is None else AggregationTemporality.DELTA
        metric = self.metric
        return MetricData(metric.name, metric.description, metric.unit, Histogram(points, temporality))

    def points(self) -> list[tuple[str, tuple[int, ...], float]]:
        """Everything since the start, as Prometheus takes it."""
        cells = self._snapshot().items()
        return [(_labels_of(self._labels, self.metric, key), *each) for key, each in cells]

    def _snapshot(self) -> dict[Key, tuple[tuple[int, ...], float]]:
        with self._lock:
            return {key: (tuple(each.counts), each.sum) for key, each in self._cells.items()}

    def _point(
        self, key: Key, counts: tuple[int, ...], total: float, start_ns: int, now_ns: int
    ) -> HistogramDataPoint:
        return HistogramDataPoint(
            attributes=attributes(self.metric, key),
            start_time_unix_nano=start_ns,
            time_unix_nano=now_ns,
            count=sum(counts),
            sum=total,
            bucket_counts=counts,
            explicit_bounds=self.metric.buckets,
            # Optional in OTLP, and of no use for sums that begin with the process.
            min=None,  # type: ignore[arg-type]  # the exporters pass it on, and protobuf takes None for absent
            max=None,  # type: ignore[arg-type]  # as above
        )


def _labels_of(known: dict[Key, str], metric: Metric, key: Key) -> str:
    """The labels of a series, put together once; there are as many as there are series."""
    found = known.get(key)
    if found is None:
        found = known[key] = labels(attributes(metric, key))
    return found


def _differences(
    before: dict[Key, tuple[tuple[int, ...], float]], now: dict[Key, tuple[tuple[int, ...], float]]
) -> dict[Key, tuple[tuple[int, ...], float]]:
    told = {}
    for key, (counts, total) in now.items():
        old_counts, old_total = before.get(key, ((0,) * len(counts), 0.0))
        if counts != old_counts:
            difference = tuple(new - old for new, old in zip(counts, old_counts, strict=True))
            told[key] = (difference, total - old_total)
    return told
