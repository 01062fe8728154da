"""The program as a user starts it: real processes, an environment of their own, real signals."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

KEY = "ak_e2e_secret_key"
_URL = re.compile(r"http://[0-9.]+:\d+")
_FOREIGN = ("OTEL_", "COMPOSIO_")


@dataclass(frozen=True)
class Finished:
    """A process that has ended."""

    status: int
    out: str
    err: str


def environment(folder: Path, **variables: str) -> dict[str, str]:
    """A clean environment whose ledger is in ``folder``."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
    return {
        **inherited,
        "OTEL_BRIDGE_STATE": f"sqlite:///{folder}/ledger.db",
        "OTEL_BRIDGE_LISTEN": "",
        "HOME": str(folder),
        "COLUMNS": "100",
        **variables,
    }


async def start(*arguments: str, env: dict[str, str]) -> asyncio.subprocess.Process:
    """Start ``otel-bridge`` with these arguments."""
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "otel_bridge",
        *arguments,
        env=env,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        limit=1 << 24,
    )


async def finish(process: asyncio.subprocess.Process, timeout_s: float = 120) -> Finished:
    """Wait for its end, and kill it where that does not come."""
    try:
        async with asyncio.timeout(timeout_s):
            out, err = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        raise
    assert process.returncode is not None
    return Finished(process.returncode, out.decode(), err.decode())


async def run(*arguments: str, env: dict[str, str], timeout_s: float = 120) -> Finished:
    """Run ``otel-bridge`` to its end."""
    return await finish(await start(*arguments, env=env), timeout_s)


@asynccontextmanager
async def emulator(*arguments: str, folder: Path) -> AsyncIterator[str]:
    """``otel-bridge emulate`` on a free port; gives its address."""
    process = await start("emulate", "--port", "0", *arguments, env=environment(folder))
    try:
        assert process.stdout is not None
        async with asyncio.timeout(60):
            line = (await process.stdout.readline()).decode()
        found = _URL.search(line)
        assert found is not None, line
        yield found.group()
    finally:
        process.terminate()
        await finish(process, 15)
