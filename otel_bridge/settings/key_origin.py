"""Where a project's key comes from, for those who are to mend it: a place and a name, never a value."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from otel_bridge.settings.file import is_reference
from otel_bridge.settings.problems import printable

if TYPE_CHECKING:
    from collections.abc import Mapping

KEY_VARIABLE: Final = "COMPOSIO_API_KEY"
KEY_FILE_VARIABLE: Final = "COMPOSIO_API_KEY_FILE"


def key_in_environment(environ: Mapping[str, str]) -> str:
    """Which variable has the key, such as ``COMPOSIO_API_KEY_FILE (/run/secrets/key)``."""
    if environ.get(KEY_VARIABLE) or not environ.get(KEY_FILE_VARIABLE):
        return KEY_VARIABLE
    return printable(f"{KEY_FILE_VARIABLE} ({environ[KEY_FILE_VARIABLE]})")


def key_in_file(where: str, written: Any) -> str:
    """Which setting has the key, and what it refers to, such as ``a.yaml: api_key (${env:SHOP_KEY})``.

    Args:
        where: The project's place.
        written: The project as it is written, nothing put in place.
    """
    key = written.get("api_key") if isinstance(written, dict) else None
    refers = f" ({key})" if isinstance(key, str) and is_reference(key) else ""
    return printable(f"{where}api_key{refers}")
