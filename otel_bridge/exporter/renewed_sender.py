"""A sender that is made anew when a file changes that its destination refers to."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from otel_bridge.errors import DestinationError, DestinationRefused, SettingsError
from otel_bridge.exporter.sender import NoAnswer

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_bridge.exporter.destination import Destination
    from otel_bridge.exporter.sender import Answer, Sender
    from otel_bridge.file_values import Renewable


class RenewedSender:
    """Sends with the headers and certificates that the files hold now.

    A new sender has new connections, so what was verified by the files before is used no more. Requests in
    flight end on the sender that they have.

    Args:
        destination: Where to; another object when a file has changed.
        make: Makes a sender.
    """

    def __init__(self, destination: Renewable[Destination], make: Callable[[Destination], Sender]) -> None:
        self._destination = destination
        self._make = make
        self._made_for = destination.get()
        self._sender = make(self._made_for)
        self._in_flight: Counter[Sender] = Counter()

    async def send(self, body: bytes) -> Answer:
        """Send a serialised request; see `Sender.send`.

        A request that fails is sent once more where a file has changed meanwhile: the peer may have renewed
        what it asks for at the same time.
        """
        sender = await self._renewed(self._destination.get())
        try:
            answer = await self._sent(sender, body)
        except DestinationError as error:
            newer = await self._renewed(self._destination.look())
            if newer is sender:
                if isinstance(error, DestinationRefused):
                    error.key_may_change = True
                raise
        else:
            if not isinstance(answer, NoAnswer):  # which is how a client's certificate is refused, too
                return answer
            newer = await self._renewed(self._destination.look())
            if newer is sender:
                return answer
        return await self._sent(newer, body)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._sender.aclose()

    async def _renewed(self, destination: Destination) -> Sender:
        if destination is self._made_for:
            return self._sender
        try:
            made = self._make(destination)
        except SettingsError:
            return self._sender  # a file has changed again since it was tried: the next request tries anew
        old, self._sender, self._made_for = self._sender, made, destination
        if not self._in_flight[old]:
            await old.aclose()
        return self._sender

    async def _sent(self, sender: Sender, body: bytes) -> Answer:
        self._in_flight[sender] += 1
        try:
            return await sender.send(body)
        finally:
            self._in_flight[sender] -= 1
            if not self._in_flight[sender]:
                del self._in_flight[sender]
                if sender is not self._sender:
                    await sender.aclose()
