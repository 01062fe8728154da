"""The one protocol every ledger speaks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from otel_bridge.ledger.correlation_values import (
        Correlation,
        CorrelationKind,
        FailedAttempt,
        Recollection,
        Registration,
        Settled,
    )
    from otel_bridge.ledger.values import (
        DeliveredRecord,
        Lane,
        ProjectStatus,
        SetAside,
        ToolCalls,
        Verification,
        Window,
    )


class Identities(Protocol):
    """The part of a ledger that knows where delivered records stand."""

    async def identities(self, project: str, log_ids: Collection[str]) -> dict[str, DeliveredRecord]:
        """The delivered records of these ids, for children that ask for their parent's identity."""
        ...


class Memory(Protocol):
    """The part of a ledger that knows what applications said of their calls, and what was settled by it."""

    async def recall(
        self,
        project: str,
        *,
        log_ids: Collection[str],
        request_ids: Collection[str],
        attempt_keys: Collection[bytes],
        now_ms: int,
    ) -> Recollection:
        """All that is remembered of a batch, at one moment: one call for all of its records."""
        ...

    async def settle(
        self,
        project: str,
        settled: Sequence[Settled],
        *,
        failed: Sequence[FailedAttempt] = (),
        used: Collection[tuple[CorrelationKind, str]] = (),
        now_ms: int,
    ) -> dict[str, Settled]:
        """Decide for records that are about to go out. What is decided already stays as it is.

        Args:
            project: Whose records.
            settled: What is proposed. Where a record is settled without ``retries``, a proposal with them
                adds them and changes nothing else.
            failed: Failed attempts, for those to come; one that is there (by key and log id) stays.
            used: The correlations that the proposals come from.
            now_ms: The time.

        Returns:
            By log id, for each of ``settled``: what holds.
        """
        ...


