"""The processes of a benchmark: servers, a running bridge, and programs that are watched to their end.

Every wait has a bound. What takes longer is ended, and the benchmark ends with a line that says which process
it was, how far it had come, and the last that it printed.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import select
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

HERE = Path(__file__).parent
STALL_S = 30.0
"""A program that asks the source for nothing for so long is ended."""
_URL = re.compile(r"http://[0-9.]+:\d+")
_URL_ACTION = "endpoints"
_START_S = 120
_STOP_S = 30
_POLL_S = 0.05
_COUNT_EVERY_S = 1.0
_TOLD = 2000
"""Characters of a program's output that an error shows."""


def at_most(minutes: float) -> None:
    """Let this process end with a line, and with what it has started, where it takes longer.

    For use in the main thread, before anything is started.
    """

    def end(*_: object) -> None:
        sys.exit(f"{Path(sys.argv[0]).name} took longer than {minutes:g} minutes")

    signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, minutes * 60)


@contextmanager
def server(*command: str) -> Iterator[str]:
    """A server that prints its address; stopped at the end."""
    process = subprocess.Popen([sys.executable, *command], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        ready, _, _ = select.select([process.stdout], [], [], _START_S)
        found = _URL.search(process.stdout.readline()) if ready else None
        if found is None:
            sys.exit(f"{' '.join(command)} printed no address within {_START_S} s")
        yield found.group()
    finally:
        stop(process)


def stop(process: subprocess.Popen[Any]) -> None:
    """Ask a process to end, and kill it where it does not within 30 s."""
    process.terminate()
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def requests(base_url: str) -> dict[str, int]:
    """How many requests the emulator has answered, by route of the API.

    Exits with a line where the emulator has ended.
    """
    try:
        with urllib.request.urlopen(f"{base_url}/emulator/stats", timeout=_START_S) as answer:
            counts: dict[str, int] = json.load(answer)["requests"]
    except (OSError, http.client.HTTPException) as error:
        sys.exit(f"the emulator at {base_url} does not answer any more: {error}")
    return counts


@dataclass(frozen=True)
class Ended:
    """A program that came to its end by itself.

    Attributes:
        output: What it printed, errors included.
        measured: What it says that it took, its last line with ``cpu_s``; empty where it has none.
        peak_mb: The most memory that it took; not below what this process takes, which stays small for that.
        requests: How many requests it made to the source.
    """

    output: str
    measured: dict[str, float]
    peak_mb: float
    requests: int


def run_to_end(
    who: str,
    command: Sequence[str],
    environ: Mapping[str, str],
    *,
    base_url: str,
    most_s: float,
    stall_s: float = STALL_S,
    watch: Callable[[int, int], None] | None = None,
) -> Ended:
    """Run a program until it ends by itself.

    Exits with a line that says what happened where it fails, takes longer than ``most_s``, or makes no
    request to the emulator for ``stall_s``.

    Args:
        who: Its name in messages.
        command: The program and its arguments.
        environ: Its environment.
        base_url: The emulator that it asks.
        most_s: How long it may take, in seconds.
        stall_s: How long it may ask for nothing, in seconds.
        watch: Called about once a second with its process id and its requests so far.
    """
    before = asked = sum(requests(base_url).values())
    began_s = progress_s = counted_s = time.monotonic()
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(command, env=environ, stdout=output, stderr=subprocess.STDOUT)
        wrong = ""
        try:
            while not (ended := os.wait4(process.pid, os.WNOHANG))[0]:
                now_s = time.monotonic()
                if now_s - counted_s >= _COUNT_EVERY_S:
                    counted_s, last = now_s, asked
                    asked = sum(requests(base_url).values())
                    progress_s = now_s if asked > last else progress_s
                    if watch is not None:
                        watch(process.pid, asked - before)
                if now_s - began_s > most_s:
                    wrong = f"took longer than {most_s:g} s"
                elif now_s - progress_s > stall_s:
                    wrong = f"asked for nothing for {stall_s:g} s"
                if wrong:
                    break
                time.sleep(_POLL_S)
            else:
                process.returncode = os.waitstatus_to_exitcode(ended[1])
        finally:
            if process.returncode is None:
                process.kill()
                process.wait()
        asked = sum(requests(base_url).values())
        output.seek(0)
        text = output.read()
    if process.returncode and not wrong:
        wrong = f"ended with status {process.returncode}"
    if wrong:
        sys.exit(
            f"{who} {wrong}, after {asked - before:,} requests. The last that it printed:\n{text[-_TOLD:]}"
        )
    lines = (each for each in reversed(text.splitlines()) if each.startswith("{") and '"cpu_s"' in each)
    line = next(lines, "{}")
    return Ended(text, json.loads(line), ended[2].ru_maxrss / 1024, asked - before)


def environment(base_url: str, sink: str, folder: str, **settings: str) -> dict[str, str]:
    """The environment of a bridge that collects from a source into a sink, with a ledger of its own.

    Args:
        base_url: The source.
        sink: The destination.
        folder: Where the ledger is.
        **settings: More of it.
    """
    others = {key: value for key, value in os.environ.items() if not key.startswith(("OTEL_", "COMPOSIO_"))}
    return others | {
        "COMPOSIO_API_KEY": "ak_bench",
        "COMPOSIO_BASE_URL": base_url,
        "OTEL_EXPORTER_OTLP_ENDPOINT": sink,
        "OTEL_BRIDGE_STATE": f"sqlite:///{folder}/ledger.db",
        **settings,
    }


def start_bridge(environ: dict[str, str], folder: str) -> subprocess.Popen[bytes]:
    """Start a bridge, which goes on until it is stopped. Its log is in the folder."""
    with _log(folder).open("w") as stream:
        return subprocess.Popen(
            [sys.executable, "-m", "otel_bridge", "run"], env=environ, stdout=stream, stderr=stream
        )


def must_run(process: subprocess.Popen[bytes], folder: str) -> None:
    """Exit with a line where a bridge has ended."""
    if process.poll() is not None:
        log = _log(folder).read_text()
        sys.exit(f"the bridge ended with status {process.returncode}. The last of its log:\n{log[-_TOLD:]}")


@contextmanager
def bridge(environ: dict[str, str], folder: str) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """A running bridge and the address of its endpoints; stopped at the end."""
    process = start_bridge(environ | {"OTEL_BRIDGE_LISTEN": "127.0.0.1:0"}, folder)
    try:
        yield process, _bridge_url(process, folder)
    finally:
        stop(process)


def _bridge_url(process: subprocess.Popen[bytes], folder: str) -> str:
    end_s = time.monotonic() + _START_S
    while time.monotonic() < end_s:
        must_run(process, folder)
        for line in _log(folder).read_text().splitlines():
            if line.startswith("{") and json.loads(line).get("action") == _URL_ACTION:
                return str(json.loads(line)["url"])
        time.sleep(0.1)
    sys.exit(f"the bridge did not start within {_START_S} s: {_log(folder).read_text()[-_TOLD:]}")


def _log(folder: str) -> Path:
    return Path(folder, "log")


def delivered(url: str) -> int:
    """How many records the bridge with endpoints there says are delivered."""
    with urllib.request.urlopen(f"{url}/api/status", timeout=_STOP_S) as answer:
        status = json.load(answer)
    return sum(project["delivered"] or 0 for project in status["projects"])
