"""The vendor's own generated client reads everything there is, and its models accept every byte of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from composio_client import AsyncComposio, Composio, ProjectAuth
from composio_client.types.log_create_tool_execution_response import LogCreateToolExecutionResponse
from composio_client.types.log_retrieve_tool_execution_response import LogRetrieveToolExecutionResponse
from composio_client.types.project.usage_retrieve_summary_response import UsageRetrieveSummaryResponse
from pydantic import BaseModel

from contract.vendor_client import COUNT, END_MS, START_MS, Start, connect
from otel_bridge.emulator import EmulatorOptions, EmulatorServer, LogStore, record_of

if TYPE_CHECKING:
    from collections.abc import Callable

FIELDS = (
    "tool_slug",
    "toolkit_slug",
    "connected_account_id",
    "auth_config_id",
    "status",
    "user_id",
    "session_id",
    "sandbox_id",
    "request_id",
    "log_id",
)
RANGE = {"from": START_MS, "to": END_MS + 1}


def ids_of(client: Composio, **request: Any) -> list[str]:
    """Follow the cursor to the end."""
    ids: list[str] = []
    cursor = None
    while True:
        page = client.logs.create_tool_execution(cursor=cursor, **request)
        ids += [log.id for log in page.logs]
        cursor = page.next_cursor
        if cursor is None:
            return ids


def field_of(detail: dict[str, Any], field: str) -> str:
    if field == "log_id":
        return str(detail["id"])
    if field == "status":
        return str(detail["status"])
    if field == "request_id":
        return str(detail["context"].get("request_id", ""))
    return str(detail["metadata"].get(field, ""))


def surplus(model: BaseModel) -> set[str]:
    """Members of an answer that the vendor's schema does not name, free-form objects left out."""
    found = set(model.model_extra or {})
    for name in type(model).model_fields:
        value = getattr(model, name)
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, BaseModel) and name != "metadata":
                found |= {f"{name}.{extra}" for extra in surplus(item)}
    return found


@pytest.mark.parametrize("limit", [1, 7, 20, 100])
def test_pages_to_the_end_hold_every_id_exactly_once(client: Composio, store: LogStore, limit: int) -> None:
    count = 40 if limit == 1 else COUNT
    ids = ids_of(client, limit=limit, time_range=range_of_newest(store, count))
    assert ids == store.log_ids()[::-1][: len(ids)]
    assert len(ids) == len(set(ids)) >= count


def range_of_newest(store: LogStore, count: int) -> dict[str, int]:
    record = store.get(store.log_ids()[-count])
    assert record is not None
    return {"from": record.timestamp_ms, "to": END_MS + 1}


def test_a_page_has_20_entries_unless_asked_otherwise(client: Composio) -> None:
    page = client.logs.create_tool_execution()
    assert len(page.logs) == 20
    # The official page's own example of a cursor.
    assert page.next_cursor == "eyJwYWdlIjoyfQ=="


def test_every_listed_entry_fits_the_vendors_models_strictly(client: Composio, store: LogStore) -> None:
    cursor, seen = None, 0
    while True:
        raw = client.logs.with_raw_response.create_tool_execution(limit=100, cursor=cursor)
        page = LogCreateToolExecutionResponse.model_validate_json(raw.http_response.content, strict=True)
        assert surplus(page) == set()
        seen += len(page.logs)
        cursor = page.next_cursor
        if cursor is None:
            break
    assert seen == len(store)


def test_every_detail_fits_the_vendors_models_strictly(client: Composio, store: LogStore) -> None:
    for log_id in store.log_ids():
        raw = client.logs.with_raw_response.retrieve_tool_execution(log_id)
        detail = LogRetrieveToolExecutionResponse.model_validate_json(raw.http_response.content, strict=True)
        assert surplus(detail) == set()
        assert detail.id == log_id


def test_a_detail_repeats_its_listed_entry(client: Composio) -> None:
    for entry in client.logs.create_tool_execution(limit=30).logs:
        detail = client.logs.retrieve_tool_execution(entry.id).model_dump(mode="json", exclude_unset=True)
        listed = entry.model_dump(mode="json", exclude_unset=True)
        assert {key: detail[key] for key in listed} == listed
        assert set(detail) - set(listed) <= {"timings", "context", "source", "data"}


