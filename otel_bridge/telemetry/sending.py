"""From the SDK's threads to the senders that tool calls go by.

So the bridge's own telemetry reaches whatever the tool calls reach: by the same proxies and certificates,
with new connections in place of those that were closed or went silent. It may be lost, which tool calls may
not: an export is tried again for a bounded time and then given up.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
from typing import TYPE_CHECKING, Any, Final, TypeVar

from otel_bridge.errors import DestinationError, DestinationRefused, DestinationUnavailable
from otel_bridge.exporter.sender import Accepted, NoAnswer, NotTaken, TooLarge
from otel_bridge.retry import Backoff

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from otel_bridge.exporter.sender import Sender
    from otel_bridge.telemetry.watched import Watch

_TRIES: Final = 2
"""An export takes as long as so many requests may take: one can come to its time on a silent connection."""
_BACKOFF: Final = Backoff(attempts=None)
_CLOSE_S: Final = 1.0

T = TypeVar("T")


class Sending:
    """Sends from the SDK's threads what is awaited on the event loop on which this was made.

    Args:
        sender: Sends one request.
        timeout_s: How long one request may take, in seconds.
        watch: Is told how each export went.
    """

    def __init__(self, sender: Sender, timeout_s: float, watch: Watch) -> None:
        self._sender = sender
        self._most_s = _TRIES * timeout_s + _BACKOFF.first_s
        self._watch = watch
        self._loop = asyncio.get_running_loop()
        self._ended = False
        self._in_flight: concurrent.futures.Future[DestinationError | None] | None = None

    def send(self, body: bytes) -> bool:
        """Send a serialised request, and again while that can help. Blocks: not for the event loop's thread.

        Returns:
            Whether it was taken.
        """
        if self._ended or self._loop.is_closed():
            return False
        self._in_flight = in_flight = self._begin(self._sent(body))
        try:
            # The bound is for a loop that has ended without a word; the sending has its own.
            error = in_flight.result(self._most_s + _CLOSE_S)
        except (TimeoutError, concurrent.futures.CancelledError):
            in_flight.cancel()
            return False
        finally:
            self._in_flight = None
        self._watch.ended(error)
        return error is None

    def close(self) -> None:
        """End what is being sent, and close the connections. As `send`; twice does no harm."""
        self._ended = True
        in_flight = self._in_flight
        if in_flight is not None:
            in_flight.cancel()
        if not self._loop.is_closed():
            # What does not close in time ends with the process.
            with contextlib.suppress(TimeoutError, concurrent.futures.CancelledError):
                self._begin(self._sender.aclose()).result(_CLOSE_S)

    def _begin(self, doing: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
        return asyncio.run_coroutine_threadsafe(doing, self._loop)

    async def _sent(self, body: bytes) -> DestinationError | None:
        """Send, and again where that can help; what is wrong at last."""
        error: DestinationError = DestinationUnavailable("no answer in time")
        failures = 0
        try:
            async with asyncio.timeout(self._most_s):
                while True:
                    try:
                        answer = await self._sender.send(body)
                    except DestinationUnavailable as failure:
                        error = failure
                    else:
                        if isinstance(answer, Accepted):
                            return None
                        if not _may_pass(answer):
                            return DestinationRefused(answer.message)
                        error = DestinationUnavailable(answer.message)
                    failures += 1
                    await asyncio.sleep(_BACKOFF.wait_s(failures, error.retry_after_s) or 0)
        except DestinationError as refusal:
            return refusal
        except TimeoutError:
            return error


def _may_pass(answer: NotTaken) -> bool:
    """Whether the same request may be taken later."""
    return isinstance(answer, NoAnswer) or (isinstance(answer, TooLarge) and not answer.certain)
