"""The resource of exported tool calls: a function of the settings and the toolkit, nothing random in it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from otel_bridge.mapping import conventions as c
from otel_bridge.mapping.values import NAME_BYTES, flat, limited_text
from otel_bridge.signals import Resource

if TYPE_CHECKING:
    from otel_bridge.mapping.options import MappingOptions
    from otel_bridge.signals import AttributeValue

_UNKNOWN_TOOLKIT: Final = "unknown"
_PLACEHOLDER: Final = re.compile(r"\{(toolkit|project)\}")
_MOST_CACHED: Final = 256


def make_resource(options: MappingOptions, toolkit: str | None) -> Resource:
    """Make the resource of a record.

    ``service.name`` and ``composio.project`` come first and can't be overridden by what is added; of an
    attribute that is added twice the last value counts.
    """
    values = {"toolkit": toolkit or _UNKNOWN_TOOLKIT, "project": options.project}
    name = _PLACEHOLDER.sub(lambda match: values[match[1]], options.service_name)
    attributes: dict[str, AttributeValue] = {
        c.SERVICE_NAME: limited_text(name, NAME_BYTES * 2),
        c.PROJECT: limited_text(options.project, options.attribute_bytes),
    }
    own = frozenset(attributes)
    attributes.update(
        (key, flat(value, options.attribute_bytes)) for key, value in options.resource if key not in own
    )
    return Resource(tuple(attributes.items()))


class Resources:
    """Makes each resource once: an exporter groups by it."""

    def __init__(self, options: MappingOptions) -> None:
        self._options = options
        self._by_toolkit = "{toolkit}" in options.service_name
        self._made: dict[str | None, Resource] = {}

    def of(self, toolkit: str | None) -> Resource:
        """The resource of a record of this toolkit."""
        key = toolkit if self._by_toolkit else None
        resource = self._made.get(key)
        if resource is None:
            resource = make_resource(self._options, key)
            if len(self._made) >= _MOST_CACHED:
                self._made.clear()  # toolkits come from outside: what is remembered of them is bounded
            self._made[key] = resource
        return resource
