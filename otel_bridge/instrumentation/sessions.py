"""Whom a session acts for: its calls do not say it, the answer that made or opened the session does."""

from __future__ import annotations

from typing import Any, Final

_MOST: Final = 4096


class SessionUsers:
    """The user ids of the newest sessions that this process made or opened.

    It takes no lock, since a thread may be anywhere when the process forks: each step is one that threads can
    take at the same time.
    """

    def __init__(self) -> None:
        self._users: dict[str, str] = {}

    def remember(self, answer: Any) -> None:
        """Read the answer to a request that made or opened a session; any other is passed over."""
        session_id = getattr(answer, "session_id", None)
        user_id = getattr(getattr(answer, "config", None), "user_id", None)
        if not (isinstance(session_id, str) and isinstance(user_id, str) and session_id and user_id):
            return
        self._users.pop(session_id, None)
        self._users[session_id] = user_id
        while len(self._users) > _MOST:
            try:
                oldest = next(iter(self._users))
            except (RuntimeError, StopIteration):
                # Another thread is at it.
                return
            self._users.pop(oldest, None)

    def of(self, session_id: str) -> str:
        """The user id; empty where it is not known."""
        return self._users.get(session_id, "")
