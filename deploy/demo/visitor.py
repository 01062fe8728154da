"""Runs the example application and uses it: a request every few seconds, each from another user.

``VISITS_EVERY_S`` says how often. Ends when it is told to, or when the application ends.
"""

from __future__ import annotations

import itertools
import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType

USERS = ("user_ada", "user_grace", "user_linus", "user_margaret")
TIMEOUT_S = 60.0
_URL = re.compile(r"http://127\.0\.0\.1:\d+/\S+")


def main() -> int:
    """Visit until stopped."""
    every_s = float(os.environ.get("VISITS_EVERY_S", "5"))
    app = subprocess.Popen(  # noqa: S603 - the file beside this one
        [sys.executable, str(Path(__file__).with_name("app.py"))], stdout=subprocess.PIPE, text=True
    )

    def stop(number: int, frame: FrameType | None) -> None:
        del number, frame
        # The application sends what it holds when it is interrupted as from a keyboard.
        app.send_signal(signal.SIGINT)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    line = app.stdout.readline() if app.stdout else ""
    found = _URL.search(line)
    if found is None:
        sys.stdout.write(f"the application did not start: {line}\n")
        return app.wait() or 1
    for user in itertools.cycle(USERS):
        visit(f"{found.group()}?user={user}")
        try:
            app.wait(every_s)
        except subprocess.TimeoutExpired:
            continue
        return 0
    return 0


def visit(url: str) -> None:
    """One request; what goes wrong is a line."""
    request = urllib.request.Request(url, method="POST")  # noqa: S310 - our own loopback address
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310 - as above
            sys.stdout.write(f"{url}: {answer.read(200).decode()}\n")
    except (OSError, urllib.error.URLError) as error:
        sys.stdout.write(f"{url}: {error}\n")


if __name__ == "__main__":
    sys.exit(main())