@pytest.mark.parametrize("operator", ["==", "!=", "contains", "not_contains"])
@pytest.mark.parametrize("field", FIELDS)
def test_a_filter_finds_what_it_says(
    client: Composio, details: dict[str, dict[str, Any]], field: str, operator: str
) -> None:
    values = [field_of(detail, field) for detail in details.values()]
    value = next(value for value in reversed(values) if value)
    if "contains" in operator:
        value = value[len(value) // 3 : -1]
    keep: Callable[[str], bool] = {
        "==": lambda text: text == value,
        "!=": lambda text: text != value,
        "contains": lambda text: value in text,
        "not_contains": lambda text: value not in text,
    }[operator]
    expected = {log_id for log_id, detail in details.items() if keep(field_of(detail, field))}
    found = ids_of(client, limit=100, filters=[{"field": field, "operator": operator, "value": value}])
    assert set(found) == expected
    assert len(found) == len(expected)
    if operator in ("==", "contains"):
        assert found


def test_filters_are_combined_by_and(client: Composio, details: dict[str, dict[str, Any]]) -> None:
    found = ids_of(
        client,
        filters=[
            {"field": "toolkit_slug", "operator": "!=", "value": "composio"},
            {"field": "status", "operator": "==", "value": "failed"},
            {"field": "tool_slug", "operator": "contains", "value": "_"},
        ],
    )
    assert found
    assert set(found) == {
        log_id
        for log_id, detail in details.items()
        if detail["status"] == "failed"
        and detail["metadata"].get("toolkit_slug") != "composio"
        and "_" in detail["metadata"].get("tool_slug", "")
    }


def test_a_time_range_holds_its_start_and_not_its_end(client: Composio, store: LogStore) -> None:
    middle = store.get(store.log_ids()[COUNT // 2])
    assert middle is not None
    before = ids_of(client, limit=100, time_range={"from": START_MS, "to": middle.timestamp_ms})
    after = ids_of(client, limit=100, time_range={"from": middle.timestamp_ms, "to": END_MS + 1})
    assert middle.log_id in after
    assert sorted(before + after) == sorted(store.log_ids())


def test_children_name_a_parent_that_can_be_had(client: Composio, details: dict[str, dict[str, Any]]) -> None:
    child = next(detail for detail in details.values() if detail["parent"])
    parent = client.logs.retrieve_tool_execution(child["parent"]["log_id"])
    assert parent.metadata.model_dump()["tool_slug"] == "COMPOSIO_MULTI_EXECUTE_TOOL"
    assert parent.parent is None


def test_usage_counts_the_tool_calls_of_a_range(client: Composio, details: dict[str, dict[str, Any]]) -> None:
    raw = client.project.usage.with_raw_response.retrieve_summary(from_=START_MS, to=END_MS + 1)
    usage = UsageRetrieveSummaryResponse.model_validate_json(raw.http_response.content, strict=True)
    calls = [detail for detail in details.values() if detail["type"] == "tool.execution"]
    assert usage.entities["tool_calls"].event_count == len(calls) < COUNT
    assert usage.entities["tool_calls"].total_quantity == str(len(calls))
    assert usage.entities["sessions"].event_count == len({c["metadata"]["session_id"] for c in calls})
    assert surplus(usage) == set()


def test_usage_can_be_narrowed(client: Composio, details: dict[str, dict[str, Any]]) -> None:
    user = next(iter(details.values()))["metadata"]["user_id"]
    usage = client.project.usage.retrieve_summary(
        from_=START_MS, to=END_MS + 1, entity_types=["tool_calls"], filters={"user_id": [user]}
    )
    assert set(usage.entities) == {"tool_calls"}
    assert usage.entities["tool_calls"].event_count == sum(
        detail["type"] == "tool.execution" and detail["metadata"]["user_id"] == user
        for detail in details.values()
    )


@pytest.mark.parametrize("log_id", ["log_-jRTWClpBoVo", "log_übergrößé-日本", "log_a b%2F?#&=+", "log_🙂"])
def test_an_id_of_any_letters_is_found(start: Start, log_id: str) -> None:
    detail = {
        "id": log_id,
        "timestamp": "2026-04-17T10:25:00.000Z",
        "type": "tool.execution",
        "status": "failed",
        "level": "error",
        "message": "GMAIL_SEND_EMAIL failed: invalid recipient",
        "metadata": {"tool_slug": "GMAIL_SEND_EMAIL"},
        "metrics": {"duration_ms": 202},
        "parent": None,
        "context": {},
        "source": {},
        "data": {},
    }
    server = start(EmulatorOptions(), LogStore([record_of(detail, END_MS)]))
    with connect(server) as client:
        assert client.logs.create_tool_execution().logs[0].id == log_id
        assert client.logs.retrieve_tool_execution(log_id).id == log_id


async def test_the_vendors_async_client_reads_too(server: EmulatorServer, store: LogStore) -> None:
    async with AsyncComposio(
        auth=ProjectAuth("ak_contract"), base_url=server.base_url, _strict_response_validation=True
    ) as client:
        page = await client.logs.create_tool_execution(limit=100)
        assert [log.id for log in page.logs] == store.log_ids()[::-1][:100]
        assert (await client.logs.retrieve_tool_execution(page.logs[0].id)).id == page.logs[0].id
