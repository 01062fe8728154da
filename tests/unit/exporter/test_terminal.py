"""What people see."""

from __future__ import annotations

import dataclasses
import io
import re
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console
from signal_samples import (
    NS_PER_MS,
    RESOURCE,
    SCOPE,
    START_NS,
    a_delivery,
    a_log,
    a_span,
    deliveries,
    some_deliveries,
)

from otel_bridge.exporter.terminal import Look, TerminalExporter, render_traces
from otel_bridge.signals import Delivery, Severity, StatusCode

if TYPE_CHECKING:
    from otel_bridge.exporter.protocol import Exporter


def _call(  # noqa: PLR0917 - a row of a table
    number: int, parent: int | None, name: str, begin_ms: int, end_ms: int, error: str = ""
) -> Delivery:
    return a_delivery(
        number,
        logs=False,
        trace_id=bytes.fromhex("4bf92f3577b34da6a3ce929d0e0e4736"),
        parent_span_id=None if parent is None else parent.to_bytes(8, "big"),
        name=f"execute_tool {name}",
        start_ns=START_NS + begin_ms * NS_PER_MS,
        end_ns=START_NS + end_ms * NS_PER_MS,
        status=StatusCode.ERROR if error else StatusCode.UNSET,
        status_message=error,
        attributes={"session.id": "trs_9fKq2LxA", "user.id": "user_42", "toolkit": name.partition("_")[0]},
    )


def _event() -> Delivery:
    log = a_log(
        9,
        time_ns=START_NS,
        severity=Severity.WARN,
        event_name="composio.connected_account.expired",
        body="ca_123 needs a new login",
    )
    return Delivery("log_event", RESOURCE, SCOPE, None, log)


SESSION = [
    _call(
        4,
        1,
        "SLACK_SEND_MESSAGE",
        2100,
        2500,
        "channel_not_found: #ops is not there, or the bot is no member",
    ),
    _call(1, None, "COMPOSIO_MULTI_EXECUTE_TOOL", 0, 4210),
    _call(2, 1, "GMAIL_FETCH_EMAILS", 40, 812),
    _call(3, 1, "GITHUB_CREATE_AN_ISSUE", 830, 2030),
    _call(6, 3, "GITHUB_ADD_LABELS_TO_AN_ISSUE_OF_A_REPOSITORY", 1200, 2000),
    _call(5, 1, "NOTION_CREATE_PAGE", 2600, 4200),
    _event(),
]


NAMES = ("COMPOSIO", "GMAIL", "GITHUB_CREATE", "SLACK")


def _drawn(batch: list[Delivery], width: int, *, color: bool = False, look: Look | None = None) -> str:
    out = io.StringIO()
    console = Console(
        file=out,
        width=width,
        force_terminal=color,
        color_system="standard" if color else None,
        highlight=False,
        legacy_windows=False,
    )
    console.print(render_traces(batch, width, look))
    return out.getvalue()


def _trimmed(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.splitlines()).strip("\n")


def test_a_session_at_80_columns() -> None:
    assert _trimmed(_drawn(SESSION, 80)) == _trimmed("""
● composio  6 calls · 4.21 s · 1 failed                      2026-04-17 10:25:00
  session trs_9fKq2LxA · user user_42 · trace 4bf92f3577b34da6a3ce929d0e0e4736
 COMPOSIO_MULTI_EXECUTE_TOOL           ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━   4.21 s
 ├─ GMAIL_FETCH_EMAILS                 ━━━━━━╸                            772 ms
 ├─ GITHUB_CREATE_AN_ISSUE                   ━━━━━━━━━╸                   1.20 s
 │  └─ GITHUB_ADD_LABELS_TO_AN_ISSUE…           ━━━━━━╸                   800 ms
 ├─ SLACK_SEND_MESSAGE                                ╺━━━╸               400 ms
 │     ✗ channel_not_found: #ops is not there, or the bot is no member
 └─ NOTION_CREATE_PAGE                                    ╺━━━━━━━━━━━━   1.60 s

10:25:00 WARN  composio.connected_account.expired  ca_123 needs a new login
""")


def test_a_session_at_120_columns() -> None:
    assert _trimmed(_drawn(SESSION[:-1], 120)) == _trimmed("""
● composio  6 calls · 4.21 s · 1 failed                                                              2026-04-17 10:25:00
  session trs_9fKq2LxA · user user_42 · trace 4bf92f3577b34da6a3ce929d0e0e4736
 COMPOSIO_MULTI_EXECUTE_TOOL                             ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━   4.21 s
 ├─ GMAIL_FETCH_EMAILS                                   ╺━━━━━━━━━╸                                              772 ms
 ├─ GITHUB_CREATE_AN_ISSUE                                         ╺━━━━━━━━━━━━━━━╸                              1.20 s
 │  └─ GITHUB_ADD_LABELS_TO_AN_ISSUE_OF_A_REPOSITORY                    ━━━━━━━━━━━                               800 ms
 ├─ SLACK_SEND_MESSAGE                                                             ╺━━━━━╸                        400 ms
 │     ✗ channel_not_found: #ops is not there, or the bot is no member
 └─ NOTION_CREATE_PAGE                                                                    ━━━━━━━━━━━━━━━━━━━━━   1.60 s
""")  # noqa: E501 - 120 columns


