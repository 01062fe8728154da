"""Whatever is posted to the bridge: registered, or refused in a word that says nothing of what was sent."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
from hypothesis import given, settings
from hypothesis import strategies as st
from simulated_clock import SimulatedClock
from starlette.applications import Starlette

from otel_bridge.file_values import Fixed
from otel_bridge.ledger import MemoryLedger
from otel_bridge.pipeline.observer import NO_OBSERVER
from otel_bridge.service.correlations import CorrelationRegister
from otel_bridge.web.correlations import correlation_route
from otel_bridge.web.guard import Guard

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
MARK = "zqx"  # in every text that is sent, and in no answer
ANSWERS = {200, 202, 400, 413, 415, 422, 429}
texts = st.one_of(st.text(max_size=40), st.sampled_from([PARENT, PARENT.upper(), "", "00-0-0-00", "0" * 600]))
odd = st.one_of(
    st.none(), st.booleans(), st.integers(-(10**40), 10**40), st.floats(), texts.map(lambda text: text + MARK)
)
keys = st.one_of(
    st.sampled_from(["log_id", "request_id", "traceparent"]),
    st.text(max_size=8).map(lambda text: text + MARK),
)
marked = texts.map(lambda text: text[:80] + MARK)
nearly = st.fixed_dictionaries({"traceparent": marked}, optional={"log_id": marked, "request_id": marked})
items = st.one_of(nearly, st.dictionaries(keys, st.one_of(odd, texts), max_size=4))
values = st.recursive(
    st.one_of(odd, items),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(keys, inner, max_size=3)),
    max_leaves=12,
)
bodies = st.one_of(
    values.map(lambda value: json.dumps(value).encode("utf-8", "surrogatepass")),
    st.binary(max_size=200).map(lambda noise: noise + MARK.encode()),
    values.map(lambda value: json.dumps(value)[:-1].encode("utf-8", "surrogatepass")),
)
types = st.one_of(
    st.just("application/json"),
    st.sampled_from(["application/json; charset=latin-1", "text/plain", "", "a/b;;c"]),
)


async def posted(content: bytes, content_type: str) -> httpx.Response:
    clock, ledger = SimulatedClock(), MemoryLedger()
    await ledger.open()
    register = CorrelationRegister(lambda: ledger, lambda: NO_OBSERVER, clock, 60_000)
    app: Any = Guard(Starlette(routes=[correlation_route(register, Fixed(None), clock)]), "127.0.0.1")
    transport = httpx.ASGITransport(app, client=("127.0.0.1", 5))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8790") as client:
        return await client.post("/v1/correlations", content=content, headers={"content-type": content_type})


@given(bodies, types)
@settings(max_examples=150, deadline=None)
def test_any_body_is_registered_or_refused_and_never_repeated(body: bytes, content_type: str) -> None:
    answer = asyncio.run(posted(body, content_type))
    assert answer.status_code in ANSWERS
    assert isinstance(answer.json(), dict)
    assert MARK not in answer.text
    assert MARK not in str(answer.headers)


@given(st.text(max_size=600), st.text(max_size=60))
@settings(max_examples=60, deadline=None)
def test_any_id_with_a_valid_traceparent_is_kept_or_refused(log_id: str, other: str) -> None:
    body = json.dumps(
        [{"log_id": log_id, "traceparent": PARENT}, {"request_id": other, "traceparent": other}]
    )
    answer = asyncio.run(posted(body.encode(), "application/json"))
    assert answer.status_code in ANSWERS
