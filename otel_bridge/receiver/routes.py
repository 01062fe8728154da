"""The routes of Composio's API that the bridge asks.

Source: the official page of the Logs API and the vendor's OpenAPI document, version 3.1.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from otel_bridge.errors import SettingsError
from otel_bridge.network.address import read_url

if TYPE_CHECKING:
    import httpx


class Route(StrEnum):
    """A route by its short name, as metrics carry it."""

    LIST = "list"
    DETAIL = "detail"
    USAGE = "usage"

    @property
    def method(self) -> str:
        """Its HTTP method."""
        return _ROUTES[self][0]

    @property
    def path(self) -> str:
        """Its path below the base URL; a detail's lacks the id."""
        return _ROUTES[self][1]

    @property
    def label(self) -> str:
        """Its method and path, as error messages name it."""
        return f"{self.method} {self.path}{'{id}' if self is Route.DETAIL else ''}"


_ROUTES: Final = {
    Route.LIST: ("POST", "/api/v3.1/logs/tool_execution"),
    Route.DETAIL: ("GET", "/api/v3.1/logs/tool_execution/"),
    Route.USAGE: ("POST", "/api/v3.1/project/usage/summary"),
}
_PLAIN: Final = re.compile("[A-Za-z0-9_-]+")  # as Composio's ids


def quote_id(log_id: str) -> str:
    """Quote an id to one segment of a path, whatever is in it.

    ``.`` and ``..`` are quoted too: every URL library takes them, plain, for steps through the path.
    """
    if _PLAIN.fullmatch(log_id):
        return log_id
    quoted = quote(log_id, safe="", errors="replace")
    return quoted.replace(".", "%2E") if quoted in {".", ".."} else quoted


def read_base_url(text: str) -> httpx.URL:
    """Read the address of Composio's API, without a slash at its end.

    Raises:
        SettingsError: It is no address that HTTP requests can be sent to.
    """
    url = read_url(text.strip().rstrip("/"))
    if url is None or url.scheme not in {"http", "https"} or url.query or url.fragment:
        raise SettingsError(
            "COMPOSIO_BASE_URL (base_url) takes an address such as https://backend.composio.dev,"
            f" without query or fragment; it was {_without_userinfo(text)!r}"
        )
    if url.userinfo:
        raise SettingsError(
            "COMPOSIO_BASE_URL (base_url) must not hold a user name or password; it was"
            f" {_without_userinfo(text)!r}"
        )
    return url


def _without_userinfo(text: str) -> str:
    before, at, after = text.rpartition("@")
    return f"{before.partition('//')[0]}//***@{after}" if at else text
