"""Headless Chromium as a process: screenshots, and what a script finds on a page."""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import subprocess
import tempfile
import zlib
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

_RESULT = re.compile(r'<pre id="result">(.*?)</pre>', re.DOTALL)
_TIMEOUT_S = 90


def chromium() -> str:
    """Find it; skip the test where there is none, or fail it where backends are required."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        found = shutil.which(name)
        if found:
            return found
    reason = "Chromium is not installed: apt-get install chromium"
    if os.environ.get("OTEL_BRIDGE_REQUIRE_BACKENDS") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


def screenshot(url: str, file: Path, size: tuple[int, int], *, dark: bool = False) -> str:
    """Draw a page into a PNG; gives what the browser's console said."""
    shot = [f"--screenshot={file}", "--hide-scrollbars", "--enable-logging=stderr"]
    done = _run(url, size, dark, *shot)
    assert file.exists(), done.stderr
    return "\n".join(line for line in done.stderr.splitlines() if "CONSOLE" in line)


def found_on(
    page: str, script: str, folder: Path, size: tuple[int, int], *, dark: bool = False, library: str = ""
) -> Any:
    """What a script returns that runs on a page, whose own policy is left out.

    Args:
        page: The page's HTML.
        script: The body of an async function that returns something for JSON.
        folder: Where the page may be written.
        size: Of the window, in pixels.
        dark: Whether the person likes it dark.
        library: A script that it uses.
    """
    file = folder / "page.html"
    shown = "const p=document.createElement('pre');p.id='result';p.textContent=text;document.body.append(p)"
    run = f"(async()=>{{{script}}})().then(v=>JSON.stringify(v),e=>JSON.stringify(String(e)))"
    whole = f"addEventListener('load',()=>{run}.then(text=>{{{shown}}}))"
    library = library.replace("</script", "<\\/script")
    scripts = f"<script>{library}</script><script>{whole}</script></body>"
    file.write_text(page.replace("</body>", scripts))
    done = _run(file.as_uri(), size, dark, "--dump-dom", "--virtual-time-budget=2000")
    result = _RESULT.search(done.stdout)
    assert result is not None, done.stderr
    return json.loads(html.unescape(result[1]))


def first_pixel(png: Path) -> tuple[int, int, int]:
    """The colour of a PNG's upper left corner. Its row's filter changes nothing there."""
    data = png.read_bytes()
    packed, at = b"", 8
    while at < len(data):
        length = int.from_bytes(data[at : at + 4])
        if data[at + 4 : at + 8] == b"IDAT":
            packed += data[at + 8 : at + 8 + length]
        at += length + 12
    red, green, blue = zlib.decompress(packed)[1:4]
    return red, green, blue


def _run(url: str, size: tuple[int, int], dark: bool, *arguments: str) -> subprocess.CompletedProcess[str]:
    liking = ["--blink-settings=preferredColorScheme=0"] if dark else []
    # Two that run at once can't share a profile, and what is drawn may go to a folder of all of them. What
    # ends last may still write into it.
    with tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True) as profile:
        command = [
            chromium(),
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-quic",
            "--disable-sync",
            "--no-first-run",
            f"--user-data-dir={profile}",
            f"--window-size={size[0]},{size[1]}",
            *liking,
            *arguments,
            url,
        ]
        return subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
