"""From the environment and the file to one frozen ``Settings``, or one clear line."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from pydantic import PrivateAttr, SecretStr, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from otel_bridge.environment import clean_environment
from otel_bridge.errors import SettingsError
from otel_bridge.exporter.destination import Destination, Signal, destination_from
from otel_bridge.ledger.place import check_state_url
from otel_bridge.settings.file import fill, read_secret, read_unfilled, readable
from otel_bridge.settings.key_origin import KEY_FILE_VARIABLE, KEY_VARIABLE, key_in_environment, key_in_file
from otel_bridge.settings.model import OtlpSettings, ProjectSettings, SettingsModel
from otel_bridge.settings.problems import line_of, printable, shown, variables
from otel_bridge.settings.projects import FoundProjects, ProjectsPlace

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from pydantic.fields import FieldInfo

_OTLP = "OTEL_EXPORTER_OTLP_"


class _Given(PydanticBaseSettingsSource):
    """A source whose values were read beforehand."""

    def __init__(self, settings_cls: type[BaseSettings], values: dict[str, Any]) -> None:
        super().__init__(settings_cls)
        self._values = values

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """One field; the base class asks for it."""
        del field
        return self._values.get(field_name), field_name, False

    def __call__(self) -> dict[str, Any]:
        """All of it."""
        return self._values


class Settings(BaseSettings, SettingsModel):
    """The effective settings. The file comes first; what it leaves out comes from the environment."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", validate_default=True)

    _otlp_variables: dict[str, str] = PrivateAttr(default_factory=dict)
    _path: Path | None = PrivateAttr(default=None)
    _place: ProjectsPlace | None = PrivateAttr(default=None)
    _found: FoundProjects = PrivateAttr(default=FoundProjects())

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        *_: PydanticBaseSettingsSource,
        **__: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The file's values, then the environment's; both are read by ``load`` and arrive as one argument."""
        given = init_settings()
        return _Given(settings_cls, given.get("file", {})), _Given(settings_cls, given.get("variables", {}))

    def destination(self, signal: Signal) -> Destination:
        """Where a signal goes.

        Raises:
            SettingsError: One of the ``OTEL_EXPORTER_OTLP_*`` values, or of the file's, is wrong.
        """
        values = dict(self._otlp_variables)
        places = {}
        own: OtlpSettings = getattr(self.export, signal.value)
        for part, prefix, place in (
            (self.export, _OTLP, "export"),
            (own, f"{_OTLP}{signal.value.upper()}_", f"export.{signal.value}"),
        ):
            for name in OtlpSettings.model_fields:
                value = getattr(part, name)
                if value is not None:
                    text = value.get_secret_value() if isinstance(value, SecretStr) else value
                    values[prefix + name.upper()] = text
                    places[prefix + name.upper()] = f"{self._path}: {place}.{name}"
        return destination_from(signal, values, places)

    @property
    def path(self) -> Path | None:
        """The settings file; None where the environment is all there is."""
        return self._path

    @property
    def projects_place(self) -> ProjectsPlace | None:
        """Where projects come and go; None where the settings name them all."""
        return self._place

    @property
    def found(self) -> FoundProjects:
        """What was there when the settings were read."""
        return self._found

    def pinned_to(self, names: Collection[str]) -> Settings:
        """The settings with the projects of these names alone, those that come later among them."""
        projects = tuple(project for project in self.projects if project.name in names)
        pinned = self.model_copy(update={"projects": projects})
        if self._place is not None:
            pinned._place = replace(self._place, only=frozenset(names))  # noqa: SLF001 - its own kind
        return pinned

    @property
    def signals(self) -> frozenset[Signal]:
        """The signals that are sent."""
        return frozenset(Signal(name) for name in self.export.signals)

    @property
    def signals_were_chosen(self) -> bool:
        """Whether a person named the signals, so that one the destination lacks is an error."""
        return "signals" in self.export.model_fields_set


def load(path: Path | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """Read the settings.

    Args:
        path: The YAML file, or None for the environment alone.
        environ: Defaults to the process's environment.

    Raises:
        SettingsError: One line: which setting, what it was, what it takes.
    """
    try:
        return _load(path, clean_environment(os.environ if environ is None else environ))
    except SettingsError as error:
        raise SettingsError(printable(str(error))) from None


def _load(path: Path | None, environ: Mapping[str, str]) -> Settings:
    variables = read_variables(environ)
    written = {} if path is None else read_unfilled(path)
    file = {} if path is None else _without_empty_sections(fill(written, path, environ))
    project = variables["projects"][0]
    if isinstance(file.get("projects"), list):
        # A key reads exactly one project, so only one of them can take the environment's.
        without = [each for each in file["projects"] if isinstance(each, dict) and "api_key" not in each]
        keys = ("api_key", "base_url") if len(without) == 1 else ("base_url",)
        inherited = {key: project[key] for key in keys if key in project}
        file["projects"] = [
            {**inherited, **each} if isinstance(each, dict) else each for each in file["projects"]
        ]
    try:
        settings = Settings(file=file, variables=variables)  # type: ignore[call-arg]  # see the sources
    except ValidationError as error:
        raise SettingsError(line_of(error, path, file)) from None
    settings._otlp_variables.update(  # noqa: SLF001 - filled here, once, before anyone else sees it
        {name: readable(value, name) for name, value in environ.items() if name.startswith(_OTLP) and value}
    )
    settings._path = path  # noqa: SLF001 - as above
    projects = _with_origins(settings, written.get("projects"), environ)
    settings = settings.model_copy(update={"projects": projects})
    for signal in settings.signals:
        settings.destination(signal)
    _check_state(settings, path, file)
    return settings if settings.collect.projects_from is None else _with_found(settings, file, environ)


def _with_origins(
    settings: Settings, written: Any, environ: Mapping[str, str]
) -> tuple[ProjectSettings, ...]:
    """The projects, knowing where their keys come from. ``written`` is the file's list, if it has one."""
    listed: list[Any] = written if isinstance(written, list) else [{}] * len(settings.projects)
    return tuple(
        project.with_key_from(
            key_in_file(f"{settings._path}: projects.{index}.", each)  # noqa: SLF001 - its own kind
            if "api_key" in each
            else key_in_environment(environ)
        )
        for index, (project, each) in enumerate(zip(settings.projects, listed, strict=True))
    )


