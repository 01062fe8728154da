"""The page, its links and the endpoints behind nginx, with TLS and a path of their own."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import socket
import ssl
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from urllib.parse import urljoin

import httpx
import pytest
from certificates import make_certificates
from web_stage import Stage

from otel_bridge.web import endpoints

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from certificates import Certificates

pytestmark = pytest.mark.backend

TOKEN = "correlation-token"
CONFIG = """
daemon off; master_process off; worker_processes 1; error_log {folder}/error.log; pid {folder}/pid;
events {{ worker_connections 64; }}
http {{
  access_log off;
  client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
  uwsgi_temp_path {folder}; scgi_temp_path {folder};
  server {{
    listen 127.0.0.1:{port} ssl;
    ssl_certificate {certificate}; ssl_certificate_key {key};
    {location}
  }}
}}
"""
TAKEN_AWAY = "location /bridge/ {{ proxy_pass {url}/; proxy_set_header Host $host; }}"
WITHOUT_SLASH = "location /bridge {{ proxy_pass {url}/; }}"
NAMED = "location /bridge {{ proxy_pass {url}; proxy_set_header X-Forwarded-Prefix /bridge; }}"
PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def nginx() -> str:
    """The program; skip the test where it is not, or fail it where required."""
    found = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    if found:
        return found
    reason = "nginx is not installed: apt-get install nginx-light"
    if os.environ.get("OTEL_BRIDGE_REQUIRE_BACKENDS") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


@asynccontextmanager
async def behind(
    folder: Path, made: Certificates, location: str, url: str
) -> AsyncIterator[httpx.AsyncClient]:
    """A client of nginx before the endpoints at ``url``."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    file = folder / "nginx.conf"
    file.write_text(
        CONFIG.format(
            folder=folder,
            port=port,
            certificate=made.server,
            key=made.server_key,
            location=location.format(url=url),
        )
    )
    program = await asyncio.create_subprocess_exec(
        *(nginx(), "-c", str(file), "-p", str(folder), "-e", str(folder / "error.log"))
    )
    trust = ssl.create_default_context(cafile=made.authority)
    address = f"https://localhost:{port}/"
    try:
        async with httpx.AsyncClient(verify=trust, base_url=address, trust_env=False) as client:
            async with asyncio.timeout(20):
                while not await _answers(port):  # noqa: ASYNC110 - another process listens
                    await asyncio.sleep(0.02)
            yield client
    finally:
        program.terminate()
        await program.wait()


async def _answers(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


@pytest.mark.parametrize(
    ("location", "entry"),
    [(TAKEN_AWAY, "bridge/"), (WITHOUT_SLASH, "bridge/"), (NAMED, "bridge/"), (NAMED, "bridge")],
    ids=["taken away", "without a slash", "named", "named, without a slash"],
)
async def test_the_page_its_links_and_the_endpoints(location: str, entry: str, tmp_path: Path) -> None:
    made = make_certificates(tmp_path)
    stage = Stage(tmp_path, http={"token": TOKEN, "hosts": "localhost"})
    await stage.start()
    async with endpoints(stage.running):
        url = stage.running.url or ""
        async with behind(tmp_path, made, location, url) as client:
            page = await client.get(entry)
            assert page.status_code == 200
            links = re.findall(r'href="([^"#]+)"', page.text)
            links = [each for each in links if not each.startswith("http")]
            assert len(links) >= 5
            for link in links:
                answer = await client.get(urljoin(str(page.url), link))
                assert answer.status_code in {200, 503}, link
            assert (await client.get("bridge/livez")).json()["status"] == "alive"
            one = {"log_id": "log_1", "traceparent": PARENT}
            assert (await client.post("bridge/v1/correlations", json=one)).status_code == 401
            key = {"authorization": f"Bearer {TOKEN}"}
            told = await client.post("bridge/v1/correlations", json=one, headers=key)
            assert told.status_code == 202
