"""One log and what it would become."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from otel_bridge.errors import RecordNotFound
from otel_bridge.ledger import open_ledger
from otel_bridge.pipeline.identities import IdentityResolver
from otel_bridge.receiver.budget import Budget, Priority
from otel_bridge.service.assembly import project_mapper, project_source, trace_options

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Sequence

    from otel_bridge.ledger import DeliveredRecord, Ledger, Recollection, Settled
    from otel_bridge.mapping.identity import Identity
    from otel_bridge.pipeline.source import ProjectSource
    from otel_bridge.receiver.models import Detail
    from otel_bridge.settings import ProjectSettings, Settings
    from otel_bridge.signals import Delivery
    from otel_bridge.times import Clock

_MOST_ANCESTORS = 16


@dataclass(frozen=True, slots=True)
class Shown:
    """What was found.

    Attributes:
        record: As the source has it.
        identity: Where it stands.
        family: The record's delivery first, then those of its ancestors.
    """

    record: Detail
    identity: Identity
    family: list[Delivery]


async def show(settings: Settings, log_id: str, clock: Clock, projects: Sequence[ProjectSettings]) -> Shown:
    """Fetch one log, and its ancestors, and map them as a delivery would.

    Args:
        settings: As read.
        log_id: Which.
        clock: The time.
        projects: Where to look: one project or more.

    Raises:
        RecordNotFound: None of the projects has a log of this id.
        BridgeError: The source could not be asked.
    """
    for project in projects:
        source = project_source(settings, project, Budget(settings.collect.rate_share, clock), clock)
        try:
            record = await source.client.detail(log_id, priority=Priority.HEAD, missing_retries=0)
            return await _mapped(settings, project, source, record, clock)
        except RecordNotFound as error:
            missing = error
        finally:
            await source.client.aclose()
    raise missing


async def _mapped(
    settings: Settings, project: ProjectSettings, source: ProjectSource, record: Detail, clock: Clock
) -> Shown:
    known = _Known(settings, clock)
    resolver = IdentityResolver(
        project.name,
        known,
        lambda log_id: source.parent(log_id, Priority.HEAD),
        memory=known,
        options=trace_options(settings),
    )
    now_ms = clock.now_ms()
    family = [record]
    while len(family) < _MOST_ANCESTORS:
        parent_id = family[-1].parent_log_id
        if parent_id is None or any(each.id == parent_id for each in family):
            break
        try:
            family.append(await source.parent(parent_id, Priority.HEAD))
        except RecordNotFound:
            break
    # The record alone, as a delivery that finds its parent in the ledger; then the family, for the picture.
    alone = await resolver.resolve([record], now_ms)
    identities = {
        **(await resolver.resolve(family, now_ms)).identities,
        **(await resolver.settle(alone, [record.id], now_ms)),
    }
    mapper = project_mapper(settings, project)
    deliveries = [mapper.delivery(each, identities[each.id]) for each in family]
    return Shown(record, identities[record.id], deliveries)


class _Known:
    """The ledger, read only, so that ``show`` says what was or will be delivered, and decides nothing."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock

    async def identities(self, project: str, log_ids: Collection[str]) -> dict[str, DeliveredRecord]:
        """As ``Ledger``."""
        async with self._opened() as ledger:
            return await ledger.identities(project, log_ids)

    async def recall(
        self,
        project: str,
        *,
        log_ids: Collection[str],
        request_ids: Collection[str],
        attempt_keys: Collection[bytes],
        now_ms: int,
    ) -> Recollection:
        """As ``Ledger``."""
        async with self._opened() as ledger:
            return await ledger.recall(
                project, log_ids=log_ids, request_ids=request_ids, attempt_keys=attempt_keys, now_ms=now_ms
            )

    async def settle(
        self, project: str, settled: Sequence[Settled], *, now_ms: int, **_: object
    ) -> dict[str, Settled]:
        """What would be decided now, kept nowhere."""
        del project, now_ms
        return {each.log_id: each for each in settled}

    @asynccontextmanager
    async def _opened(self) -> AsyncIterator[Ledger]:
        state = self._settings.ledger.state.get_secret_value()
        ledger = open_ledger(state, self._clock, read_only=True)
        await ledger.open()
        try:
            yield ledger
        finally:
            await ledger.close()
