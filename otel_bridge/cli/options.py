"""What several commands have in common: the settings file, and a number's bounds."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Annotated

import typer

from otel_bridge.errors import SettingsError
from otel_bridge.service import logs
from otel_bridge.settings import Settings, load, unknown_variables

ConfigFile = Annotated[Path | None, typer.Option("--config", metavar="FILE", help="The YAML settings file.")]


def read_settings(config: Path | None) -> Settings:
    """The settings, and from now on the log as they say.

    Raises:
        SettingsError: One of them is wrong.
    """
    settings = load(config)
    logs.set_up(settings.log.level, settings.log.format)
    for line in unknown_variables(os.environ):
        logs.event(logging.WARNING, "unknown_variable", line)
    return settings


def within(name: str, value: float, least: int, most: int) -> None:
    """Check a number.

    Raises:
        SettingsError: It is out of bounds.
    """
    if not least <= value <= most:
        raise SettingsError(f"{name} is {value}: takes a number from {least:,} to {most:,}")
