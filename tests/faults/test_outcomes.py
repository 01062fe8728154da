"""Whatever is wrong has a defined outcome and a line for a person: no traceback, no key, nothing lost."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from bridge_process import KEY, Finished
from chaotic_sink import TAKEN, Treatment, poisoned_by
from fault_stage import Stage, service, stage
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsPartialSuccess,
    ExportLogsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceResponse,
)
from recording_sink import HttpAnswer, Received

from otel_bridge.emulator import Fault, missing_at_first
from otel_bridge.emulator.app import DETAIL_PREFIX, LIST_PATH

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LOGS = 150
QUICK = {"OTEL_BRIDGE_SOURCE_TIMEOUT": "1s", "OTEL_BRIDGE_POLL_INTERVAL": "300ms"}
PATIENCE_S = 150  # machines are shared
pytestmark = pytest.mark.timeout(300)


def assert_line(done: Finished, *words: str, status: int = 1) -> str:
    """Exactly one line speaks to the person; gives it."""
    assert done.status == status, done
    assert "Traceback" not in done.out + done.err
    assert KEY not in done.out + done.err
    lines = [line for line in done.err.splitlines() if line.startswith("otel-bridge: ")]
    assert len(lines) == 1, done.err
    for word in words:
        assert word in lines[0]
    return lines[0]


# ── the ledger's disk ────────────────────────────────────────────────────────────────────────────────
@contextmanager
def mounted(folder: Path, options: str) -> Iterator[None]:
    """A small file system of its own, where the tests' user may mount one."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("this user may not mount a file system")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)  # noqa: S607 - the system's own


