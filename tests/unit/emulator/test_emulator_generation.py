from __future__ import annotations

import json
import uuid
from collections import Counter, defaultdict
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_bridge.emulator import Record, generate

END_MS = 1_776_421_500_000
START_MS = END_MS - 50 * 60_000


@pytest.fixture(scope="module")
def records() -> list[Record]:
    return generate(6_000, 11, START_MS, END_MS)


@pytest.fixture(scope="module")
def details(records: list[Record]) -> list[dict[str, Any]]:
    return [json.loads(record.detail) for record in records]


@pytest.fixture(scope="module")
def calls(details: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [detail for detail in details if detail["type"] == "tool.execution"]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 120), st.integers(), st.integers(1, 10_000_000))
def test_it_makes_exactly_the_number_asked_for_inside_of_the_range(
    count: int, seed: int, span_ms: int
) -> None:
    records = generate(count, seed, END_MS - span_ms, END_MS)
    assert len(records) == len({record.log_id for record in records}) == count
    times = [record.timestamp_ms for record in records]
    assert times == sorted(times)
    assert all(END_MS - span_ms < time <= END_MS for time in times)
    for record in records:
        detail = json.loads(record.detail)
        written = datetime.fromisoformat(detail["timestamp"])
        assert round(written.timestamp() * 1000) == record.timestamp_ms
        if "timings" in detail:
            assert detail["timings"]["start_time"] <= detail["timings"]["end_time"] < END_MS + 1


def test_a_range_of_no_length_is_refused() -> None:
    with pytest.raises(ValueError, match="1 ms"):
        generate(1, 1, END_MS, END_MS)


def test_the_same_seed_gives_the_same_bytes_and_another_gives_others() -> None:
    once, again = (generate(200, 5, START_MS, END_MS) for _ in range(2))
    assert once == again
    other = generate(200, 6, START_MS, END_MS)
    assert not {record.log_id for record in once} & {record.log_id for record in other}


def test_another_range_gives_the_same_entries_at_other_times() -> None:
    now = generate(200, 5, START_MS, END_MS)
    later = generate(200, 5, START_MS + 90_000_000, END_MS + 90_000_000)
    assert {record.log_id for record in now} == {record.log_id for record in later}


