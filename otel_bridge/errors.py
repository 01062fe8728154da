"""Everything that can go wrong, as one tree.

* BridgeError — a person can do something about it: one clear line, no traceback
    * SettingsError — a setting is wrong; exit status 2
    * SourceError — Composio's Logs API
        * SourceUnreachable — no answer, or none in time (retryable)
        * SourceBusy — 429; carries the wait that was asked for (retryable)
        * SourceFailed — 5xx, a gateway's page, an answer that is not the documented JSON (retryable)
            * AnswerTooLarge — the answer's body is beyond the bound (asking again brings the same)
        * SourceRefused — the key is wrong (401), lacks a permission (403), or the request is not accepted
        * RecordNotFound — 404 for one log id
        * RecordUnreadable — one record's bytes can't be read as a log entry
    * DestinationError — where spans and log records go
        * DestinationUnavailable — no answer, or one that asks to try again (retryable)
        * DestinationRefused — the destination as a whole says no: wrong address, credentials or signal
    * LedgerError — the state file can't be used
        * LedgerInUse — another process collects with it
        * LeaseLost — another replica has taken over what this one was about to commit
    * EndpointsUnavailable — the address for the HTTP endpoints can't be listened on
"""

from __future__ import annotations

import traceback
from http import HTTPStatus
from pathlib import Path


class BridgeError(Exception):
    """One clear line for a person: what, where, what it takes. Never holds a secret or a payload.

    Attributes:
        advice: What a person can do about it, where its cause is known. It is a part of the line.
    """

    advice: str = ""

    @property
    def fact(self) -> str:
        """The line without the advice."""
        return super().__str__()

    def __str__(self) -> str:
        return f"{self.fact}; {self.advice}" if self.advice else self.fact


def unforeseen(error: BaseException) -> BridgeError:
    """An error nobody foresaw, in one line: where it was, and its class, for its text may hold a payload."""
    frames = traceback.extract_tb(error.__traceback__)[-3:]
    where = " < ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in reversed(frames))
    return BridgeError(f"unforeseen {type(error).__name__} at {where}; please report it")


class SettingsError(BridgeError):
    """A setting is wrong: which one, what it was, what it takes."""


class SourceError(BridgeError):
    """Composio's Logs API did not give what was asked."""


class SourceUnreachable(SourceError):  # noqa: N818 - the tree reads as sentences
    """No answer from the source, or none in time.

    Args:
        message: For people.
        retry_after_s: Seconds until the next try, where the source is known to be down and was not asked;
            None where it was asked.
    """

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class SourceBusy(SourceError):  # noqa: N818
    """The source answered 429.

    Args:
        message: For people.
        retry_after_s: Seconds to wait as the source asked, or None where it did not say.
    """

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class SourceFailed(SourceError):  # noqa: N818
    """The source answered 5xx, or something that is not the documented JSON."""


class AnswerTooLarge(SourceFailed):
    """The source's answer is larger than the bridge will hold in memory; it was left unread."""


class SourceRefused(SourceError):  # noqa: N818
    """The source refuses: asking again will not help until a person changes something.

    Args:
        message: For people.
        status: The HTTP status.

    Attributes:
        key_may_change: Whether the key that was refused comes from a file that may be renewed.
    """

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status
        self.key_may_change = False

    @property
    def wrong_address(self) -> bool:
        """Whether no Composio answers there (404, 405, or a redirect): another key would change nothing."""
        nowhere = (HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED)
        return self.status in nowhere or self.status < HTTPStatus.BAD_REQUEST


class RecordNotFound(SourceError):  # noqa: N818
    """The source has no log of this id (now)."""


class RecordUnreadable(SourceError):  # noqa: N818
    """One record can't be read as a log entry."""


class DestinationError(BridgeError):
    """The destination did not take what was sent.

    Attributes:
        outcome: What an exporter had settled of the batch before it failed, as a `signals.Outcome`; None
            where nothing is known. Typed loosely because errors stand below signals.
    """

    outcome: object = None


class DestinationUnavailable(DestinationError):  # noqa: N818
    """Worth trying again.

    Args:
        message: For people.
        retry_after_s: Seconds to wait as the destination asked, or None.
    """

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class DestinationRefused(DestinationError):  # noqa: N818
    """The destination as a whole refuses this signal: address, credentials, protocol.

    Args:
        message: For people.
        unsupported: True where the answer says that the destination does not take this signal at all
            (HTTP 404, gRPC UNIMPLEMENTED).

    Attributes:
        key_may_change: Whether what was refused comes from a file that may be renewed.
    """

    key_may_change = False

    def __init__(self, message: str, *, unsupported: bool = False) -> None:
        super().__init__(message)
        self.unsupported = unsupported


class LedgerError(BridgeError):
    """The state file can't be used: where it is, what is wrong, what to do."""


class LedgerInUse(LedgerError):  # noqa: N818
    """Another process holds the ledger to collect."""


class EndpointsUnavailable(BridgeError):  # noqa: N818
    """The address for the HTTP endpoints can't be listened on."""


class LeaseLost(LedgerError):  # noqa: N818
    """Another replica has taken over: nothing was committed, and what is in hand is the other one's to do."""
