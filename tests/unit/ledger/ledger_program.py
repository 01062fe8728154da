"""A program of its own beside the tests: it writes a ledger, reads one, or holds one open.

``write PATH FIRST`` commits batch after batch and prints the number of each one that is acknowledged.
``read PATH TIMES`` prints how many records were delivered, until it has seen so many different counts.
``hold PATH 0`` opens the ledger and waits for its input to end.
``small PATH BYTES`` writes on until a file would outgrow that size.
"""

from __future__ import annotations

import asyncio
import itertools
import resource
import sys
from pathlib import Path

from otel_bridge.errors import LedgerError
from otel_bridge.ledger import DeliveredRecord, Lane, SqliteLedger, Window
from otel_bridge.times import SystemClock

RECORDS = 7
MINUTE = 60_000


def say(line: object) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def batch(number: int) -> list[DeliveredRecord]:
    return [
        DeliveredRecord(f"log_{number}_{n}", number * MINUTE + n, bytes(16), bytes(8)) for n in range(RECORDS)
    ]


async def write(ledger: SqliteLedger, first: int) -> None:
    for number in itertools.count(first):
        done = Window("p", Lane.LIVE, number * MINUTE, (number + 1) * MINUTE, 1, 0, RECORDS)
        await ledger.commit("p", delivered=batch(number), window=done)
        say(number)


async def main(what: str, path: str, number: int) -> None:
    ledger = SqliteLedger(Path(path), SystemClock(), read_only=what == "read")
    await ledger.open()
    try:
        if what == "read":
            seen: set[int] = set()
            while len(seen) < number:
                [status] = await ledger.status(["p"])
                say(status.delivered)
                seen.add(status.delivered)
        elif what == "hold":
            say("open")
            await asyncio.to_thread(sys.stdin.read)
        elif what == "small":
            resource.setrlimit(resource.RLIMIT_FSIZE, (number, number))
            await write(ledger, 0)
        else:
            say("open")
            await write(ledger, number)
    finally:
        await ledger.close()


if __name__ == "__main__":
    try:
        asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
    except LedgerError as error:
        say(error)
        sys.exit(1)
