"""The effective settings for people: as YAML, with every secret masked."""

from __future__ import annotations

import json
from typing import Any

import yaml
from pydantic import BaseModel, SecretStr

from otel_bridge.settings.model import SettingsModel
from otel_bridge.times import format_duration, parse_duration_ms

_DURATIONS = {"poll_interval", "parent_wait", "keep", "age_limit", "verify_every"}
_MASK = "********"


def as_yaml(settings: SettingsModel) -> str:
    """The settings as the file would write them. Secrets show as stars, or as ``null`` where unset."""
    return yaml.safe_dump(_shown(settings), sort_keys=False, allow_unicode=True, width=100)


def schema() -> str:
    """The JSON schema of the YAML file."""
    return json.dumps(SettingsModel.model_json_schema(mode="validation"), indent=2)


def _shown(value: Any, name: str = "") -> Any:
    if isinstance(value, BaseModel):
        shown = {}
        for field in type(value).model_fields:
            item = getattr(value, field)
            shown[field] = _mask_state(item) if field == "state" else _shown(item, field)
        return shown
    if isinstance(value, SecretStr):
        return _MASK
    if isinstance(value, dict):
        return {key: _shown(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return ",".join(map(_duration, value)) if name == "recheck" else [_shown(item) for item in value]
    if (name in _DURATIONS and value is not None) or (name == "timeout" and isinstance(value, int)):
        return _duration(value)
    return str(value) if isinstance(value, str) else value


def _duration(ms: int) -> str:
    short = format_duration(ms).replace(" ", "") if ms else "0s"
    return short if parse_duration_ms(short) == ms else f"{ms}ms"


def _mask_state(state: SecretStr) -> str:
    url = state.get_secret_value()
    scheme, separator, rest = url.partition("://")
    credentials, at, host = rest.rpartition("@")
    if not at:
        return url
    user = credentials.partition(":")[0]
    return f"{scheme}{separator}{user}:{_MASK}@{host}"
