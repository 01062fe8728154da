"""How much more several replicas collect: 1, 2 and 4 of them against a source that takes 50 ms an answer.

Each project has a request budget of its own and one request in flight, so that a replica is limited by how
many projects it collects at once, not by its processor: 16, or 4 with ``--slim``, so that four replicas fit
on two cores. Printed are details a second between the first and the last fifth, the share of linear growth,
and the cores that the replicas and all of this machine keep busy: where the latter end, more replicas can't
help, and the number says nothing of the bridge.

    python tests/bench/replicas.py [RECORDS_A_PROJECT] [--slim]
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from processes import at_most
from replica_stage import ReplicaProcess, replica_stage

PROJECTS = 64
LATENCY_MS = 50
REPLICAS = (1, 2, 4)


async def measure(replicas: int, records: int, *, slim: bool) -> tuple[float, float, float]:
    """Details a second, and the cores that replicas and machine were busy with."""
    with tempfile.TemporaryDirectory() as folder:
        limits = {"OTEL_BRIDGE_CONCURRENCY": "1", "OTEL_BRIDGE_LEASE": "15s"}
        async with replica_stage(
            Path(folder), projects=PROJECTS, records=PROJECTS * records, latency_ms=LATENCY_MS, **limits
        ) as stage:
            if slim:
                stage.program = (str(Path(__file__).with_name("slim_replica.py")),)
            alive = [await stage.start() for _ in range(replicas)]
            count = len(stage.ids)

            # The destination is reached in batches; what the source is asked for grows evenly.
            def details() -> int:
                return int(stage.source.api.stats()["requests"]["detail"])

            await stage.sink.until(lambda: details() >= count * 0.2, 600)
            began_s, before = time.monotonic(), details()
            spent_s, machine_s = sum(map(cpu_s, alive)), machine_cpu_s()
            await stage.sink.until(lambda: details() >= count * 0.8, 600)
            took_s = time.monotonic() - began_s
            rate = (details() - before) / took_s
            cores = (sum(map(cpu_s, alive)) - spent_s) / took_s
            return rate, cores, (machine_cpu_s() - machine_s) / took_s


def machine_cpu_s() -> float:
    """Processor time of everything on the machine so far, in seconds."""
    user, nice, system, _, _, irq, soft = map(int, Path("/proc/stat").read_text().split()[1:8])
    return (user + nice + system + irq + soft) / os.sysconf("SC_CLK_TCK")


def cpu_s(replica: ReplicaProcess) -> float:
    """Processor time of a process so far, in seconds."""
    fields = Path(f"/proc/{replica.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Measure and print."""
    slim = "--slim" in sys.argv
    at_most(60)
    records = next((int(each) for each in sys.argv[1:] if each.isdecimal()), 300)
    alone = 0.0
    print(f"{PROJECTS} projects, {records:,} records each, {LATENCY_MS} ms latency, {os.cpu_count()} cores")
    print("replicas  details/s  of linear  cores of replicas  cores in all")
    for replicas in REPLICAS:
        rate, cores, machine = asyncio.run(measure(replicas, records, slim=slim))
        alone = alone or rate
        print(f"{replicas:8}  {rate:9.0f}  {rate / alone / replicas:9.2f}  {cores:17.2f}  {machine:12.2f}")


if __name__ == "__main__":
    main()
