"""One process's ways to the ledger, the destination and the source, which may fail or be cut at any call."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import httpx

from otel_bridge.errors import DestinationUnavailable, LedgerError
from otel_bridge.ledger import SqliteLedger
from otel_bridge.signals import Delivery, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from collection_world import World

PAGE_RECORDS: Final = 3
_WRITES: Final = frozenset({"add_windows", "replace_windows", "commit", "prune"})


class Crash(BaseException):
    """The process is gone: no handler of the program may run on."""


@dataclass(slots=True)
class Peril:
    """What goes wrong at one of the next calls.

    Attributes:
        door: ``ledger`` or ``destination``.
        call: Which one: 1 for the next.
        after: Whether the call has had its effect by then.
        crash: Whether the process ends; else the call fails.
    """

    door: str
    call: int
    after: bool
    crash: bool


class InlineSqlite(SqliteLedger):
    """The SQLite ledger without its thread, because simulated time does not wait for threads."""

    async def _on_thread(self, job: Callable[[], Any]) -> Any:
        return job()

    async def close(self) -> None:
        if self._thread is not None:
            self._thread.shutdown()
            self._thread = None
        self._file.close()


class Life:
    """One process: its doors close for good when it dies."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.dead = False

    async def pass_through(self, door: str, effect: Callable[[], Any]) -> Any:
        await asyncio.sleep(0)  # a crash may come here,
        self.check()
        peril = self.world.peril_at(door)
        if peril is not None and not peril.after:
            self.fail(peril)
        result = await effect()
        if peril is not None:
            self.fail(peril)
        await asyncio.sleep(0)  # and here
        self.check()
        return result

    def check(self) -> None:
        if self.dead:
            raise Crash

    def fail(self, peril: Peril) -> None:
        self.world.incidents += 1
        if peril.crash:
            self.dead = True
            raise Crash
        if peril.door == "ledger":
            raise LedgerError("database is locked")
        raise DestinationUnavailable("the answer was lost")


class LedgerDoor:
    """The ledger as one life sees it."""

    def __init__(self, life: Life) -> None:
        self._life = life

    def __getattr__(self, name: str) -> Any:
        world = self._life.world
        getattr(world.ledger, name)  # it has no more than the ledger behind it

        async def call(*args: Any, **more: Any) -> Any:
            async def effect() -> Any:
                result = await getattr(world.ledger, name)(*args, **more)
                if name in _WRITES:
                    await world.check_windows()
                return result

            return await self._life.pass_through("ledger", effect)

        return call


class DestinationDoor:
    """The destination as one life sees it."""

    def __init__(self, life: Life) -> None:
        self._life = life

    async def export(self, deliveries: Sequence[Delivery]) -> Outcome:
        world = self._life.world

        async def effect() -> Outcome:
            while world.clock.monotonic_s() < world.outage_until_s:
                if not world.outage_blocks:
                    raise DestinationUnavailable("503")
                await world.clock.sleep(world.outage_until_s - world.clock.monotonic_s())
                self._life.check()
            await world.acknowledge(deliveries)
            return Outcome(delivered=[each.key for each in deliveries])

        outcome: Outcome = await self._life.pass_through("destination", effect)
        return outcome

    async def aclose(self) -> None:
        pass


def _name_of(request: httpx.Request) -> str:
    if request.method == "GET":
        return request.url.path.rpartition("/")[2]
    return "usage" if request.url.path.endswith("/usage/summary") else "list"


class Source(httpx.AsyncBaseTransport):
    """The emulated source with small pages, delays and troubles."""

    def __init__(self, world: World, app: Any) -> None:
        self._world = world
        self._app = httpx.ASGITransport(app)
        self.latency_s = 0.0
        self.listed_to: list[int] = []
        self.trouble: dict[str, list[str]] = {}
        """What happens to the next requests, by log id, or by ``list`` or ``usage``."""
        self.delays_s: dict[str, list[float]] = {}
        """How long the next answers take, in seconds, by the same names."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        name = _name_of(request)
        if name == "list":
            wanted = json.loads(request.content)
            self.listed_to.append(wanted["time_range"]["to"])
            await self._world.check_listed(**wanted["time_range"])
            request = httpx.Request(
                "POST", request.url, headers={"x-api-key": "ak_test"}, json=wanted | {"limit": PAGE_RECORDS}
            )
        delays_s = self.delays_s.get(name)
        delay_s = delays_s.pop(0) if delays_s else self.latency_s
        if delay_s:
            await self._world.clock.sleep(delay_s)
        troubles = self.trouble.get(name)
        trouble = troubles.pop(0) if troubles else ""
        if trouble == "timeout":
            raise httpx.ReadTimeout("", request=request)
        if trouble == "html":
            return httpx.Response(200, html="<html>a gateway</html>")
        if trouble:
            return httpx.Response(int(trouble), json={"error": {"message": "trouble"}})
        return await self._app.handle_async_request(request)