def enlarge(disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,size=50m", str(disk)], check=True)  # noqa: S607 - the system's own


async def test_a_full_disk(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    async with stage(tmp_path, logs=3_000, OTEL_BRIDGE_STATE=f"sqlite:///{disk}/ledger.db") as on:
        with mounted(disk, "size=300k"):
            done = await on.once()
            assert_line(done, "ledger.db", "the disk is full", "free some space", "OTEL_BRIDGE_STATE")
            enlarge(disk)
            await on.finish()
            on.assert_nothing_lost_and_nothing_differs()


async def test_a_service_survives_a_full_disk_and_goes_on_when_there_is_space(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    async with stage(
        tmp_path, logs=3_000, OTEL_BRIDGE_STATE=f"sqlite:///{disk}/ledger.db", settings=QUICK
    ) as on:
        with mounted(disk, "size=300k"):
            async with service(on) as running:
                await running.until_logged("the disk is full")
                enlarge(disk)
                await on.sink.until(lambda: on.sink.ids == on.ids, PATIENCE_S)
                await running.terminate()
            on.assert_nothing_lost_and_nothing_differs()


async def test_files_that_may_not_grow(tmp_path: Path) -> None:
    """The same without a file system of its own: the system refuses to write beyond a size."""
    async with stage(tmp_path, logs=3_000) as on:
        # A shell sets the limit, in blocks of 512 bytes: code of ours between fork and exec may hang, since
        # gRPC has threads here. What measures coverage would itself write a file beyond the size.
        run = ("env", *_unmeasured(), sys.executable, "-m", "otel_bridge", "run", "--once")
        async with service(on, command=("sh", "-c", 'ulimit -f 400 && exec "$@"', "sh", *run)) as running:
            async with asyncio.timeout(60):
                await running.process.wait()
            assert_line(Finished(running.process.returncode or 0, "", running.log), "ledger.db", "free space")
        await on.finish()
        on.assert_nothing_lost_and_nothing_differs()


def _unmeasured() -> list[str]:
    return [part for name in os.environ if name.startswith("COVERAGE_") for part in ("-u", name)]


async def test_a_folder_that_is_read_only(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    async with stage(tmp_path, logs=3, OTEL_BRIDGE_STATE=f"sqlite:///{disk}/ledger.db") as on:
        if os.geteuid() == 0:  # whom permissions do not stop
            with mounted(disk, "size=300k,ro"):
                done = await on.once()
        else:
            disk.mkdir(mode=0o555)
            done = await on.once()
        assert_line(done, str(disk), "writable", "OTEL_BRIDGE_STATE")
        assert on.sink.copies == 0


# ── the ledger's file ────────────────────────────────────────────────────────────────────────────────
async def test_a_locked_ledger(tmp_path: Path) -> None:
    async with stage(tmp_path, logs=LOGS) as on:
        await on.once()
        lock = on.locked_ledger()
        try:
            done = await on.once()
        finally:
            lock.close()
        assert_line(done, str(on.ledger), "locked by another program")
        await on.finish()
        assert on.sink.resent == 0


async def test_a_service_waits_for_a_locked_ledger(tmp_path: Path) -> None:
    async with stage(tmp_path, logs=LOGS, settings=QUICK) as on:
        async with service(on) as running:
            await on.sink.until(lambda: on.sink.ids == on.ids)
            lock = on.locked_ledger()
            try:
                on.go_live(20, 1, late_ms=(0, 1))
                await running.until_logged("locked by another program")
            finally:
                lock.close()
            await on.sink.until(lambda: len(on.sink.ids) > LOGS + 50)
            await on.calm_down()
            await running.terminate()
        await on.finish()
        on.assert_nothing_lost_and_nothing_differs()


async def test_a_corrupt_ledger(tmp_path: Path) -> None:
    async with stage(tmp_path, logs=LOGS) as on:
        await on.once()
        on.ledger.write_bytes(b"not a database at all" * 400)
        done = await on.once()
        assert done.status == 0, done
        assert "was damaged" in done.err
        assert "is now" in done.err
        assert "Traceback" not in done.err
        assert on.sink.resent  # built anew from the source: the same ids, the same bytes
        on.assert_nothing_lost_and_nothing_differs()


# ── the destination ──────────────────────────────────────────────────────────────────────────────────
HTML = {"content-type": "text/html"}


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (HttpAnswer(200, b"<html>Sign in</html>", HTML), ("200 with text/html", "wrong endpoint?")),
        (HttpAnswer(200, b"all is well", {"content-type": "text/plain"}), ("200 with text/plain",)),
        (
            HttpAnswer(307, headers={"location": "https://otlp.example.invalid/v1/x?token=t0ken"}),
            ("307, moved to https://otlp.example.invalid/v1/x",),
        ),
    ],
)
async def test_a_destination_that_lies(tmp_path: Path, answer: HttpAnswer, words: tuple[str, ...]) -> None:
    async with stage(tmp_path, logs=LOGS) as on:
        on.sink.policy = lambda _: Treatment(answer, keeps=False)
        done = await on.once()
        line = assert_line(done, "not everything was delivered", *words)
        assert "t0ken" not in line
        assert done.out.strip() == "0 records delivered"
        on.sink.policy = lambda _: TAKEN
        await on.finish()
        on.assert_nothing_lost_and_nothing_differs()


async def test_a_destination_that_takes_a_part_only(tmp_path: Path) -> None:
    """It rejects everything by a partial success: said, set aside, and never taken for delivered."""
    async with stage(tmp_path, logs=40) as on:
        on.sink.policy = _rejecting
        done = await on.once()
        assert_line(done, "40 records set aside", "refused")
        assert on.sink.ids == set()


async def test_one_record_that_makes_a_destination_refuse_costs_no_other(tmp_path: Path) -> None:
    async with stage(tmp_path, logs=LOGS) as on:
        poison = sorted(on.ids)[7]
        on.sink.policy = poisoned_by({poison})
        done = await on.once()
        assert_line(done, "1 record set aside")
        assert f"{LOGS - 1} records delivered" in done.out
        on.assert_nothing_lost_and_nothing_differs(but=frozenset({poison}))
        assert on.sink.resent == 0


def _rejecting(received: Received) -> Treatment:
    many = 1_000_000
    body = (
        ExportTraceServiceResponse(
            partial_success=ExportTracePartialSuccess(rejected_spans=many, error_message="too old")
        )
        if received.signal == "traces"
        else ExportLogsServiceResponse(
            partial_success=ExportLogsPartialSuccess(rejected_log_records=many, error_message="too old")
        )
    ).SerializeToString()
    return Treatment(HttpAnswer(body=body), keeps=False)


# ── the source ───────────────────────────────────────────────────────────────────────────────────────
LISTS = [
    (Fault(cursor_cycle=1), ("a cursor that came before",)),
    (Fault(cursor_cycle=2), ("a cursor that came before",)),
    (Fault(html=True), ("a page of HTML",)),
    (Fault(cut_json=True), ("ends too early",)),
    (Fault(truncate=True), ("ended too early",)),
    (Fault(drip=True), ("no whole answer", "within 1 s")),
    (Fault(hang=True), ("no whole answer", "within 1 s")),
    (Fault(status=503), ("503",)),
]
DETAILS = [
    (Fault(status=404), "not found"),
    (Fault(status=400), "source failed"),
    (Fault(html=True), "source failed"),
    (Fault(cut_json=True), "source failed"),
    (Fault(other_record=True), "unreadable"),
]
NEVER_ANSWERED = [Fault(drip=True), Fault(hang=True), Fault(reset=True)]


async def test_a_list_that_can_not_be_had(tmp_path: Path) -> None:
    async def play(number: int, fault: Fault, words: tuple[str, ...]) -> None:
        async with stage(folder(tmp_path, number), logs=LOGS, settings=QUICK) as on:
            on.fault = lambda path, _: fault if path == LIST_PATH else None
            assert_line(await on.once(), "not everything was delivered", *words)
            assert on.requests < 60  # no hot loop
            await on.calm_down()
            await on.finish()
            on.assert_nothing_lost_and_nothing_differs()

    # Side by side: most of the time goes to the waits between tries.
    async with asyncio.TaskGroup() as plays:
        for number, each in enumerate(LISTS):
            plays.create_task(play(number, *each))


async def test_a_detail_that_can_not_be_had_costs_no_other(tmp_path: Path) -> None:
    async with asyncio.TaskGroup() as plays:
        for number, (fault, reason) in enumerate(DETAILS):
            plays.create_task(one_bad_detail(folder(tmp_path, number), fault, reason))


async def test_a_detail_that_is_never_answered_costs_no_other(tmp_path: Path) -> None:
    async with asyncio.TaskGroup() as plays:
        for number, fault in enumerate(NEVER_ANSWERED):
            plays.create_task(one_bad_detail(folder(tmp_path, number), fault, "source failed"))


async def one_bad_detail(where: Path, fault: Fault, reason: str) -> None:
    async with stage(where, logs=LOGS, settings=QUICK) as on:
        # Nobody's parent, so that nobody else is concerned.
        bad = next(log_id for log_id in sorted(on.ids) if is_leaf(on, log_id))
        on.fault = lambda path, _: fault if path == f"{DETAIL_PREFIX}{bad}" else None
        assert_line(await on.once(), "1 record set aside", reason)
        on.assert_nothing_lost_and_nothing_differs(but=frozenset({bad}))


def folder(below: Path, number: int) -> Path:
    made = below / str(number)
    made.mkdir()
    return made


async def test_details_that_appear_late(tmp_path: Path) -> None:
    async with stage(tmp_path, logs=40) as on:
        on.fault = missing_at_first(2)
        await on.finish()
        on.assert_nothing_lost_and_nothing_differs()


async def test_bodies_of_5_mb(tmp_path: Path) -> None:
    async with stage(tmp_path, logs=40) as on:
        large = set(sorted(on.ids)[:6])
        on.fault = lambda path, _: (
            Fault(padding_bytes=5_000_000) if path.removeprefix(DETAIL_PREFIX) in large else None
        )
        done = await on.once()
        assert (done.status, done.out.strip()) == (0, "40 records delivered"), done.err
        on.assert_nothing_lost_and_nothing_differs()


@pytest.mark.parametrize("retry_after_s", [1, None])
async def test_too_many_requests(tmp_path: Path, retry_after_s: int | None) -> None:
    """A 429 is obeyed by every request, not only by the one that met it."""
    async with stage(tmp_path, logs=LOGS) as on:
        on.fault = lambda _, number: Fault(status=429, retry_after_s=retry_after_s) if number == 5 else None
        done = await on.once()
        assert (done.status, done.out.strip()) == (0, f"{LOGS} records delivered"), done.err
        assert on.source.api.stats()["statuses"]["429"] == 1


def is_leaf(on: Stage, log_id: str) -> bool:
    records = [on.source.store.get(each) for each in on.ids]
    return not any(record and f'"log_id":"{log_id}"'.encode() in record.entry for record in records)
