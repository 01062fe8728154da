"""What several commands have in common: the settings file, a project's name, and a number's bounds."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Annotated

import typer

from otel_bridge.errors import SettingsError
from otel_bridge.service import logs
from otel_bridge.service.logs import event
from otel_bridge.service.roster import say_refused
from otel_bridge.settings import CONFIG_VARIABLE, ProjectSettings, Settings, load, unknown_variables

ConfigFile = Annotated[
    str | None,
    typer.Option("--config", metavar="FILE", help=f"The YAML settings file, or {CONFIG_VARIABLE}."),
]
ProjectName = Annotated[
    str | None, typer.Option("--project", metavar="NAME", help="Only this project of the settings.")
]


def read_settings(config: str | None) -> Settings:
    """The settings, and from now on the log as they say.

    Raises:
        SettingsError: One of them is wrong.
    """
    settings = read_quietly(config)
    for line in unknown_variables(os.environ):
        event(logging.WARNING, "unknown_variable", line)
    say_refused(settings.found)
    return settings


def read_quietly(config: str | None) -> Settings:
    """As ``read_settings``, for a command that tells itself of variables that are no settings.

    Raises:
        SettingsError: As there.
    """
    settings = load(_path(config))
    logs.set_up(settings.log.level, settings.log.format)
    return settings


def chosen_projects(settings: Settings, name: str | None) -> list[ProjectSettings]:
    """The project of this name, or all without one.

    Raises:
        SettingsError: There is none of this name.
    """
    chosen = [project for project in settings.projects if name in {None, project.name}]
    if not chosen:
        known = ", ".join(project.name for project in settings.projects)
        raise SettingsError(f"--project is {name!r}: takes the name of a project in the settings: {known}")
    return chosen


def within(name: str, value: float, least: int, most: int) -> None:
    """Check a number.

    Raises:
        SettingsError: It is out of bounds.
    """
    if not least <= value <= most:
        raise SettingsError(f"{name} is {value}: takes a number from {least:,} to {most:,}")


def _path(config: str | None) -> Path | None:
    if config is None:
        return _path_of_variable()
    if not config.strip() or "\x00" in config:
        raise SettingsError("--config is empty: takes the name of a YAML file, or leave the option out")
    return Path(config)


def _path_of_variable() -> Path | None:
    """The file that the environment names; a person who has typed no name is told where this one is from."""
    named = os.environ.get(CONFIG_VARIABLE, "").strip()
    if not named:
        return None
    path = Path(named)
    try:
        # What is neither a file nor a folder is left to who reads it: opening it might wait for ever.
        if path.is_file() or not path.exists() or path.is_dir():
            path.open("rb").close()
    except OSError as error:
        raise SettingsError(
            f"{CONFIG_VARIABLE} is {named!r}: the settings file can't be read: {error.strerror}"
        ) from None
    return path
