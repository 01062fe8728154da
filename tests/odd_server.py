"""A server on loopback that answers each request with bytes of a test's choice, HTTP or not, and hangs up."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Mapping

_MOST_BYTES = 1 << 20
_PATIENCE_S = 5.0


class OddServer:
    """Listens for as long as its context lasts.

    Attributes:
        answers: By a part of the path; the empty part is every path. The first that fits is the answer.
    """

    def __init__(self) -> None:
        self.answers: Mapping[str, bytes] = {}
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve, daemon=True)

    @property
    def port(self) -> int:
        """Where it listens."""
        port = self._socket.getsockname()[1]
        assert isinstance(port, int)
        return port

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(10)

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError, ValueError, IndexError):
            connection.settimeout(_PATIENCE_S)
            asked = b""
            while b"\r\n\r\n" not in asked and len(asked) < _MOST_BYTES:
                more = connection.recv(65_536)
                if not more:
                    return
                asked += more
                if not asked[:1].isalpha() or asked.startswith(b"PRI "):  # TLS, SOCKS or HTTP/2
                    break
            head, _, body = asked.partition(b"\r\n\r\n")
            length = 0
            for line in head.lower().split(b"\r\n"):
                if line.startswith(b"content-length:"):
                    length = int(line.partition(b":")[2])
            while len(body) < min(length, _MOST_BYTES):
                more = connection.recv(65_536)
                if not more:
                    return
                body += more
            path = head.split(b" ")[1].decode("latin-1") if head[:1].isalpha() else ""
            connection.sendall(next((raw for part, raw in self.answers.items() if part in path), b""))
            connection.shutdown(socket.SHUT_WR)