class Ledger(Identities, Memory, Protocol):
    """What is done. Every method but ``prune`` is one transaction: it happened whole, or not at all.

    Contract: ``open`` before anything else, ``close`` at the end; either twice does no harm. Any method may
    raise LedgerError with one clear line: the ledger can't be used, is not open, or the caller made a mistake
    that would lose time (windows that overlap). Calls from several tasks of one event loop are safe.

    A call whose task is cancelled has happened whole or not at all; which of the two is not known. To do it
    again is harmless.

    A ledger that turns out to be corrupt while it is in use is set aside: that call raises LedgerError, and
    the next one finds an empty ledger. What was planned from the old one must not reach the new one, or time
    would be left out; so windows of a project are refused (LedgerError) until its watermark is asked for.

    Kept values are bounded: a record's ``time_ms`` to 62 bits, a message to one line of 500 characters.
    """

    async def open(self) -> None:
        """Make the ledger usable: create it, migrate it, or set a corrupt one aside and start anew.

        Raises:
            LedgerError: It can't be used, another process has it, or a newer program has written it.
        """
        ...

    async def close(self) -> None:
        """Let go of it, once the calls that were made before are done."""
        ...

    # ── windows ──────────────────────────────────────────────────────────────────────────────────────
    async def watermark_ms(self, project: str, lane: Lane) -> int | None:
        """Up to where the lane has been collected without a gap.

        Returns:
            The end of the unbroken run of collected windows (``passes`` 1 or more, each beginning where the
            one before ends) that starts with the lane's earliest window. The earliest window's start where
            that one is only planned. None where the lane has no windows.
        """
        ...

    async def windows(
        self, project: str, lane: Lane, *, from_ms: int | None = None, to_ms: int | None = None
    ) -> list[Window]:
        """The lane's windows that share time with ``[from_ms, to_ms)``, in order of time."""
        ...

    async def due_windows(self, project: str, lane: Lane, now_ms: int, limit: int = 1000) -> list[Window]:
        """The first ``limit`` windows, in order of time, whose next pass is due at ``now_ms``."""
        ...

    async def add_windows(self, windows: Sequence[Window]) -> None:
        """Plan windows (a backfill's).

        One that shares time with a window of its lane, or with one earlier in ``windows``, is left out.

        Raises:
            LedgerError: A window has no length.
        """
        ...

    async def replace_windows(self, old: Sequence[Window], new: Sequence[Window]) -> None:
        """Split or merge: the new ones cover exactly the old ones' time, each moment once.

        Old windows are found by their start and end. One that the ledger does not hold is no error: a live
        window may be split before its first pass.

        Raises:
            LedgerError: The new ones cover other time, or share time with a window that is not replaced.
        """
        ...

    # ── records ──────────────────────────────────────────────────────────────────────────────────────
    async def known(self, project: str, log_ids: Collection[str]) -> set[str]:
        """Which of these ids are delivered or set aside, and so need nothing from a list's pass."""
        ...

    async def commit(
        self,
        project: str,
        *,
        delivered: Sequence[DeliveredRecord] = (),
        set_aside: Sequence[SetAside] = (),
        window: Window | None = None,
        replaces: Sequence[Window] = (),
    ) -> None:
        """What an acknowledged batch leaves, and with the last batch of a pass the window it completes.

        A delivered id leaves the set-aside list, and never enters it; an id that is there twice stays as it
        was delivered first, and what was settled for it is forgotten. A record set aside again takes the new
        values, but for ``since_ms``.
        ``window`` takes the place of ``replaces`` (found by start and end) and of a row with its own start.

        Raises:
            LedgerError: ``window`` has no length, is another project's, or shares time with a window that it
                does not replace; or one of ``replaces`` is not there any more. Nothing is kept of the call.
        """
        ...

    async def set_aside(
        self, project: str, *, due_ms: int | None = None, limit: int = 1000
    ) -> list[SetAside]:
        """What is set aside, by ``time_ms``; with ``due_ms`` only what should be tried again by then."""
        ...

    async def put_back(self, project: str, log_ids: Collection[str] | None, now_ms: int) -> int:
        """Make set-aside records (all, or these) due again now; returns how many."""
        ...

    async def tool_calls(self, project: str, from_ms: int, to_ms: int) -> ToolCalls:
        """How many tool calls with a time in ``[from_ms, to_ms)`` are delivered or set aside.

        Exact while their ids are kept. Of ids that ``prune`` has forgotten, a count for each UTC day remains:
        a range that cuts through the forgotten part of a day has bounds, and so has one into whose forgotten
        part something came later (delivered or set aside), since that may be new or the same again.
        """
        ...

    async def prune(self, project: str, before_ms: int, now_ms: int) -> int:
        """Keep the ledger small: call it now and then. It works in steps, between which other calls go on.

        * Delivered ids older than ``before_ms`` that no open window covers (with a second around it, since
          passes overlap) are forgotten. Their count in ``status`` and ``tool_calls`` stays.
        * Sealed windows of a lane that adjoin within one UTC day become one, with the sum of their records.
        * What was settled for records that were never delivered is dropped once it was settled before
          ``before_ms``; failed attempts that were noted more than an hour before ``now_ms``.
        * Sealed windows older than 400 days, and records set aside for longer, are dropped: the source keeps
          logs for a year. Their age is counted from ``now_ms`` or the project's newest window, whichever is
          earlier, so that a clock that jumps ahead drops nothing.

        Returns:
            How many ids were forgotten.
        """
        ...

    # ── correlations ─────────────────────────────────────────────────────────────────────────────────
    async def register(self, correlations: Sequence[Correlation], now_ms: int) -> list[Registration]:
        """Keep where calls belong; the answers come in the order of the correlations.

        The first span that is registered for a key stays until it expires; the same one again only expires
        later. One for a log id that is settled or delivered is ``KNOWN`` where the record stands under that
        very span, else ``LATE``, and not kept: nothing that went out changes. Whether one for a request id
        is late can't be known.
        At most ``MOST_CORRELATIONS`` are kept: beyond it those go first that were used, then those that
        expire soonest. One that has expired counts as absent.
        """
        ...

    async def expire_correlations(self, now_ms: int) -> int:
        """Drop what has expired; returns how many of them no record ever used."""
        ...

    # ── state for people ─────────────────────────────────────────────────────────────────────────────
    async def note_success(self, project: str, now_ms: int) -> None:
        """A pass ended well."""
        ...

    async def note_error(self, project: str, message: str, now_ms: int) -> None:
        """A poll or a delivery failed; the message is one line without secrets."""
        ...

    async def note_verification(self, project: str, verification: Verification) -> None:
        """Keep the result of a comparison with the source in the place of the last one."""
        ...

    async def status(self, projects: Sequence[str]) -> list[ProjectStatus]:
        """What is known of these projects in their order, then of others that the ledger holds by name."""
        ...
