"""What a synthetic tool is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from otel_bridge.emulator.scene import Scene

Payload = Callable[[Scene], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Tool:
    """One tool of a toolkit.

    Attributes:
        median_ms: How long a call takes, half of the time.
        arguments: Makes a request's payload.
        result: Makes the ``data`` of a successful response.
        credential_source: As the Logs API names it: connected_account, instant_account or no_auth.
        charge_usd: An Instant account's charge, as an exact decimal string; empty for none.
    """

    slug: str
    toolkit: str
    median_ms: int
    arguments: Payload
    result: Payload
    credential_source: str = "connected_account"
    charge_usd: str = ""
