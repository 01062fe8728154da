"""The last calls and the last hour: facts without content, in bounded memory."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from signal_samples import a_delivery, a_log
from web_stage import aside

from otel_bridge.ledger import Lane, Reason
from otel_bridge.service.recent import MINUTES, MOST_CALLS, Recent
from otel_bridge.signals import Delivery, StatusCode

M = 60_000
NOW = 1_776_420_000_000


def counts(recent: Recent, now_ms: int = NOW, project: str = "p") -> list[tuple[int, int, int]]:
    return [(each.delivered, each.failed, each.set_aside) for each in recent.last_hour(project, now_ms)]


def test_a_call_is_remembered_without_its_content() -> None:
    recent = Recent(["p"])
    call = a_delivery(
        1,
        status=StatusCode.ERROR,
        status_message="quota reached",
        attributes={
            "gen_ai.tool.name": "GMAIL_SEND_EMAIL",
            "gen_ai.tool.call.arguments": '{"to": "someone"}',
            "user.id": "user_7",
            "error.type": "429",
            "composio.metadata.note": "private",
        },
    )
    recent.delivered("p", Lane.LIVE, [call], NOW)
    (kept,) = recent.calls("p")
    assert kept.span is not None
    assert kept.span.attributes == {"gen_ai.tool.name": "GMAIL_SEND_EMAIL", "error.type": "429"}
    assert kept.span.status_message == "quota reached"
    assert kept.log is None
    assert not any(word in repr(kept) for word in ("someone", "user_7", "private"))


def test_of_calls_only_the_last_are_kept_and_texts_are_cut() -> None:
    recent = Recent(["p"])
    for start in range(0, 3000, 1000):
        batch = [a_delivery(start + n + 1, name="x" * 9999, status_message="y" * 9999) for n in range(1000)]
        recent.delivered("p", Lane.LIVE, batch, NOW)
    kept = recent.calls("p")
    assert [each.key for each in kept] == [f"log_{n:04}" for n in range(3001 - MOST_CALLS, 3001)]
    assert all(each.span and len(each.span.name) <= 120 for each in kept)
    assert all(each.span and len(each.span.status_message) <= 300 for each in kept)


def test_a_backfill_is_counted_but_its_calls_are_not_the_latest() -> None:
    recent = Recent(["p"])
    recent.delivered("p", Lane.BACKFILL, [a_delivery(1)], NOW)
    assert recent.calls("p") == []
    assert counts(recent)[-1] == (1, 0, 0)


def test_records_without_a_span_are_counted_as_delivered() -> None:
    recent = Recent(["p"])
    one = a_delivery(1)
    recent.delivered("p", Lane.LIVE, [Delivery("k", one.resource, one.scope, None, a_log(1))], NOW)
    assert counts(recent)[-1] == (1, 0, 0)
    assert recent.calls("p") == []


def test_what_is_set_aside_is_counted_once_and_waiting_for_a_parent_is_no_failure() -> None:
    recent = Recent(["p"])
    first = aside(1, Reason.REFUSED, "x", NOW + 80_000)
    recent.set_aside("p", [replace(first, attempts=1), first, aside(2, Reason.WAITING_FOR_PARENT, "x", NOW)])
    recent.set_aside("p", [])
    assert sum(each.set_aside for each in recent.last_hour("p", NOW)) == 1


def test_the_hour_has_sixty_minutes_and_the_oldest_fall_out() -> None:
    recent = Recent(["p"])
    for minute in range(90):
        recent.delivered("p", Lane.LIVE, [a_delivery(1)] * (minute + 1), NOW + minute * M)
    assert [each[0] for each in counts(recent, NOW + 89 * M)] == list(range(31, 91))
    assert [each[0] for each in counts(recent, NOW + 500 * M)] == [0] * MINUTES


def test_an_unknown_project_is_counted_up_to_a_bound() -> None:
    recent = Recent([])
    for number in range(400):
        recent.delivered(f"p{number}", Lane.BACKFILL, [a_delivery(1)], NOW)
    known = [number for number in range(400) if counts(recent, project=f"p{number}")[-1][0]]
    assert known == list(range(256))
    assert counts(recent, project="none")[-1] == (0, 0, 0)


@given(st.lists(st.tuples(st.integers(-90 * M, 90 * M), st.integers(0, 5)), max_size=40))
@settings(max_examples=60)
def test_whatever_the_clock_does_the_hour_stays_bounded_and_counts_the_present(
    steps: list[tuple[int, int]],
) -> None:
    recent, now_ms = Recent(["p"]), NOW
    for step, count in steps:
        now_ms += step
        before = recent.last_hour("p", now_ms)[-1].delivered
        recent.delivered("p", Lane.LIVE, [a_delivery(1)] * count, now_ms)
        hour = recent.last_hour("p", now_ms)
        assert len(hour) == MINUTES
        assert hour[-1].delivered == before + count
        assert [each.number for each in hour] == list(range(hour[0].number, hour[0].number + MINUTES))
