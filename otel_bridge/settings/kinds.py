"""Kinds of value a setting can have, each with the words that say what it takes."""

from __future__ import annotations

import ipaddress
import itertools
import os
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, get_args
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, SecretStr

from otel_bridge.times import DURATION_FORM, TIME_FORM, parse_duration_ms, parse_time_ms

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

# Composio keeps logs for up to a year: nothing that is set speaks of more.
_MOST_MS = 400 * 86_400_000
_HOST_NAME = re.compile(r"[A-Za-z0-9._-]{1,255}")
_PLACE = re.compile(r"\{[^{}]*\}")


@dataclass(frozen=True, slots=True)
class Variable:
    """Names the environment variable of a setting.

    Attributes:
        name: The variable.
        takes: What its value must be, for the error line.
        secret: Whether the value must never be shown.
        from_file: Whether ``<name>_FILE`` can name a file that holds the value.
    """

    name: str | None
    takes: str
    secret: bool = False
    from_file: bool = False

    @property
    def file_name(self) -> str | None:
        """The variable that can name a file with the value; None where there is none."""
        return f"{self.name}_FILE" if self.name and self.from_file else None


def _duration(value: Any) -> int:
    if not isinstance(value, str):
        raise ValueError(DURATION_FORM)  # noqa: TRY004 - pydantic turns ValueError into its own report
    duration = parse_duration_ms(value)
    if duration > _MOST_MS:
        raise ValueError(DURATION_FORM)
    return duration


def _ages(value: Any) -> tuple[int, ...]:
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, (list, tuple)):
        raise ValueError("ages")  # noqa: TRY004 - as above
    ages = tuple(_duration(part) for part in parts if not isinstance(part, str) or part.strip())
    if any(later <= earlier for earlier, later in itertools.pairwise(ages)) or 0 in ages:
        raise ValueError("ages that rise")
    return ages


def _point(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(TIME_FORM)  # noqa: TRY004 - as above
    now_ms = time.time_ns() // 1_000_000
    age_ms = now_ms - parse_time_ms(value, now_ms)
    if not 0 <= age_ms <= _MOST_MS:
        raise ValueError(TIME_FORM)
    return value.strip()


def _names(value: Any) -> Any:
    if isinstance(value, str):
        value = [part.strip() for part in value.split(",") if part.strip()]
    if isinstance(value, list) and not all(each.isprintable() for each in value if isinstance(each, str)):
        raise ValueError("names without line breaks")
    return value


def _upper(value: Any) -> Any:
    return value.upper() if isinstance(value, str) else value


def _lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine's own."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_address(host: str) -> bool:
    """Whether a host is written as an address, not as a name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def http_allowed() -> bool:
    """Whether a person allowed clear text beyond loopback (OTEL_BRIDGE_ALLOW_HTTP)."""
    return os.environ.get("OTEL_BRIDGE_ALLOW_HTTP", "").strip().lower() in {"1", "true", "yes", "on"}


def _base_url(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("a URL")  # noqa: TRY004 - as above
    value = value.strip()
    # Line breaks within it are what urlsplit leaves out without a word.
    parts = urlsplit(value if value.isprintable() else "")
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
        raise ValueError("a URL")
    if parts.username is not None or parts.password is not None:
        raise ValueError("a URL without user and password")
    _ = parts.port  # raises ValueError where it is no port
    if parts.scheme == "http" and not is_loopback(parts.hostname) and not http_allowed():
        raise ValueError("https")
    return value.rstrip("/")


def _listen(value: object) -> str:
    if value is None:  # a key of the file with nothing behind it
        return ""
    if not isinstance(value, str):
        raise ValueError("an address")  # noqa: TRY004 - as above
    value = value.strip()
    if value:
        host, _, port = value.rpartition(":")
        if not host or not value.isprintable() or not port.isdecimal() or int(port) > 65_535:  # noqa: PLR2004 - the highest port
            raise ValueError("an address")
    return value


def _label(value: str | None) -> str | None:
    if value is not None and (not value.isprintable() or value != value.strip()):
        raise ValueError("a name")
    return value


def _host_names(value: tuple[str, ...]) -> tuple[str, ...]:
    # What a Host header may name, without its port: anything else would never be asked for.
    if not all(_HOST_NAME.fullmatch(each) or is_address(each) for each in value):
        raise ValueError("names of hosts")
    return value


def _service_name(value: str | None) -> str | None:
    unknown = set(_PLACE.findall(value or "")) - {"{toolkit}", "{project}"}
    if unknown:
        raise ValueError("a name")
    return _label(value)


def _key(value: SecretStr | None) -> SecretStr | None:
    if value is None:
        return None
    text = value.get_secret_value().strip()
    if not text or not all("!" <= character <= "~" for character in text):  # a header can't hold it
        raise ValueError("a key")
    return SecretStr(text)


def _one_line(value: SecretStr | None) -> SecretStr | None:
    if value is not None and not value.get_secret_value().isprintable():
        raise ValueError("one line")
    return value


DurationMs = Annotated[int, BeforeValidator(_duration)]
Ages = Annotated[tuple[int, ...], BeforeValidator(_ages)]
Point = Annotated[str, BeforeValidator(_point)]
BaseUrl = Annotated[str, BeforeValidator(_base_url)]
Listen = Annotated[str, BeforeValidator(_listen)]
Names = BeforeValidator(_names)
HostNames = AfterValidator(_host_names)
Upper = BeforeValidator(_upper)
Lower = BeforeValidator(_lower)
Label = AfterValidator(_label)
Key = AfterValidator(_key)
OneLine = AfterValidator(_one_line)
ServiceName = AfterValidator(_service_name)


def _rising(value: int) -> int:
    if value <= 0:
        raise ValueError("more than nothing")
    return value


PositiveDurationMs = Annotated[int, BeforeValidator(_duration), AfterValidator(_rising)]

AUTO: Final = "auto"
MOST_CONCURRENCY: Final = 256


def _auto_or_duration(value: object) -> str | int:
    if isinstance(value, str) and value.strip().lower() == AUTO:
        return AUTO
    return _rising(_duration(value))


def _auto_or_concurrency(value: object) -> object:
    if isinstance(value, str):
        text = value.strip()
        if text.lower() == AUTO:
            return AUTO
        if not (text.isascii() and text.isdecimal()):
            raise ValueError("a number")
        value = int(text)
    if isinstance(value, int) and not 1 <= value <= MOST_CONCURRENCY:
        raise ValueError("a number in its bounds")
    return value


AutoDurationMs = Annotated[Literal["auto"] | int, BeforeValidator(_auto_or_duration)]
"""A duration in ms, or ``auto``."""
AutoConcurrency = Annotated[Literal["auto"] | int, BeforeValidator(_auto_or_concurrency)]
"""A number of requests in flight, or ``auto``."""


def takes_duration(field: FieldInfo) -> bool:
    """Whether a field is a duration, written such as ``5s`` and held in ms."""
    validators = [*field.metadata]
    for part in get_args(field.annotation):  # an optional one has its validators inside
        validators += getattr(part, "__metadata__", ())
    return any(
        isinstance(each, BeforeValidator) and each.func in {_duration, _auto_or_duration}
        for each in validators
    )
