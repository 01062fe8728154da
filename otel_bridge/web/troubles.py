"""What is wrong, for somebody with ten seconds: one headline, and each trouble once with what to do.

Projects that share a source or a destination have the same trouble: thirty lines would say no more than one.
What follows from another trouble is left out; the project's own card says how far behind it is.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from otel_bridge.exporter.sender import one_line
from otel_bridge.receiver.answers import KEY_PLACE
from otel_bridge.service.reasons import WRONG_ADDRESS, Code
from otel_bridge.web import words
from otel_bridge.web.status import state_of

if TYPE_CHECKING:
    from otel_bridge.circuit_state import CircuitState
    from otel_bridge.service.reasons import Reason
    from otel_bridge.web.snapshot import Snapshot

_NUMBER: Final = re.compile(r"\d+")
_MOST_NAMES: Final = 3

_HEADLINES: Final = {
    Code.WORKER_ENDED: "A part of the bridge has stopped",
    Code.SOURCE_REFUSED: "Composio refuses the bridge",
    Code.DESTINATION_REFUSED: "A destination refuses the bridge",
    Code.LEDGER_FAILING: "The ledger fails",
    Code.SOURCE_FAILING: "Composio does not answer as it should",
    Code.DESTINATION_FAILING: "A destination does not answer as it should",
    Code.CIRCUIT_OPEN: "Composio or a destination is down",
    Code.FAILING: "Collecting fails",
    Code.LAGGING: "Further behind than the limit",
}
"""What is told first, by how much it is a person's to do."""
_ORDER: Final = tuple(_HEADLINES)
_NOT_COMPOSIO: Final = "COMPOSIO_BASE_URL leads to no Composio"
STARTING: Final = "Starting: collecting what there was before."
READY: Final = "Everything is delivered as it happens."


@dataclass(frozen=True, slots=True)
class Trouble:
    """One thing that is wrong.

    Attributes:
        who: The projects it concerns; empty where that says nothing.
        message: What is wrong, in one line.
        lasting: For how long, in words; empty where that is not known.
        to_do: What a person does about it.
    """

    who: str
    message: str
    lasting: str
    to_do: str


@dataclass(frozen=True, slots=True)
class Standing:
    """How the bridge stands.

    Attributes:
        state: ``ready``, ``starting``, ``not_ready``, or ``aside``: ready, and yet not all is delivered.
        headline: The same as a sentence.
        among: How many of several projects are concerned; empty where there is nothing to tell apart.
        troubles: What is wrong, the heaviest first.
    """

    state: str
    headline: str
    among: str
    troubles: list[Trouble]


def standing(snapshot: Snapshot) -> Standing:
    """How the bridge stands, from a snapshot."""
    state = state_of(snapshot.reasons)
    left = _left_behind(snapshot)
    if state == "ready":
        if not left:
            return Standing(state, READY, "", [])
        what = " and ".join(trouble.message for trouble in left)
        return Standing("aside", f"Delivering, but {what}.", "", [replace(each, message="") for each in left])
    groups = sorted(_groups(snapshot), key=lambda group: _weight(group[0]))
    headline = STARTING
    if state == "not_ready":
        heaviest = groups[0][0].code
        more = any(group[0].code not in {heaviest, Code.STARTING} for group in groups)
        what = _HEADLINES[heaviest] if groups[0][0].advice != WRONG_ADDRESS else _NOT_COMPOSIO
        headline = f"{what}{', and more' if more else ''}."
    told = [_trouble(group, snapshot) for group in groups]
    return Standing(state, headline, _among(snapshot), [*told, *left])


def lately_down(snapshot: Snapshot) -> list[CircuitState]:
    """The far sides that are down and not among the troubles: they may be back in a moment."""
    told = [reason.message for reason in snapshot.reasons]
    return [
        circuit
        for circuit in snapshot.circuits
        if not any(message.startswith(f"{circuit.name} is down") for message in told)
    ]


def _groups(snapshot: Snapshot) -> list[list[Reason]]:
    """The reasons that say the same, together, the heaviest first; none that follows from another."""
    groups: dict[tuple[str, str], list[Reason]] = {}
    for reason in snapshot.reasons:
        if not reason.follows:
            groups.setdefault(_subject(reason, snapshot), []).append(reason)
    return [sorted(group, key=_weight) for group in groups.values()]


def _subject(reason: Reason, snapshot: Snapshot) -> tuple[str, str]:
    """What a reason speaks of: a far side that is down, whoever waits for it, or what its words say."""
    for circuit in snapshot.circuits:
        if reason.message.startswith(f"{circuit.name} is down"):
            return "down", circuit.name
    # Each project has a key of its own, from a place of its own.
    return reason.code, _NUMBER.sub("#", KEY_PLACE.sub("", reason.message))


def _weight(reason: Reason) -> int:
    return _ORDER.index(reason.code) if reason.code in _HEADLINES else len(_ORDER)


def _trouble(group: list[Reason], snapshot: Snapshot) -> Trouble:
    names = list(dict.fromkeys(reason.project for reason in group if reason.project is not None))
    # A far side's own line does not grow old, as those do of who waits for it.
    says = next((reason for reason in group if reason.code is Code.CIRCUIT_OPEN), group[0])
    return Trouble(
        who=_names(names, len(snapshot.projects)),
        message=_with_all_keys(says.message, group),
        lasting=f"for {words.rounded(max(0, snapshot.now_ms - min(each.since_ms for each in group)))}",
        to_do=group[0].to_do,
    )


def _with_all_keys(message: str, group: list[Reason]) -> str:
    """The message, with the places of all refused keys, not just of the first."""
    found = [place[0] for reason in group if (place := KEY_PLACE.search(reason.message))]
    places = list(dict.fromkeys(found))
    if len(places) < 2:  # noqa: PLR2004 - one alone is in the message already
        return message
    more = len(places) - _MOST_NAMES
    shown = ", ".join(places[:_MOST_NAMES]) + (f" and {more:,} more" if more > 0 else "")
    return KEY_PLACE.sub(lambda _: f"each of {shown}", message)


def _names(names: list[str], projects: int) -> str:
    if projects < 2 or not names:  # noqa: PLR2004 - one alone needs no name
        return ""
    if len(names) == projects:
        return f"all {projects} projects"
    shown = ", ".join(map(one_line, names[:_MOST_NAMES]))
    more = len(names) - _MOST_NAMES
    return f"{shown} and {more:,} more" if more > 0 else shown


def _among(snapshot: Snapshot) -> str:
    """How many projects are concerned, where some are not."""
    all_of_them = len(snapshot.projects)
    well = sum(not project.reasons for project in snapshot.projects)
    if all_of_them < 2 or not well or well == all_of_them:  # noqa: PLR2004 - one alone is not counted
        return ""
    return f"{well:,} of {all_of_them:,} projects {'is' if well == 1 else 'are'} well."


def _left_behind(snapshot: Snapshot) -> list[Trouble]:
    """What is not delivered although the bridge works."""
    stuck = words.stuck(words.by_reason(snapshot))
    missing = sum(words.missing(each.ledger.verification) for each in snapshot.projects if each.ledger)
    left = []
    if stuck:
        message = f"{words.count(stuck, 'record is', 'records are')} set aside"
        left.append(Trouble("", message, "", "See below why. otel-bridge retry tries all of them again."))
    if missing:
        message = f"{words.count(missing, 'record is', 'records are')} missing"
        to_do = "The daily comparison with Composio found them: otel-bridge verify --repair fetches them."
        left.append(Trouble("", message, "", to_do))
    return left
