"""The image's health check: asks ``/livez`` where ``OTEL_BRIDGE_LISTEN`` says it is. Standard library alone.

Exit status 0 is healthy, 1 is not. With the endpoints off there is nothing to ask, and that is healthy.
It reads the environment alone: a settings file that sets ``http.listen`` takes the variable with it.
"""

from __future__ import annotations

import http.client
import os
import sys

TIMEOUT_S = 4.0
ANY = {"0.0.0.0": "127.0.0.1", "::": "::1", "[::]": "::1"}  # noqa: S104 - what is asked, not what is listened on
OK = 200


def main() -> int:
    """Ask once."""
    listen = os.environ.get("OTEL_BRIDGE_LISTEN", "127.0.0.1:8790").strip()
    if not listen:
        return 0
    host, _, port = listen.rpartition(":")
    connection = http.client.HTTPConnection(ANY.get(host, host.strip("[]")), int(port), timeout=TIMEOUT_S)
    try:
        connection.request("GET", "/livez")
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        sys.stdout.write(f"/livez at {listen}: {error}\n")
        return 1
    finally:
        connection.close()
    sys.stdout.write(f"/livez at {listen}: {status}\n")
    return 0 if status == OK else 1


if __name__ == "__main__":
    sys.exit(main())
