"""A sender is made anew when a file of its destination changes, and nothing in flight is cut off."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from otel_bridge.errors import DestinationRefused
from otel_bridge.exporter import tls
from otel_bridge.exporter.destination import Destination, Protocol, Signal
from otel_bridge.exporter.renewed_sender import RenewedSender
from otel_bridge.exporter.sender import Accepted

if TYPE_CHECKING:
    from otel_bridge.exporter.sender import Answer


def destination(token: str) -> Destination:
    return Destination(Signal.TRACES, Protocol.HTTP, "http://localhost", headers=(("token", token),))


class Files:
    """A destination whose file is looked at only when it is told to."""

    def __init__(self) -> None:
        self.seen = self.now = destination("old")

    def get(self) -> Destination:
        return self.seen

    def look(self) -> Destination:
        self.seen = self.now
        return self.seen


class Peer:
    """Takes requests with one token, and makes the senders."""

    def __init__(self, takes: str) -> None:
        self.takes = takes
        self.made: list[FakeSender] = []

    def sender(self, to: Destination) -> FakeSender:
        self.made.append(FakeSender(self, dict(to.headers)["token"]))
        return self.made[-1]


class FakeSender:
    def __init__(self, peer: Peer, token: str) -> None:
        self.peer = peer
        self.token = token
        self.closed = 0
        self.go_on = asyncio.Event()
        self.go_on.set()

    async def send(self, _body: bytes) -> Answer:
        await self.go_on.wait()
        assert not self.closed
        if self.token != self.peer.takes:
            raise DestinationRefused("401")
        return Accepted()

    async def aclose(self) -> None:
        self.closed += 1


async def test_a_change_makes_a_new_sender_and_closes_the_old_one() -> None:
    files, peer = Files(), Peer("old")
    sender = RenewedSender(files, peer.sender)
    assert await sender.send(b"") == Accepted()
    files.now, peer.takes = destination("newer"), "newer"
    files.look()
    assert await sender.send(b"") == Accepted()
    assert await sender.send(b"") == Accepted()
    assert [each.closed for each in peer.made] == [1, 0]
    await sender.aclose()
    assert [each.closed for each in peer.made] == [1, 1]


async def test_a_refused_request_is_sent_again_where_the_file_has_changed() -> None:
    files, peer = Files(), Peer("newer")
    sender = RenewedSender(files, peer.sender)
    files.now = destination("newer")
    assert await sender.send(b"") == Accepted()


async def test_a_refused_request_stays_refused_where_no_file_has_changed() -> None:
    peer = Peer("another")
    sender = RenewedSender(Files(), peer.sender)
    with pytest.raises(DestinationRefused) as refused:
        await sender.send(b"")
    assert len(peer.made) == 1
    assert refused.value.key_may_change, "so that it is tried again soon"


async def test_a_request_in_flight_ends_on_the_sender_that_it_has() -> None:
    files, peer = Files(), Peer("old")
    sender = RenewedSender(files, peer.sender)
    peer.made[0].go_on.clear()
    slow = asyncio.create_task(sender.send(b""))
    await asyncio.sleep(0)
    files.now = destination("newer")
    files.look()
    with pytest.raises(DestinationRefused):
        await sender.send(b"")
    assert peer.made[0].closed == 0
    peer.made[0].go_on.set()
    assert await slow == Accepted()
    assert [each.closed for each in peer.made] == [1, 0]


async def test_files_that_change_again_while_they_are_read_leave_the_old_sender() -> None:
    files, peer = Files(), Peer("old")
    broken = True

    def make(to: Destination) -> FakeSender:
        if broken and to is not first:
            raise tls.Unusable("tls.key", "no pair")
        return peer.sender(to)

    first = files.get()
    sender = RenewedSender(files, make)
    files.now = destination("newer")
    files.look()
    assert await sender.send(b"") == Accepted()
    broken, peer.takes = False, "newer"
    assert await sender.send(b"") == Accepted()
