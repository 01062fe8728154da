"""Links from the page into a backend: URL templates with a few known places to fill in."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final
from urllib.parse import quote, urlsplit

from pydantic import BeforeValidator

TAKES: Final = (
    "Name=URL, several parted by spaces; a URL is http or https and may hold {trace_id}, {trace_id_low}, "
    "{span_id}, {start_ms}, {end_ms} and {project}"
)
PLACES: Final = frozenset({"trace_id", "trace_id_low", "span_id", "start_ms", "end_ms", "project"})
"""What a template may hold. ``trace_id_low``: the lower 64 bits in decimal, which Datadog calls a trace."""

_PLACE: Final = re.compile(r"\{([^{}]*)\}")
_URL_CHARACTERS: Final = re.compile(r"[!#$%&'()*+,\-./0-9:;=?@A-Z_a-z~\[\]{}]+")
_NAME: Final = re.compile(r"[\w .-]{1,30}")
_MOST: Final = 8
_MOST_LENGTH: Final = 1000


def _template(value: object) -> str:
    """A template that can become nothing but an http(s) URL of its own host, whatever is filled in."""
    if not isinstance(value, str) or not _URL_CHARACTERS.fullmatch(value) or len(value) > _MOST_LENGTH:
        raise ValueError(TAKES)
    if not set(_PLACE.findall(value)) <= PLACES or re.search(r"[{}]", _PLACE.sub("", value)):
        raise ValueError(TAKES)
    parts = urlsplit(value)
    _ = parts.port  # raises ValueError where it is no port
    if parts.scheme not in {"http", "https"} or not parts.hostname or "@" in parts.netloc:
        raise ValueError(TAKES)
    if "{" in parts.netloc:
        raise ValueError(TAKES)
    return value


def _links(value: Any) -> dict[str, str]:
    if isinstance(value, str):
        named = [each.partition("=") for each in value.split()]
        pairs = [
            # A lone URL may hold an equals sign of its own.
            (name, url) if equals and "://" not in name else ("trace", name + equals + url)
            for name, equals, url in named
        ]
    elif isinstance(value, dict):
        pairs = list(value.items())
    else:
        raise ValueError(TAKES)  # noqa: TRY004 - pydantic turns ValueError into its own report
    links = {name: _template(url) for name, url in pairs if _NAME.fullmatch(str(name))}
    if len(links) != len(pairs) or len(links) > _MOST:
        raise ValueError(TAKES)
    return links


Links = Annotated[dict[str, str], BeforeValidator(_links)]


def filled(template: str, values: dict[str, str]) -> str:
    """A template with its places filled; each value is percent-encoded, so it stays what it is."""
    return _PLACE.sub(lambda match: quote(values[match[1]], safe=""), template)