def test_errors_are_red_and_toolkits_have_a_colour_each_on_a_terminal() -> None:
    lines = _drawn(SESSION, 80, color=True, look=Look(colored_by="toolkit")).splitlines()

    colors = {
        name: re.findall(r"\x1b\[(\d+)m *[╺━]", line) for line in lines for name in NAMES if name in line
    }
    assert colors == {"COMPOSIO": ["36"], "GMAIL": ["35"], "GITHUB_CREATE": ["33"], "SLACK": ["31"]}
    assert any("\x1b[31mSLACK_SEND_MESSAGE" in line for line in lines)
    assert any("\x1b[31m✗ channel_not_found" in line for line in lines)


def test_a_span_whose_parent_is_elsewhere_is_a_root_and_a_point_is_seen() -> None:
    drawn = _trimmed(_drawn([_call(7, 99, "LINEAR_LIST_ISSUES", 5, 5)], 80))

    assert drawn.splitlines()[0].startswith("● composio  1 call · 0 ms  ")
    assert drawn.splitlines()[2].split() == ["LINEAR_LIST_ISSUES", "╸", "0", "ms"]


def test_parents_that_go_round_in_a_circle_are_drawn_once_each() -> None:
    circle = [_call(1, 2, "A", 0, 10), _call(2, 1, "B", 1, 5), _call(3, 3, "C", 2, 3)]

    drawn = [line[:12].rstrip() for line in _drawn(circle, 80).splitlines()[2:5]]

    assert drawn == [" A", " └─ B", " C"]


def test_a_very_deep_tree_shows_the_depth_as_a_number() -> None:
    chain = [
        _call(n, n - 1 or None, f"TOOL_{n}", n, 2000, "failed" if n == 1500 else "") for n in range(1, 1501)
    ]

    lines = _drawn(chain, 80).splitlines()

    assert lines[-3].startswith(" 1499┄ TOOL_1500 ")
    assert lines[-2].strip() == "✗ failed"


def test_data_can_not_move_the_cursor_or_write_markup() -> None:
    hostile = _call(1, None, "A\x1b[2J\r[red]B[/]\u202eC\x07:smile:", 0, 1, "x\x1b]8;;http://e\x07y\n[bold]z")

    drawn = _drawn([hostile], 120)

    assert set(drawn) & {"\x1b", "\r", "\x07", "\u202e"} == set()
    assert "A [2J [red]B[/] C :smile:" in drawn
    assert "✗ x ]8;;http://e y [bold]z" in drawn


def test_durations_read_well() -> None:
    lengths = {0: "0 ms", 1500: "1 µs", 999_999: "999 µs", 1_000_000: "1 ms", 61_000_000_000: "1 min 1 s",
               7_260_000_000_000: "2 h 1 min", 59_990_000_000: "59.99 s"}  # fmt: skip
    for ns, text in lengths.items():
        [_, _, row, *_] = _drawn([a_delivery(1, start_ns=START_NS, end_ns=START_NS + ns)], 80).splitlines()
        assert row.rstrip().endswith(f" {text}")


@given(deliveries, st.integers(0, 130))
@settings(max_examples=60, deadline=None)
def test_no_line_is_wider_than_the_terminal_whatever_is_drawn(batch: list[Delivery], width: int) -> None:
    drawn = _drawn(batch, max(width, 40))

    assert all(cell_len(line) <= max(width, 40) for line in drawn.splitlines())
    spans = sum(delivery.span is not None for delivery in batch)
    assert len(drawn.splitlines()) >= spans


async def test_the_exporter_draws_to_its_console_and_all_is_delivered() -> None:
    out = io.StringIO()
    exporter: Exporter = TerminalExporter(Console(file=out, width=100), Look(shown=("user.id",)))

    outcome = await exporter.export(SESSION)
    nothing = await exporter.export([])
    await exporter.aclose()

    assert outcome.delivered == [delivery.key for delivery in SESSION]
    assert nothing.delivered == []
    assert "user user_42 · trace" in out.getvalue()
    assert "session" not in out.getvalue()
    assert "\x1b" not in out.getvalue(), "no colour where it is no terminal"


def test_traces_of_one_batch_stand_apart_in_the_order_they_came() -> None:
    other = dataclasses.replace(a_delivery(50), span=a_span(50, name="tool", attributes={}))

    drawn = _drawn([*some_deliveries(2), other], 80)

    assert [line for line in drawn.splitlines() if line.startswith("  trace")] == [
        f"  trace {number:032x}" for number in (1, 2, 50)
    ]
