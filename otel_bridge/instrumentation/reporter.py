"""Reports correlations to the bridge from a thread of its own; it never waits and never fails."""

from __future__ import annotations

import atexit
import json
import logging
import os
import threading
import time
import urllib.error
import urllib.request
import weakref
from collections import deque
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from opentelemetry.instrumentation.utils import suppress_instrumentation

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_logger: Final = logging.getLogger(__name__)
_PATH: Final = "/v1/correlations"
_MOST_WAITING: Final = 2048
_MOST_CHARS: Final = 512
_MOST_IN_A_REQUEST: Final = 100
# Calls that follow each other closely go together; a bridge waits for a correlation longer than this.
_LINGER_S: Final = 0.1
_TIMEOUT_S: Final = 3.0
_EXIT_S: Final = 2.0
_FIRST_PAUSE_S: Final = 0.5
_LONGEST_PAUSE_S: Final = 30.0
# What a bridge that starts, or is replaced by another, needs to take it. Later the record has gone out.
_KEEP_S: Final = 30.0
_UNAUTHORIZED: Final = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
_LATER: Final = (
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.BAD_GATEWAY,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT,
)


def correlation_url(endpoint: str) -> str:
    """The URL to post to.

    Args:
        endpoint: The bridge's address, such as ``http://otel-bridge:8790``; one that ends in
            ``/v1/correlations`` is taken as it is.

    Raises:
        ValueError: It is no such address; says what was wrong.
    """
    # What urlsplit leaves out of an address without a word is no part of one.
    parts = urlsplit(endpoint if endpoint.isprintable() else "")
    _ = parts.port  # raises ValueError where it is no port
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError("not an address such as http://otel-bridge:8790")
    if parts.username or parts.password:
        raise ValueError("an address has no password in it; the token goes into OTEL_BRIDGE_TOKEN")
    endpoint = endpoint.rstrip("/")
    return endpoint if endpoint.endswith(_PATH) else endpoint + _PATH


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """The token goes to the address that was set and to no other."""

    def redirect_request(self, *_: Any) -> None:
        return None