def test_entries_are_spread_over_the_whole_range(records: list[Record]) -> None:
    tenths = Counter((record.timestamp_ms - START_MS - 1) * 10 // (END_MS - START_MS) for record in records)
    assert set(tenths) == set(range(10))
    assert min(tenths.values()) > 300


def test_ids_look_like_the_sources(details: list[dict[str, Any]]) -> None:
    allowed = set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")
    for detail in details:
        assert detail["id"].startswith("log_")
        assert len(detail["id"]) == 16
        assert set(detail["id"][4:]) <= allowed
    assert any(detail["id"].startswith("log_-") for detail in details)


def test_children_run_inside_of_their_parent_and_share_its_context(calls: list[dict[str, Any]]) -> None:
    by_id = {call["id"]: call for call in calls}
    children = [call for call in calls if call["parent"]]
    assert len(children) > 1_000
    for child in children:
        parent = by_id[child["parent"]["log_id"]]
        assert (
            parent["metadata"]["tool_slug"] == child["parent"]["tool_slug"] == "COMPOSIO_MULTI_EXECUTE_TOOL"
        )
        assert parent["parent"] is None
        # A parent's row is written when it is complete.
        assert parent["timestamp"] >= child["timestamp"]
        if "timings" in parent and "timings" in child:
            assert parent["timings"]["start_time"] <= child["timings"]["start_time"]
            assert child["timings"]["end_time"] <= parent["timings"]["end_time"]
        for key in ("session_id", "user_id"):
            assert parent["metadata"][key] == child["metadata"][key]
        if parent["context"] and child["context"]:
            assert parent["context"] == child["context"]


def test_parents_tell_the_outcome_of_their_children(calls: list[dict[str, Any]]) -> None:
    children = defaultdict(list)
    for call in calls:
        if call["parent"]:
            children[call["parent"]["log_id"]].append(call["status"])
    parents = [call for call in calls if call["metadata"]["tool_slug"] == "COMPOSIO_MULTI_EXECUTE_TOOL"]
    assert {call["id"] for call in parents} == set(children)
    for parent in parents:
        outcomes = children[parent["id"]]
        assert len(outcomes) >= 2
        assert (parent["status"] == "failed") == (set(outcomes) == {"failed"})
        if parent["data"]:
            assert parent["data"]["response"]["data"]["error_count"] == outcomes.count("failed")


def test_a_session_is_one_users_and_one_traces(calls: list[dict[str, Any]]) -> None:
    sessions = defaultdict(list)
    for call in calls:
        sessions[call["metadata"]["session_id"]].append(call)
    sizes = [len(session) for session in sessions.values()]
    assert 5 < sum(sizes) / len(sizes) < 12
    for session in sessions.values():
        assert len({call["metadata"]["user_id"] for call in session}) == 1
        assert len({call["context"].get("trace_id") for call in session if call["context"]}) <= 1
        assert len({call["context"]["session_id"] for call in session if call["context"]}) <= 1


def test_shares_are_as_documented(details: list[dict[str, Any]], calls: list[dict[str, Any]]) -> None:
    def share(part: list[Any], whole: list[Any] = calls) -> float:
        return len(part) / len(whole)

    failed = [call for call in calls if call["status"] == "failed"]
    assert 0.06 < share(failed) < 0.10
    assert 0.01 < 1 - share(calls, details) < 0.04
    without_data = [call for call in calls if not call["data"]]
    assert 0.005 < share(without_data) < 0.07
    assert all("message" not in call for call in without_data)
    assert any(call["status"] == "failed" for call in without_data)
    for absent in (
        [call for call in calls if "timings" not in call],
        [call for call in calls if not call["context"]],
        [call for call in calls if not call["source"]],
    ):
        assert 0.005 < share(absent) < 0.04
    assert all(call["message"].startswith(call["metadata"]["tool_slug"]) for call in failed if call["data"])
    assert {detail["type"].split(".")[0] for detail in details} == {"tool", "trigger", "connected_account"}


def test_correlation_ids_come_in_every_form(calls: list[dict[str, Any]]) -> None:
    contexts = [call["context"] for call in calls if call["context"]]
    traces = [context.get("trace_id") for context in contexts]
    w3c = [trace for trace in traces if trace and len(trace) == 32]
    opaque = [trace for trace in traces if trace and trace.startswith("trace_")]
    absent = [trace for trace in traces if trace is None]
    assert len(w3c) + len(opaque) + len(absent) == len(contexts)
    assert min(len(w3c), len(opaque), len(absent)) > len(contexts) / 6
    assert all(int(trace, 16) for trace in w3c)
    python = [c["context"] for c in calls if c["source"].get("language") == "python" and c["context"]]
    assert python
    for context in python:
        assert uuid.UUID(context["request_id"]).version == 4
    assert any(context["request_id"].startswith("req_") for context in contexts)


def test_accounts_belong_to_a_user_and_a_toolkit(calls: list[dict[str, Any]]) -> None:
    accounts = defaultdict(set)
    for call in calls:
        metadata = call["metadata"]
        if metadata["credential_source"] in ("connected_account", "custom_auth"):
            assert metadata["connected_account_id"].startswith("ca_")
            assert metadata["auth_config_id"].startswith("ac_")
            accounts[metadata["connected_account_id"]].add((metadata["user_id"], metadata["toolkit_slug"]))
        else:
            assert "connected_account_id" not in metadata
    assert all(len(owners) == 1 for owners in accounts.values())
    sources = {call["metadata"]["credential_source"] for call in calls}
    assert sources == {"connected_account", "custom_auth", "instant_account", "no_auth"}


def test_charges_are_exact_decimals_of_instant_accounts(calls: list[dict[str, Any]]) -> None:
    charged = [call["metadata"] for call in calls if "instant_charge" in call["metadata"]]
    assert {metadata["credential_source"] for metadata in charged} == {"instant_account"}
    assert sum(Decimal(metadata["instant_charge"]) for metadata in charged) > 0
    assert "0" in {metadata["instant_charge"] for metadata in charged}


def test_records_are_as_large_as_real_ones(records: list[Record]) -> None:
    assert 1_200 < sum(len(record.detail) for record in records) / len(records) < 1_800


def test_no_request_or_result_is_left_with_a_gap(calls: list[dict[str, Any]]) -> None:
    texts = [json.dumps(call["data"]) for call in calls if call["data"]]
    assert not [text for text in texts if "{" in text.replace('{"', "").replace("{}", "") and "{s." in text]
    toolkits = {call["metadata"]["toolkit_slug"] for call in calls}
    assert {"gmail", "github", "slack", "notion", "linear", "googlecalendar", "hubspot"} <= toolkits
    for call in calls:
        if call["data"]:
            response = call["data"]["response"]
            assert response["successful"] == (call["status"] == "success")
            assert bool(response["error"]) == (call["status"] == "failed")
