"""What goes wrong on purpose goes wrong as it says: the fault suite stands on this."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_bridge.cli.main import run
from otel_bridge.emulator import (
    EmulatorOptions,
    EmulatorServer,
    Fault,
    LogStore,
    create_app,
    generate,
    missing_at_first,
    random_faults,
)

if TYPE_CHECKING:
    from otel_bridge.emulator.faults import FaultHook

END_MS = 1_776_421_500_000
LIST = "/api/v3.1/logs/tool_execution"
KEY = {"x-api-key": "ak_test"}


def api(fault: FaultHook) -> httpx.AsyncClient:
    app = create_app(LogStore(generate(5, 1, END_MS - 60_000, END_MS)), EmulatorOptions(fault=fault))
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://emulator", headers=KEY)


@pytest.mark.parametrize("cycle", [1, 2, 3])
async def test_cursors_that_take_turns_never_end(cycle: int) -> None:
    async with api(lambda *_: Fault(cursor_cycle=cycle)) as client:
        cursors = []
        cursor = None
        for _ in range(9):
            asked = {"limit": 2} if cursor is None else {"limit": 2, "cursor": cursor}
            cursor = (await client.post(LIST, json=asked)).json()["next_cursor"]
            cursors.append(cursor)
    assert len(set(cursors)) == cycle
    assert cursors[cycle:] == cursors[:-cycle]


async def test_a_429_says_when_to_come_back_or_does_not() -> None:
    faults = [Fault(status=429, retry_after_s=7), Fault(status=429), Fault(status=503, retry_after_s=2)]
    async with api(lambda _, number: faults[number]) as client:
        answers = [await client.post(LIST) for _ in faults]
    assert [answer.status_code for answer in answers] == [429, 429, 503]
    assert [answer.headers.get("retry-after") for answer in answers] == ["7", None, "2"]
    assert "error" not in answers[0].json()  # the vendor's 429 has no envelope


async def test_padding_stands_in_a_details_data_and_beside_a_lists_logs() -> None:
    async with api(lambda *_: Fault(padding_bytes=5_000_000)) as client:
        listed = (await client.post(LIST)).json()
        detail = await client.get(f"{LIST}/{listed['logs'][0]['id']}")
        missing = await client.get(f"{LIST}/log_none")
    assert len(listed["padding"]) == 5_000_000
    assert len(detail.content) > 5_000_000
    assert detail.json()["id"] == listed["logs"][0]["id"]
    assert len(detail.json()["data"]["padding"]) == 5_000_000
    assert missing.status_code == 404


async def test_a_detail_can_be_another_records() -> None:
    async with api(lambda path, _: Fault(other_record=True) if path != LIST else None) as client:
        for log in (await client.post(LIST)).json()["logs"]:
            assert (await client.get(f"{LIST}/{log['id']}")).json()["id"] != log["id"]


async def test_a_body_can_go_on_for_ever_and_stopping_does_not_wait_for_it() -> None:
    async with EmulatorServer(EmulatorOptions(logs=9, fault=lambda *_: Fault(drip=True))) as server:
        async with (
            httpx.AsyncClient(base_url=server.base_url, headers=KEY) as client,
            client.stream("POST", LIST) as answer,
        ):
            assert "content-length" not in answer.headers
            body = b""
            async for part in answer.aiter_raw():
                body += part
                if body.endswith(b"   "):
                    break
        assert answer.status_code == 200
        with pytest.raises(ValueError, match="column"):
            json.loads(body)


async def test_a_detail_can_be_missing_at_first() -> None:
    async with api(missing_at_first(2)) as client:
        logs = (await client.post(LIST)).json()["logs"]
        for log in logs[:2]:
            statuses = [(await client.get(f"{LIST}/{log['id']}")).status_code for _ in range(4)]
            assert statuses == [404, 404, 200, 200]
        stats = (await client.get("/emulator/stats")).json()
    assert stats["faults"] == {"list": 0, "detail": 4, "usage": 0, "other": 0}
    assert stats["requests"]["detail"] == 8


@given(
    seed=st.integers(),
    share=st.floats(0, 1),
    requests=st.lists(
        st.tuples(st.sampled_from([LIST, f"{LIST}/log_1"]), st.integers(0, 10**9)), max_size=20
    ),
)
@settings(max_examples=50)
def test_random_faults_are_a_function_of_seed_path_and_number(
    seed: int, share: float, requests: list[tuple[str, int]]
) -> None:
    one, two = random_faults(seed, share), random_faults(seed, share)
    assert [one(*request) for request in requests] == [two(*request) for request in reversed(requests)][::-1]


def test_random_faults_have_the_share_asked_for_and_all_kinds() -> None:
    fault = random_faults(3, 0.1)
    met = [fault(path, number) for number in range(10_000) for path in (LIST, f"{LIST}/log_1")]
    kinds = Counter(met)
    assert 0.09 < 1 - kinds.pop(None) / len(met) < 0.11
    assert len(kinds) == len(set(kinds)) == 16
    lists = {each for each in met[::2] if each}
    assert Fault(status=404) not in lists
    assert any(each.cursor_cycle for each in lists)
    assert not any(random_faults(3, 0)(LIST, number) for number in range(100))
    assert all(random_faults(3, 1)(LIST, number) for number in range(100))


@pytest.mark.parametrize("share", ["-0.1", "1.5", "nan"])
def test_a_share_that_is_none_is_one_clear_line(share: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["emulate", "--fault-share", share]) == 2
    assert capsys.readouterr().err.startswith("otel-bridge: --fault-share is ")
