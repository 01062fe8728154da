"""An OTLP receiver that takes or refuses each request by what is in it."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Any

import grpc
from recording_sink import GrpcAnswer, HttpAnswer, Received, RecordingSink, logs_in, read_request, reply

if TYPE_CHECKING:
    from collections.abc import Callable

Verdict = HttpAnswer | GrpcAnswer | None


class JudgingSink(RecordingSink):
    """Judges each request; None takes it. Only what is taken counts."""

    def __init__(self) -> None:
        super().__init__()
        self.judge: Callable[[Received], Verdict] = lambda _: None
        self.taken: Counter[str] = Counter()

    def _judged(self, received: Received) -> Any:
        verdict = self.judge(received)
        if verdict is None:
            self.taken.update(log_ids(received))
        return verdict

    async def _serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        received = await read_request(reader)
        await self._record(received)
        return await reply(writer, self._judged(received) or HttpAnswer())

    def _grpc_handler(self, signal: str) -> Any:
        async def export(body: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
            received = Received("grpc", signal, "", {}, body)
            await self._record(received)
            answer = self._judged(received) or GrpcAnswer()
            await asyncio.sleep(answer.delay_s)
            if answer.code is not grpc.StatusCode.OK:
                await context.abort(answer.code, answer.details)
            return answer.body

        return export


def log_ids(received: Received) -> list[str]:
    """The ids of the tool calls whose log records are in a request."""
    return [
        pair.value.string_value
        for _, _, log in logs_in(received.body)
        for pair in log.attributes
        if pair.key == "log.record.uid"
    ]
