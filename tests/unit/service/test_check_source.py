"""``check``, the source: what its answers say of the rate limit, the clock and the counts."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest
from simulated_clock import SimulatedClock

from otel_bridge.emulator import EmulatorOptions, EmulatorServer
from otel_bridge.emulator.faults import Fault
from otel_bridge.errors import SettingsError, SourceBusy, SourceFailed, SourceRefused, SourceUnreachable
from otel_bridge.receiver.advice import advised
from otel_bridge.receiver.budget import Budget, Priority
from otel_bridge.service import check_source as checking
from otel_bridge.service.check_source import check_source
from otel_bridge.settings import load
from otel_bridge.times import SystemClock

if TYPE_CHECKING:
    from pathlib import Path

    from otel_bridge.receiver.client import LogsClient
    from otel_bridge.service.finding import Finding

SETTINGS = load(environ={"COMPOSIO_API_KEY": "ak_x"})
PROJECT = SETTINGS.projects[0]


async def rate(**headers: str) -> Finding:
    budget = Budget(0.5, SimulatedClock())
    await budget.acquire(Priority.HEAD)
    budget.observe(headers, 200)
    (finding,) = checking._rate(SETTINGS, PROJECT, budget)
    return finding


async def test_a_limit_names_the_plan_our_share_and_what_is_left() -> None:
    small = await rate(**{"x-ratelimit": "2000", "x-ratelimit-remaining": "1900"})
    assert small.state == "ok"
    assert "2,000 requests a minute (Composio's small plans)" in small.text
    assert "about 1,000 tool calls a minute; 1,900 are left now" in small.text
    large = await rate(**{"x-ratelimit": "10000", "x-ratelimit-window-size": "30s"})
    assert "in 30 s (Composio's large plans)" in large.text


async def test_others_that_use_the_limit_up_are_noted() -> None:
    finding = await rate(**{"x-ratelimit": "2000", "x-ratelimit-remaining": "10"})
    assert finding.state == "note"
    assert "10 are left now" in finding.text
    assert "OTEL_BRIDGE_RATE_SHARE" in finding.todo


async def test_no_limit_in_the_answers_is_noted() -> None:
    assert (await rate()).state == "note"


class _Client:
    def __init__(self, ahead_ms: int | None) -> None:
        self._ahead_ms = ahead_ms

    def clock_ahead_ms(self) -> int | None:
        return self._ahead_ms


SOURCE = "https://x"


@pytest.mark.parametrize(
    ("ahead_ms", "state", "words"),
    [
        (None, "note", "no Date"),
        (900, "ok", "agrees"),
        (-2_900, "ok", "agrees"),
        (12_000, "note", "12 s ahead of"),
        (-7_200_000, "fail", "2 h behind"),
    ],
)
def test_a_clock_that_differs_is_said_with_what_to_do(ahead_ms: int | None, state: str, words: str) -> None:
    (finding,) = checking._clock(PROJECT, cast("LogsClient", _Client(ahead_ms)))
    assert (finding.state, words in finding.text) == (state, True)
    assert ("NTP" in finding.todo) is (abs(ahead_ms or 0) > 3_000)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (SourceUnreachable("x"), "HTTPS_PROXY"),
        (SourceBusy("x"), "wait for a minute"),
        (SourceFailed("x"), "status page"),
        (SourceRefused("x", 401), "project API key"),
        (SourceRefused("x", 404), "mend COMPOSIO_BASE_URL"),
        (SourceRefused("x", 302), "mend COMPOSIO_BASE_URL"),
        (SourceRefused("x", 405), "mend COMPOSIO_BASE_URL"),
        (SourceRefused("x", 422), "report it"),
        (
            advised(SourceUnreachable("no connection to x (connection refused)"), SOURCE),
            "correct COMPOSIO_BASE_URL",
        ),
        (
            advised(SourceUnreachable("no connection to x (name or service not known)"), SOURCE),
            "resolve names",
        ),
        (advised(SourceUnreachable("no whole answer from x within 30 s"), SOURCE), "a firewall"),
        (advised(SourceUnreachable("no connection to x (self-signed certificate)"), SOURCE), "SSL_CERT_FILE"),
        (
            advised(SourceUnreachable("x ([SSL: WRONG_VERSION_NUMBER] wrong version)"), SOURCE),
            "write http:// in",
        ),
        (
            advised(SourceUnreachable("no HTTP/1.1 from x: the answer is a TLS alert"), SOURCE),
            "write https:// in",
        ),
        (advised(SourceRefused("x was answered with 407", 407), SOURCE), "HTTPS_PROXY"),
        (
            advised(
                SourceUnreachable("no connection to x through the proxy p:1 (connection refused)"), SOURCE
            ),
            "NO_PROXY",
        ),
        (SettingsError("says it itself"), ""),
    ],
)
def test_what_to_do_about_each_error(error: Exception, words: str) -> None:
    assert words in checking._todo(cast("SourceFailed", error))


async def findings(path: Path, file: str, **options: Fault) -> list[Finding]:
    def fault(route: str, _number: int) -> Fault | None:
        return next((each for part, each in options.items() if part in route), None)

    async with EmulatorServer(EmulatorOptions(logs=5, fault=fault)) as server:
        config = path / "bridge.yaml"
        config.write_text(file)
        settings = load(config, {"COMPOSIO_API_KEY": "ak_x", "COMPOSIO_BASE_URL": server.base_url})
        clock = SystemClock()
        (project,) = settings.projects
        return [each async for each in check_source(settings, project, clock, Budget(0.5, clock))]


async def test_a_project_with_filters_asks_with_them_and_is_not_counted(tmp_path: Path) -> None:
    file = "projects: [{name: a, filters: [{field: toolkit_slug, operator: '==', value: nosuch}]}]"
    found = await findings(tmp_path, file)
    assert "no calls in the last hour that match its filters" in found[0].text
    assert [each.check for each in found] == ["source", "rate", "clock"]


async def test_a_usage_summary_that_cannot_be_had_is_a_note(tmp_path: Path) -> None:
    found = await findings(tmp_path, "", usage=Fault(status=403))
    assert (found[-1].check, found[-1].state) == ("usage", "note")
    assert not any(each.failed for each in found)


async def test_a_source_that_stops_all_requests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checking, "_SOURCE_S", 0.5)
    (found,) = await findings(tmp_path, "", logs=Fault(status=429, retry_after_s=60))
    assert "its rate limit stops requests until" in found.text
    assert found.failed
