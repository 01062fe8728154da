"""Why the bridge may not be ready, in words for machines and for people, and what to do about each."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Code(StrEnum):
    """Why a project is not ready, for machines."""

    STARTING = "starting"
    SOURCE_REFUSED = "source_refused"
    SOURCE_FAILING = "source_failing"
    DESTINATION_REFUSED = "destination_refused"
    DESTINATION_FAILING = "destination_failing"
    LEDGER_FAILING = "ledger_failing"
    FAILING = "failing"
    CIRCUIT_OPEN = "circuit_open"
    LAGGING = "lagging"
    WORKER_ENDED = "worker_ended"


TO_DO: Final = {
    Code.STARTING: "Wait: the bridge has just started, and collects what there was before. "
    "What it can't reach is told here once it has tried a few times.",
    Code.SOURCE_REFUSED: "Give a key that is valid and has the permission Observability: Read; "
    "otel-bridge check says which it lacks.",
    Code.SOURCE_FAILING: "See whether Composio can be reached from here: otel-bridge check. "
    "What is missed is collected later.",
    Code.DESTINATION_REFUSED: "Check the endpoint, its credentials and protocol: otel-bridge check.",
    Code.DESTINATION_FAILING: "See whether the destination is up; nothing is lost meanwhile.",
    Code.LEDGER_FAILING: "See whether the ledger's disk or database has room and can be written.",
    Code.FAILING: "Look at the log of the bridge.",
    Code.CIRCUIT_OPEN: "See whether it is up, and mend what it answers. The bridge tries again by itself, "
    "and nothing is lost.",
    Code.LAGGING: "See whether the request budget is used up or a far side is slow: the page of the bridge "
    "shows both.",
    Code.WORKER_ENDED: "Restart the bridge, and report what its log says.",
}
"""What a person does about each."""
WRONG_ADDRESS: Final = (
    "Mend COMPOSIO_BASE_URL (base_url): what answers there is not Composio's API; otel-bridge check tries it."
)
TRIED_AGAIN: Final = "Wait a moment: it is tried again. If it stays, otel-bridge check says what to mend."
FOLLOWS: Final = "Mend the project's other trouble: this follows from it, and ends by itself."


@dataclass(frozen=True, slots=True)
class Reason:
    """Why the bridge is not ready.

    Attributes:
        project: Whose; None where all are concerned.
        code: For machines.
        message: What is wrong, in one line without secret or payload.
        since_ms: Since when, in ms since the epoch.
        follows: Whether it comes from another of the project's reasons.
        advice: What a person does about it, where that is not what its code says.
    """

    project: str | None
    code: Code
    message: str
    since_ms: int
    follows: bool = False
    advice: str = ""

    @property
    def to_do(self) -> str:
        """What a person does about it."""
        return FOLLOWS if self.follows else self.advice or TO_DO[self.code]
