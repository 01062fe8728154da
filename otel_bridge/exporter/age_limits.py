"""How old a record a destination still takes, by what its address tells.

Read from the backends' own documentation: Datadog 18 h, Loki's default 7 days, Logfire 24 h, New Relic and
Dynatrace 60 min. A self-hosted backend can't be told by its address; a person sets the limit then.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

_HOUR_MS: Final = 3_600_000
_BY_HOST: Final = {
    "datadoghq": ("Datadog", 18 * _HOUR_MS),
    "ddog-gov": ("Datadog", 18 * _HOUR_MS),
    "grafana.net": ("Grafana Cloud", 7 * 24 * _HOUR_MS),
    "logfire": ("Logfire", 24 * _HOUR_MS),
    "nr-data.net": ("New Relic", _HOUR_MS),
    "newrelic": ("New Relic", _HOUR_MS),
    "dynatrace": ("Dynatrace", _HOUR_MS),
}


@dataclass(frozen=True, slots=True)
class AgeLimit:
    """A destination's limit.

    Attributes:
        name: Who has it, for people.
        limit_ms: The oldest age that is taken, in ms.
    """

    name: str
    limit_ms: int


def age_limit_of(endpoint: str) -> AgeLimit | None:
    """The limit that an address is known for; None where none is known."""
    address = endpoint.lower()
    return next((AgeLimit(*limit) for part, limit in _BY_HOST.items() if part in address), None)