class Reporter:
    """Keeps the newest correlations that wait, and sends them in batches.

    While the bridge is away or busy a correlation waits for 30 s and is then dropped: its record has gone out
    without it by then, most likely. Tries become rarer, from 0.5 s apart to 30 s. What the bridge refuses is
    dropped at once. A forked process begins with none.

    Args:
        url: Where to post to.
        token: The bridge's bearer token; empty for none.
    """

    def __init__(self, url: str, token: str = "") -> None:
        self._url = url
        self._headers = {"content-type": "application/json", "user-agent": "otel-bridge-instrumentation"}
        if token:
            self._headers["authorization"] = f"Bearer {token}"
        self._opener = urllib.request.build_opener(_NoRedirect)
        self._said: set[tuple[str, str]] = set()
        self._begin()
        _follow_forks(self)
        atexit.register(_close_if_alive, weakref.ref(self))

    def _begin(self) -> None:
        # Each with the time, in s of the monotonic clock, until which it is of use.
        self._waiting: deque[tuple[float, Mapping[str, str]]] = deque(maxlen=_MOST_WAITING)
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def report(self, correlation: Mapping[str, str]) -> None:
        """Send it soon. Where too many wait, the oldest is forgotten."""
        if any(len(text) > _MOST_CHARS for text in correlation.values()):
            # The bridge would refuse it, and the batch with it.
            return
        self._waiting.append((time.monotonic() + _KEEP_S, correlation))
        if self._thread is None:
            self._start()
        if not self._wake.is_set():
            self._wake.set()

    def close(self, timeout_s: float = _EXIT_S) -> None:
        """Send what waits, for as long as this at most."""
        self._closing.set()
        self._wake.set()
        thread = self._thread
        if thread is not None:
            thread.join(timeout_s)

    def _start(self) -> None:
        with self._lock:
            if self._thread is None and not self._closing.is_set():
                thread = threading.Thread(target=self._run, name="otel-bridge-correlations", daemon=True)
                try:
                    thread.start()
                except RuntimeError:
                    # The interpreter ends, or the machine has no thread left.
                    _logger.debug("no thread for correlations", exc_info=True)
                    return
                self._thread = thread

    def _run(self) -> None:
        pause_s = 0.0
        with suppress_instrumentation():
            while True:
                if not self._waiting:
                    self._wake.wait()
                self._closing.wait(pause_s or _LINGER_S)
                self._wake.clear()
                # Asked before sending: what came in meanwhile gets a try of its own.
                closing = self._closing.is_set()
                asked_s = self._send_all()
                if closing:
                    break
                if asked_s is None:
                    pause_s = 0.0
                else:
                    pause_s = min(max(_FIRST_PAUSE_S, pause_s * 2, asked_s), _LONGEST_PAUSE_S)
        if self._waiting:
            self._say("not reported", "the application ended first", len(self._waiting))

    def _send_all(self) -> float | None:
        """Send what waits.

        Returns:
            None where all of it went; else how long the bridge wants to be left alone, in s, 0 where it does
            not say.
        """
        while self._waiting:
            batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), _MOST_IN_A_REQUEST))]
            asked_s = self._send(batch)
            if asked_s is not None:
                return asked_s
        return None

    def _send(self, batch: list[tuple[float, Mapping[str, str]]]) -> float | None:
        body = json.dumps([correlation for _, correlation in batch]).encode()
        request = urllib.request.Request(self._url, body, self._headers, method="POST")  # noqa: S310 - http and https alone pass `correlation_url`
        try:
            with self._opener.open(request, timeout=_TIMEOUT_S):
                return None
        except urllib.error.HTTPError as error:
            error.close()
            hint = ": is OTEL_BRIDGE_TOKEN the bridge's?" if error.code in _UNAUTHORIZED else ""
            why = f"the bridge answered {error.code}{hint}"
            if error.code in _LATER:
                self._put_back(batch, why)
                asked = error.headers.get("retry-after", "")
                return float(asked) if asked.isascii() and asked.isdecimal() else 0.0
            self._say("not reported", why, len(batch))
        except Exception as error:  # noqa: BLE001 - whatever it is, the application goes on
            reason = getattr(error, "reason", None) or error
            self._put_back(batch, f"the bridge can't be reached ({type(reason).__name__})")
        return 0.0

    def _put_back(self, batch: Sequence[tuple[float, Mapping[str, str]]], why: str) -> None:
        """Keep those that are of use yet, the newest where too many wait."""
        now_s = time.monotonic()
        useful = [each for each in batch if each[0] > now_s]
        room = max(0, _MOST_WAITING - len(self._waiting))
        useful = useful[len(useful) - min(room, len(useful)) :]
        self._waiting.extendleft(reversed(useful))
        if useful:
            self._say("waiting", why, len(useful))
        if len(useful) < len(batch):
            self._say("not reported", why, len(batch) - len(useful))

    def _say(self, what: str, why: str, count: int) -> None:
        """Once each, and after that for those who look closely."""
        level = logging.DEBUG if (what, why) in self._said else logging.WARNING
        self._said.add((what, why))
        _logger.log(level, "%d correlations are %s: %s", count, what, why)


def _follow_forks(reporter: Reporter) -> None:
    if hasattr(os, "register_at_fork"):
        reference = weakref.ref(reporter)
        os.register_at_fork(after_in_child=lambda: _begin_if_alive(reference))


def _begin_if_alive(reference: weakref.ref[Reporter]) -> None:
    reporter = reference()
    if reporter is not None:
        reporter._begin()  # noqa: SLF001 - a fork's child has no thread and perhaps a lock held by nobody


def _close_if_alive(reference: weakref.ref[Reporter]) -> None:
    reporter = reference()
    if reporter is not None:
        reporter.close()
