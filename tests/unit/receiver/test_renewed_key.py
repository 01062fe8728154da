"""A key from a file is sent as the file holds it, and read again when it is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest
from pydantic import SecretStr

from otel_bridge.errors import SourceRefused
from otel_bridge.receiver.client import LogsClient

if TYPE_CHECKING:
    from fake_source import FakeSource
    from simulated_clock import SimulatedClock

    from otel_bridge.receiver.budget import Budget


class KeyFile:
    """A key whose file is looked at only when it is told to."""

    def __init__(self) -> None:
        self.seen = self.now = SecretStr("ak_old")

    def get(self) -> SecretStr:
        return self.seen

    def look(self) -> SecretStr:
        self.seen = self.now
        return self.seen


@pytest.fixture
def file() -> KeyFile:
    return KeyFile()


@pytest.fixture
def client(source: FakeSource, clock: SimulatedClock, budget: Budget, file: KeyFile) -> LogsClient:
    return LogsClient(
        base_url="https://backend.composio.dev",
        api_key=file,
        key_from="COMPOSIO_API_KEY_FILE (/run/key)",
        budget=budget,
        clock=clock,
        transport=httpx.MockTransport(source),
    )


def keys(source: FakeSource) -> list[str]:
    return [request.headers["x-api-key"] for request in source.requests]


async def test_the_next_request_has_the_new_key(
    client: LogsClient, source: FakeSource, file: KeyFile
) -> None:
    source.then(json={"logs": []})
    await client.list_page(from_ms=1, to_ms=2)
    file.now = SecretStr("ak_newer")
    file.look()
    await client.list_page(from_ms=1, to_ms=2)
    assert keys(source) == ["ak_old", "ak_newer"]


@pytest.mark.parametrize("status", [401, 403])
async def test_a_refused_request_is_made_again_with_the_key_that_the_file_has_now(
    client: LogsClient, source: FakeSource, file: KeyFile, status: int
) -> None:
    source.then(status, json={"error": {"message": "No."}}).then(json={"logs": []})
    file.now = SecretStr("ak_newer")
    await client.list_page(from_ms=1, to_ms=2)
    assert keys(source) == ["ak_old", "ak_newer"]


async def test_a_key_that_is_still_the_file_s_stays_refused(client: LogsClient, source: FakeSource) -> None:
    source.then(401, json={"error": {"message": "No."}})
    with pytest.raises(SourceRefused, match="COMPOSIO_API_KEY_FILE"):
        await client.list_page(from_ms=1, to_ms=2)
    assert len(source.requests) == 1


async def test_the_key_that_was_sent_is_masked_where_an_answer_repeats_it(
    client: LogsClient, source: FakeSource, file: KeyFile
) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        file.now = SecretStr("ak_newer")
        file.look()
        return httpx.Response(400, json={"message": f"bad: {request.headers['x-api-key']}"})

    source.answers.append(answer)
    with pytest.raises(SourceRefused) as refused:
        await client.list_page(from_ms=1, to_ms=2)
    assert "ak_" not in str(refused.value)
