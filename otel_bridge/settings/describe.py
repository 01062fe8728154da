"""The effective settings for people: as YAML, with every secret masked."""

from __future__ import annotations

import json
from typing import Any

import yaml
from pydantic import BaseModel, SecretStr

from otel_bridge.ledger.place import masked_url
from otel_bridge.settings.kinds import takes_duration
from otel_bridge.settings.model import SettingsModel
from otel_bridge.times import setting_of_duration

_MASK = "********"


def as_yaml(settings: SettingsModel) -> str:
    """The settings as the file would write them. Secrets show as stars, or as ``null`` where unset."""
    return yaml.safe_dump(_shown(settings), sort_keys=False, allow_unicode=True, width=100)


def schema() -> str:
    """The JSON schema of the YAML file."""
    return json.dumps(SettingsModel.model_json_schema(mode="validation"), indent=2)


def _shown(value: Any) -> Any:
    if isinstance(value, BaseModel):
        shown = {}
        for name, field in type(value).model_fields.items():
            item = getattr(value, name)
            if name == "state":
                shown[name] = masked_url(item.get_secret_value())
            elif isinstance(item, int) and takes_duration(field):
                shown[name] = setting_of_duration(item)
            elif name == "recheck":
                shown[name] = ",".join(map(setting_of_duration, item))
            else:
                shown[name] = _shown(item)
        return shown
    if isinstance(value, SecretStr):
        return _MASK
    if isinstance(value, dict):
        return {key: _shown(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return [_shown(item) for item in value]
    return str(value) if isinstance(value, str) else value
