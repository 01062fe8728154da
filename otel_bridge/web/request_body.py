"""A request's body on its way in: bounded, and read to its end before a refusal goes out.

A connection that is closed while bytes of a request wait unread is reset, and the caller gets the reset in
place of the answer (RFC 9112, 9.6). So what is left of a refused body is read and forgotten, within bounds.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from starlette.types import Message, Receive, Scope

MOST_BODY_BYTES: Final = 1_048_576
MOST_DRAINED_BYTES: Final = 33_554_432
DRAIN_S: Final = 3.0


class TooLargeError(Exception):
    """The body is larger than it may be."""


class RequestBody:
    """Hands on a body, message by message.

    Args:
        scope: The request's.
        receive: Where its messages come from.
    """

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self._receive = receive
        self._size = 0
        self._ended = False
        # Who sends this waits for a word before it sends the body, and sends none after a refusal.
        self._held_back = any(name == b"expect" for name, _ in scope["headers"])

    async def receive(self) -> Message:
        """The next message.

        Raises:
            TooLargeError: The body has more than ``MOST_BODY_BYTES``.
        """
        message = await self._next()
        if self._size > MOST_BODY_BYTES:
            raise TooLargeError
        return message

    async def drain(self) -> None:
        """Read what is left, unless it is too much or too slow."""
        if self._held_back:
            return
        try:
            async with asyncio.timeout(DRAIN_S):
                while not self._ended and self._size <= MOST_DRAINED_BYTES:
                    await self._next()
        except TimeoutError:
            return

    async def _next(self) -> Message:
        message = await self._receive()
        self._held_back = False
        self._size += len(message.get("body", b""))
        self._ended = message["type"] != "http.request" or not message.get("more_body", False)
        return message
