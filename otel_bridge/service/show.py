"""One log and what it would become."""

from __future__ import annotations

from typing import TYPE_CHECKING

from otel_bridge.errors import BridgeError, RecordNotFound
from otel_bridge.exporter.sender import one_line
from otel_bridge.ledger import DeliveredRecord, open_ledger
from otel_bridge.receiver.budget import Budget, Priority
from otel_bridge.service.assembly import project_mapper, project_source
from otel_bridge.service.identities import IdentityResolver

if TYPE_CHECKING:
    from collections.abc import Sequence

    from otel_bridge.mapping.identity import Identity
    from otel_bridge.receiver.models import Detail
    from otel_bridge.service.source import ProjectSource
    from otel_bridge.settings import ProjectSettings, Settings
    from otel_bridge.signals import Delivery
    from otel_bridge.times import Clock

_MOST_ANCESTORS = 16


async def show(
    settings: Settings, log_id: str, clock: Clock, project_name: str | None
) -> tuple[list[Delivery], Identity]:
    """Fetch one log, and its ancestors, and map them as a delivery would.

    Returns:
        The record's delivery first, then those of its ancestors; and the record's identity.

    Raises:
        RecordNotFound: No configured project has a log of this id.
        BridgeError: The source could not be asked.
    """
    candidates = [each for each in settings.projects if project_name in {None, each.name}]
    if not candidates:
        names = ", ".join(each.name for each in settings.projects)
        raise BridgeError(f"--project is {project_name!r}: takes one of {names}")
    for project in candidates:
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
) -> tuple[list[Delivery], Identity]:
    resolver = IdentityResolver(
        project.name, _Known(settings, clock), lambda log_id: source.parent(log_id, Priority.HEAD)
    )
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
    identities = {
        **(await resolver.resolve(family)).identities,
        **(await resolver.resolve([record])).identities,
    }
    mapper = project_mapper(settings, project)
    return [mapper.delivery(each, identities[each.id]) for each in family], identities[record.id]


class _Known:
    """The ledger's identities, read only, so that ``show`` says what was or will be delivered."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock

    async def identities(self, project: str, log_ids: Sequence[str]) -> dict[str, DeliveredRecord]:
        state = self._settings.ledger.state.get_secret_value()
        ledger = open_ledger(state, self._clock, read_only=True)
        await ledger.open()
        try:
            return await ledger.identities(project, log_ids)
        finally:
            await ledger.close()


def facts(delivery: Delivery, identity: Identity) -> list[str]:
    """What a picture leaves out: the ids, which rule chose the trace, every attribute; one line each."""
    parent = identity.parent_span_id.hex() if identity.parent_span_id else "none"
    lines = [
        f"trace id        {identity.trace_id.hex()}",
        f"span id         {identity.span_id.hex()}",
        f"parent span id  {parent}{' (not found)' if identity.parent_missing else ''}",
        f"trace chosen by {identity.rule.text}",
        "",
    ]
    signal = delivery.span or delivery.log
    if signal is None:
        return lines
    attributes = [*delivery.resource.attributes, *signal.attributes.items()]
    width = max(len(name) for name, _ in attributes)
    lines += [f"{name:{width}}  {one_line(str(value))}" for name, value in attributes]
    return lines
