"""Which path is answered by what."""

from __future__ import annotations

import asyncio
import gzip
import re
from dataclasses import dataclass
from http import HTTPStatus
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from otel_bridge.file_values import Part
from otel_bridge.service.correlations import CorrelationRegister
from otel_bridge.web.correlations import correlation_route
from otel_bridge.web.guard import Guard, prefix_of
from otel_bridge.web.page import CONTENT_SECURITY_POLICY, Page, refresh_s, render
from otel_bridge.web.snapshot import Fresh, Snapshots
from otel_bridge.web.status import readiness_json, status_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request

    from otel_bridge.service.running import Running

METRICS_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_NOT_AT_ALL: Final = re.compile(r"\s*q\s*=\s*0(\.0*)?\s*")
_GZIP_LEVEL: Final = 3
"""A thirtieth of the size for about 5 ms; higher levels take longer and save little."""


@dataclass(frozen=True, slots=True)
class Measured:
    """The text of ``/metrics``, as it is and with gzip; made once for all who ask within a second."""

    plain: bytes
    zipped: bytes

    @classmethod
    def by(cls, make: Callable[[], bytes]) -> Measured:
        """Make both. Blocks: call it off the event loop."""
        plain = make()
        return cls(plain, gzip.compress(plain, _GZIP_LEVEL, mtime=0))


class Endpoints:
    """Answers the requests of a running service.

    Args:
        running: The service.
    """

    def __init__(self, running: Running) -> None:
        self._running = running
        self._snapshot = Fresh(Snapshots(running).take, running.clock)
        self._page = Fresh(self._render, running.clock)
        self._metrics = Fresh(self._measure, running.clock)

    async def livez(self, _request: Request) -> Response:
        """200 while the process works. That this loop answers at all is the greater part of it."""
        ended = self._running.health.ended()
        if not ended:
            return JSONResponse({"status": "alive", "reasons": []})
        body = {**readiness_json(ended), "status": "not_alive"}
        return JSONResponse(body, HTTPStatus.SERVICE_UNAVAILABLE)

    async def readyz(self, _request: Request) -> Response:
        """200 when every project is up to date, else 503 and why."""
        reasons = self._running.health.readiness(self._running.clock.now_ms())
        status = HTTPStatus.SERVICE_UNAVAILABLE if reasons else HTTPStatus.OK
        return JSONResponse(readiness_json(reasons), status)

    async def metrics(self, request: Request) -> Response:
        """The measurements as Prometheus reads them: with gzip for those who take it, as Prometheus does."""
        made = await self._metrics.get()
        headers = {"vary": "accept-encoding"}
        if not _takes_gzip(request.headers.get("accept-encoding", "")):
            return Response(made.plain, media_type=METRICS_TYPE, headers=headers)
        headers["content-encoding"] = "gzip"
        return Response(made.zipped, media_type=METRICS_TYPE, headers=headers)

    async def status(self, _request: Request) -> Response:
        """How every project stands."""
        share = self._running.settings.collect.rate_share
        return JSONResponse(status_json(await self._snapshot.get(), share))

    async def page(self, request: Request) -> Response:
        """The same for people."""
        seconds = refresh_s(request.query_params.get("refresh"))
        headers = {"content-security-policy": CONTENT_SECURITY_POLICY}
        if seconds:
            # A header and not an element: it can be left out without another page.
            headers["refresh"] = str(seconds)
        page = await self._page.get()
        prefix = prefix_of(request.scope)
        base = f"{prefix}/" if prefix else ""
        return HTMLResponse(page.refreshing(base) if seconds else page.paused(base), headers=headers)

    async def openapi(self, _request: Request) -> Response:
        """What all of these take and answer."""
        return Response(OPENAPI, media_type="application/yaml")

    async def _measure(self) -> Measured:
        make = self._running.metrics
        # Writing it all takes tens of ms, for which a batch need not wait; nor for the page.
        return await asyncio.to_thread(Measured.by, make or bytes)

    async def _render(self) -> Page:
        snapshot = await self._snapshot.get()
        return await asyncio.to_thread(render, snapshot, self._running.settings.links.trace)


OPENAPI: Final = files(__package__).joinpath("openapi.yaml").read_text("utf-8")


def create_app(running: Running, listens_on: str = "127.0.0.1") -> Starlette:
    """The app that serves a running service.

    Args:
        running: The service; what it does not have yet is answered as not there yet.
        listens_on: The host that is listened on; see `Guard`.
    """
    answers = Endpoints(running)
    settings = running.settings
    register = CorrelationRegister(
        ledger=lambda: running.ledger,
        observer=lambda: running.observer,
        clock=running.clock,
        keep_ms=settings.ledger.keep_correlations,
    )
    routes = [
        Route("/livez", answers.livez, methods=["GET"]),
        Route("/readyz", answers.readyz, methods=["GET"]),
        Route("/metrics", answers.metrics, methods=["GET"]),
        Route("/api/status", answers.status, methods=["GET"]),
        Route("/openapi.yaml", answers.openapi, methods=["GET"]),
        Route("/", answers.page, methods=["GET"]),
        correlation_route(register, Part(settings.present, lambda now: now.http.token), running.clock),
    ]
    app = Starlette(
        routes=routes,
        middleware=[Middleware(Guard, listens_on=listens_on, hosts=settings.http.hosts)],
        exception_handlers={HTTPException: _refused},
    )
    # "/livez/" is no path of ours, and must not become a redirect.
    app.router.redirect_slashes = False
    return app


def _takes_gzip(accepted: str) -> bool:
    """Whether an Accept-Encoding header names gzip and does not weigh it 0 (RFC 9110 section 12.5.3)."""
    for each in accepted.lower().split(","):
        name, _, weight = each.partition(";")
        if name.strip() == "gzip":
            return not _NOT_AT_ALL.fullmatch(weight)
    return False


async def _refused(_request: Request, error: Any) -> Response:
    """An unknown path or method: the status in words, and nothing of what was asked."""
    status = HTTPStatus(error.status_code)
    return JSONResponse({"error": status.phrase.lower()}, status, headers=error.headers)
