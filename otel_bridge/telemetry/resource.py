"""Who the bridge is in its own telemetry: another one than in the tool calls that it exports."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Final

from opentelemetry.sdk.resources import Resource

from otel_bridge import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping

SERVICE_NAME: Final = "otel-bridge"


def own_resource(attributes: Mapping[str, str], instance_id: str | None = None) -> Resource:
    """The bridge's resource.

    Args:
        attributes: What a person set for everything, ``deployment.environment.name`` for instance.
        instance_id: Tells processes apart; by default a random one, as the conventions advise.
    """
    own = {
        "service.name": SERVICE_NAME,
        "service.version": __version__,
        "service.instance.id": instance_id or str(uuid.uuid4()),
    }
    # Made by hand: Resource.create() would read OTEL_SERVICE_NAME, which names another service.
    return Resource({**attributes, **own})


def tool_call_resource(service_name: str, attributes: Mapping[str, str]) -> Resource:
    """The resource of measurements of tool calls.

    One histogram serves all projects, so what a name says of project or toolkit is on the measurements
    instead. There is no instance: who measures is no property of a tool call.

    Args:
        service_name: As set; may hold ``{toolkit}`` and ``{project}``.
        attributes: As for ``own_resource``.
    """
    name = service_name.replace("{toolkit}", "").replace("{project}", "").strip("-_. ")
    return Resource({**attributes, "service.name": name or "composio"})
