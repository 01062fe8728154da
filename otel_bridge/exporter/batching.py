"""Records into batches that a destination will take: bounded by count and by bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from otel_bridge.exporter.encoding import Encoded, Group

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from otel_bridge.exporter.learnt_limits import LearntLimits

DEFAULT_MOST_RECORDS: Final = 512
"""As the OpenTelemetry specification's batch processors."""

DEFAULT_MOST_BYTES: Final = 3_000_000
"""Before compression. Fits the 4 MiB that gRPC servers take by default, and Datadog's 3.2 MB."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How large a batch may be.

    Args:
        records: The most spans or log records.
        size: The most bytes of the request, uncompressed. One record that is larger goes alone.
    """

    records: int = DEFAULT_MOST_RECORDS
    size: int = DEFAULT_MOST_BYTES


Batch = tuple[Encoded, ...]


def batches(records: Iterable[Encoded], limits: Limits | LearntLimits) -> Iterator[Batch]:
    """Cut records into batches within the limits, in their order, reading no further than it must.

    The limits may change meanwhile, and hold for what has not been cut yet.
    """
    batch: list[Encoded] = []
    groups: set[Group] = set()
    size = 0
    for record in records:
        added = record.size + (0 if record.group in groups else record.group.size)
        if batch and (len(batch) >= limits.records or size + added > limits.size):
            yield tuple(batch)
            batch, groups, size = [], set(), 0
            added = record.size + record.group.size
        batch.append(record)
        groups.add(record.group)
        size += added
    if batch:
        yield tuple(batch)


def halves(batch: Batch) -> tuple[Batch, Batch]:
    """Cut a batch of two or more records in the middle."""
    middle = len(batch) // 2
    return batch[:middle], batch[middle:]
