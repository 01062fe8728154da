"""How tool calls fail: what the toolkit's own API answered, as the tool's response shows it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from otel_bridge.emulator.scene import Scene


@dataclass(frozen=True, slots=True)
class Failure:
    """One way to fail.

    Attributes:
        status: The HTTP status that the toolkit's API answered.
        reason: The phrase that belongs to the status.
        text: What went wrong, in a sentence.
        slowness: The call's duration in multiples of a usual one.
    """

    status: int
    reason: str
    text: str
    slowness: float = 0.6

    @property
    def level(self) -> str:
        """The entry's level: what passes by itself is a warning."""
        return "warn" if self.status == 429 else "error"  # noqa: PLR2004 - the HTTP status

    def response(self, scene: Scene, host: str) -> dict[str, Any]:
        """The tool's response body."""
        kind = "Client" if self.status < 500 else "Server"  # noqa: PLR2004 - where the server's errors begin
        return {
            "data": {
                "http_error": f"{self.status} {kind} Error: {self.reason} for url: https://{host}/",
                "status_code": self.status,
                "message": self.text,
                "request_ref": scene.hex_id(16),
            },
            "error": self.text,
            "successful": False,
        }


_RATE: Final = Failure(
    429, "Too Many Requests", "rate limit of the toolkit reached, retry in 30 seconds", 0.3
)
_EXPIRED: Final = Failure(401, "Unauthorized", "the connected account's token has expired, reconnect it", 0.4)
_TIMEOUT: Final = Failure(504, "Gateway Timeout", "the toolkit's API did not answer within 30 seconds", 45.0)
_BROKEN: Final = Failure(503, "Service Unavailable", "the toolkit's API is temporarily unavailable", 2.5)

FAILURES: Final[dict[str, tuple[Failure, ...]]] = {
    "gmail": (
        Failure(400, "Bad Request", "invalid recipient"),
        Failure(404, "Not Found", "requested entity was not found"),
        Failure(403, "Forbidden", "insufficient authentication scopes: gmail.modify is missing"),
    ),
    "slack": (
        Failure(404, "Not Found", "channel_not_found"),
        Failure(403, "Forbidden", "not_in_channel: invite the bot to the channel first"),
    ),
    "github": (
        Failure(422, "Unprocessable Entity", "Validation Failed: the label does not exist"),
        Failure(404, "Not Found", "repository not found, or the account has no access to it"),
        Failure(403, "Forbidden", "you have exceeded a secondary rate limit"),
    ),
    "linear": (Failure(400, "Bad Request", "Argument Validation Error: teamId must be a UUID"),),
    "notion": (
        Failure(404, "Not Found", "could not find the parent page; share it with the connection"),
        Failure(409, "Conflict", "conflict occurred while saving, please try again"),
    ),
    "hubspot": (Failure(400, "Bad Request", 'property "dealstage" value is not a valid option'),),
    "googlecalendar": (Failure(409, "Conflict", "the requested identifier already exists"),),
    "googlesheets": (Failure(400, "Bad Request", "unable to parse range: Week!A1:D9"),),
    "stripe": (Failure(404, "Not Found", "no such customer"),),
    "exa": (Failure(402, "Payment Required", "the Instant account's credits are used up"),),
    "composio": (
        Failure(500, "Internal Server Error", "the sandbox ran out of memory (exit code 137)", 3.0),
    ),
}
ANYWHERE: Final = (_RATE, _EXPIRED, _TIMEOUT, _BROKEN)

HOSTS: Final[dict[str, str]] = {
    "gmail": "gmail.googleapis.com",
    "slack": "slack.com",
    "github": "api.github.com",
    "linear": "api.linear.app",
    "notion": "api.notion.com",
    "hubspot": "api.hubapi.com",
    "googlecalendar": "www.googleapis.com",
    "googlesheets": "sheets.googleapis.com",
    "stripe": "api.stripe.com",
    "exa": "api.exa.ai",
}


def pick_failure(scene: Scene, toolkit: str) -> Failure:
    """One way for a tool of this toolkit to fail: one of its own twice out of three."""
    own = FAILURES.get(toolkit, ())
    options = own if own and scene.rng.random() < 2 / 3 else ANYWHERE
    return options[int(scene.rng.random() * len(options))]
