"""Reports correlations to the bridge from a thread of its own; it never waits and never fails."""

from __future__ import annotations

import atexit
import json
import logging
import os
import threading
import urllib.error
import urllib.request
import weakref
from collections import deque
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from opentelemetry.instrumentation.utils import suppress_instrumentation

if TYPE_CHECKING:
    from collections.abc import Mapping

_logger: Final = logging.getLogger(__name__)
_PATH: Final = "/v1/correlations"
_MOST_WAITING: Final = 2048
_MOST_CHARS: Final = 512
_MOST_IN_A_REQUEST: Final = 100
# Calls that follow each other closely go together; a bridge waits for a correlation longer than this.
_LINGER_S: Final = 0.1
_TIMEOUT_S: Final = 3.0
_EXIT_S: Final = 2.0
_LONGEST_PAUSE_S: Final = 30.0
_UNAUTHORIZED: Final = (401, 403)


def correlation_url(endpoint: str) -> str:
    """The URL to post to.

    Args:
        endpoint: The bridge's address, such as ``http://otel-bridge:8790``; one that ends in
            ``/v1/correlations`` is taken as it is.

    Raises:
        ValueError: It is no such address; says what was wrong.
    """
    parts = urlsplit(endpoint)
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

    While the bridge is away a batch is dropped, and tries become rarer, down to one each 30 s: a correlation
    is of use for a few seconds only. A forked process begins with none.

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
        self._said: set[str] = set()
        self._begin()
        _follow_forks(self)
        atexit.register(_close_if_alive, weakref.ref(self))

    def _begin(self) -> None:
        self._waiting: deque[Mapping[str, str]] = deque(maxlen=_MOST_WAITING)
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def report(self, correlation: Mapping[str, str]) -> None:
        """Send it soon. Where too many wait, the oldest is forgotten."""
        if any(len(text) > _MOST_CHARS for text in correlation.values()):
            # The bridge would refuse it, and the batch with it.
            return
        self._waiting.append(correlation)
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
        pause_s = _LINGER_S
        with suppress_instrumentation():
            while True:
                self._wake.wait()
                self._closing.wait(pause_s)
                self._wake.clear()
                # Asked before sending: what came in meanwhile gets a try of its own.
                closing = self._closing.is_set()
                pause_s = _LINGER_S if self._send_all() else min(max(1.0, pause_s * 2), _LONGEST_PAUSE_S)
                if closing:
                    return

    def _send_all(self) -> bool:
        """Send what waits; False where a batch was lost."""
        while self._waiting:
            batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), _MOST_IN_A_REQUEST))]
            if not self._send(batch):
                return False
        return True

    def _send(self, batch: list[Mapping[str, str]]) -> bool:
        request = urllib.request.Request(  # noqa: S310 - http and https alone pass `correlation_url`
            self._url, json.dumps(batch).encode(), self._headers, method="POST"
        )
        try:
            with self._opener.open(request, timeout=_TIMEOUT_S):
                return True
        except urllib.error.HTTPError as error:
            error.close()
            hint = ": is OTEL_BRIDGE_TOKEN the bridge's?" if error.code in _UNAUTHORIZED else ""
            self._say(f"the bridge answered {error.code}{hint}", len(batch))
        except Exception as error:  # noqa: BLE001 - whatever it is, the application goes on
            reason = getattr(error, "reason", None) or error
            self._say(f"the bridge can't be reached ({type(reason).__name__})", len(batch))
        return False

    def _say(self, what: str, lost: int) -> None:
        level = logging.DEBUG if what in self._said else logging.WARNING
        self._said.add(what)
        _logger.log(level, "%d correlations were not reported: %s", lost, what)


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
