"""A source that says what a test has put in, carried by ``httpx.MockTransport``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import httpx

if TYPE_CHECKING:
    from collections.abc import Callable

KEY: Final = "ak_Very-Secret_123"


class FakeSource:
    """Answers with what a test has put in: the last answer again and again."""

    def __init__(self) -> None:
        self.answers: list[httpx.Response | Exception | Callable[[httpx.Request], httpx.Response]] = []
        self.requests: list[httpx.Request] = []

    def then(self, status: int = 200, **answer: Any) -> FakeSource:
        self.answers.append(lambda _: httpx.Response(status, **answer))
        return self

    def fail(self, error: Exception) -> FakeSource:
        self.answers.append(error)
        return self

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer(request) if callable(answer) else answer
