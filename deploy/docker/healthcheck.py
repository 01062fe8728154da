"""The image's health check: asks ``/livez`` where ``OTEL_BRIDGE_LISTEN`` says it is. Standard library alone.

Exit status 0 is healthy, 1 is not. With the endpoints off there is nothing to ask, and that is healthy.
It reads the environment alone: a settings file that sets ``http.listen`` takes the variable with it.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import sys

TIMEOUT_S = 4.0
# Where all addresses are listened on, the machine may have those of one family alone.
ANY = {"0.0.0.0": ("127.0.0.1",), "::": ("127.0.0.1", "::1")}  # noqa: S104 - what is asked, not what is listened on
OK = 200


def main() -> int:
    """Ask once."""
    # The bridge takes the same off a value: white space and the quotes of an env file.
    listen = os.environ.get("OTEL_BRIDGE_LISTEN", "127.0.0.1:8790").strip().strip("\"'").strip()
    if not listen:
        return 0
    host, _, port = listen.rpartition(":")
    host = host.strip("[]")
    said: object = "no address"
    for each in ANY.get(host, (host,)):
        said = asked(each, port)
        if isinstance(said, int):
            break
    sys.stdout.write(f"/livez at {listen}: {said}\n")
    return 0 if said == OK else 1


def asked(host: str, port: str) -> int | str:
    """The status of the answer, or why there is none."""
    try:
        connection = http.client.HTTPConnection(host, int(port), timeout=TIMEOUT_S / 2)
        with contextlib.closing(connection):
            connection.request("GET", "/livez")
            return connection.getresponse().status
    except (OSError, ValueError, http.client.HTTPException) as error:
        return str(error)


if __name__ == "__main__":
    sys.exit(main())
