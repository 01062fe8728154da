"""No variables, addresses, proxies, answers and words together lead to a traceback, or to "unforeseen"."""

from __future__ import annotations

import contextlib
import io
import logging
import os
from typing import TYPE_CHECKING
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import settings as examples
from odd_cases import Case, cases, is_foreseen, placed
from odd_server import OddServer

from otel_bridge.cli.main import run
from otel_bridge.environment import prepare
from otel_bridge.times import SystemClock

if TYPE_CHECKING:
    from collections.abc import Iterator


class Hurried(SystemClock):
    """Sleeps no longer than a turn of the loop, and is as much later afterwards."""

    ahead_s = 0.0

    def now_ms(self) -> int:
        return super().now_ms() + round(self.ahead_s * 1000)

    def monotonic_s(self) -> float:
        return super().monotonic_s() + self.ahead_s

    async def sleep(self, seconds: float) -> None:
        type(self).ahead_s += max(seconds, 0)
        await super().sleep(0.001)


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[OddServer, OddServer]]:
    with OddServer() as source, OddServer() as sink:
        yield source, sink


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("commands", "check", "worker", "verify", "ledger", "past"):
        monkeypatch.setattr(f"otel_bridge.cli.{module}.SystemClock", Hurried)


class _Remarks(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(record.getMessage())


def printed(arguments: list[str], environ: dict[str, str]) -> tuple[int, str]:
    """Run a command in this environment alone; its status, and all that it says."""
    said = io.StringIO()
    remarks = _Remarks()
    asyncio_log = logging.getLogger("asyncio")
    asyncio_log.addHandler(remarks)
    try:
        with (
            mock.patch.dict(os.environ, environ, clear=True),
            contextlib.redirect_stdout(said),
            contextlib.redirect_stderr(said),
        ):
            prepare(os.environ)
            status = run(arguments)
    finally:
        asyncio_log.removeHandler(remarks)
    return status, said.getvalue() + "\n".join(remarks.said)


@pytest.mark.usefixtures("hurried")
@examples(max_examples=150)
@given(case=cases)
def test_nothing_is_unforeseen(
    servers: tuple[OddServer, OddServer], tmp_path_factory: pytest.TempPathFactory, case: Case
) -> None:
    folder = tmp_path_factory.mktemp("odd")
    arguments, environ = placed(case, *servers, folder)
    with contextlib.chdir(folder):
        status, said = printed(arguments, environ)
    assert is_foreseen(status, said), said