def _with_found(settings: Settings, file: dict[str, Any], environ: Mapping[str, str]) -> Settings:
    """The settings with the projects that are kept apart from them; those that are wrong are left out."""
    where = settings.collect.projects_from
    if "projects" in file:
        raise SettingsError(
            f"{settings._path}: projects and OTEL_BRIDGE_PROJECTS ({where}) are both there: "  # noqa: SLF001
            "takes one of them"
        )
    base_url = environ.get("COMPOSIO_BASE_URL")
    place = ProjectsPlace(
        str(where),
        settings.ledger.state.get_secret_value(),
        dict(environ),
        {"base_url": base_url} if base_url else {},
    )
    found = place.read()
    if found.unread is not None:
        raise SettingsError(found.unread)
    settings = settings.model_copy(update={"projects": tuple(found.good.values())})
    settings._place, settings._found = place, found  # noqa: SLF001 - as in _load
    return settings


def _check_state(settings: Settings, path: Path | None, file: dict[str, Any]) -> None:
    try:
        check_state_url(settings.ledger.state.get_secret_value())
    except SettingsError as error:
        if not isinstance(file.get("ledger"), dict) or "state" not in file["ledger"]:
            raise
        raise SettingsError(str(error).replace("OTEL_BRIDGE_STATE", f"{path}: ledger.state", 1)) from None


def _without_empty_sections(file: dict[str, Any]) -> dict[str, Any]:
    """A section whose lines are all commented out says as little as one that is not there."""
    known = SettingsModel.model_fields
    return {name: value for name, value in file.items() if value is not None or name not in known}


def read_variables(environ: Mapping[str, str]) -> dict[str, Any]:
    """The settings that the environment holds, nested as the file would write them; empty means unset.

    Raises:
        SettingsError: A file that a variable names can't be read, or OTEL_RESOURCE_ATTRIBUTES is malformed.
    """
    values: dict[str, Any] = {}
    for location, variable, _ in variables():
        if location[0] == "projects" or variable.name is None:
            continue
        text = environ.get(variable.name)
        # Two settings mean something when empty: no endpoints, no re-checks.
        if text is None or (not text and location[-1] not in {"listen", "recheck"}):
            continue
        values.setdefault(location[0], {})[location[1]] = readable(text, variable.name)
    attributes = _resource_attributes(environ.get("OTEL_RESOURCE_ATTRIBUTES", ""))
    if attributes:
        values.setdefault("mapping", {})["resource"] = attributes
    project: dict[str, Any] = {}
    if environ.get(KEY_VARIABLE):
        project["api_key"] = readable(environ[KEY_VARIABLE], KEY_VARIABLE)
    elif environ.get(KEY_FILE_VARIABLE):
        name = environ[KEY_FILE_VARIABLE]
        project["api_key"] = read_secret(name, f"{KEY_FILE_VARIABLE} is {name!r}")
    if environ.get("COMPOSIO_BASE_URL"):
        project["base_url"] = readable(environ["COMPOSIO_BASE_URL"], "COMPOSIO_BASE_URL")
    values["projects"] = [project]
    return values


def _resource_attributes(text: str) -> dict[str, str]:
    attributes = {}
    for part in readable(text, "OTEL_RESOURCE_ATTRIBUTES").split(","):
        if not part.strip():
            continue
        key, equals, value = part.partition("=")
        if not equals or not key.strip():
            raise SettingsError(f"OTEL_RESOURCE_ATTRIBUTES is {shown(text)}: takes key=value,key2=value2")
        # The name of the service is the bridge's to choose, and an instance's id would make every
        # delivery differ: exporting a record twice must give the same bytes.
        if key.strip() not in {"service.name", "service.instance.id"}:
            attributes[key.strip()] = unquote(value.strip())
    return attributes
