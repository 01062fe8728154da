"""From the environment and the file to one frozen ``Settings``, or one clear line."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import PrivateAttr, SecretStr, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from otel_bridge.environment import clean_environment
from otel_bridge.errors import SettingsError
from otel_bridge.exporter.destination import Destination, Signal, destination_from
from otel_bridge.file_values import FileValue, Fixed, Marks, Part, Renewable
from otel_bridge.ledger.place import check_state_url
from otel_bridge.network import trust
from otel_bridge.settings.file import fill, read_secret, read_unfilled, readable
from otel_bridge.settings.from_environment import naming_its_file, read_variables
from otel_bridge.settings.key_origin import key_in_environment, key_in_file
from otel_bridge.settings.model import OtlpSettings, ProjectSettings, SettingsModel
from otel_bridge.settings.problems import line_of, printable
from otel_bridge.settings.projects import FoundProjects, ProjectsPlace

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from pydantic.fields import FieldInfo

_OTLP = "OTEL_EXPORTER_OTLP_"
_HEADERS_VARIABLES = (f"{_OTLP}HEADERS", *(f"{_OTLP}{signal.value.upper()}_HEADERS" for signal in Signal))


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
    _otlp_places: dict[str, str] = PrivateAttr(default_factory=dict)
    _files: FileValue[Settings] | None = PrivateAttr(default=None)
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

    def destination(self, signal: Signal, marks: Marks | None = None) -> Destination:
        """Where a signal goes.

        Args:
            signal: Which one.
            marks: Where the files of its certificates are noted.

        Raises:
            SettingsError: One of the ``OTEL_EXPORTER_OTLP_*`` values, or of the file's, is wrong.
        """
        values = dict(self._otlp_variables)
        places = dict(self._otlp_places)
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
        age_ms = self.export.connection_age
        return replace(
            destination_from(signal, values, places, marks),
            connection_age_s=age_ms / 1000 if age_ms else None,
        )

    @property
    def present(self) -> Renewable[Settings]:
        """The settings with what the files hold now that they refer to: keys, tokens, headers, certificates.

        Its projects are those of the settings file or the environment, not those that come and go.
        """
        return Fixed(self) if self._files is None else self._files

    @property
    def present_state(self) -> Renewable[str]:
        """The ledger's address as its file holds it now."""
        return Part(self.present, lambda now: now.ledger.state.get_secret_value())

    @property
    def reads_files(self) -> bool:
        """Whether some values come from files, which may change."""
        return self._files is not None and self._files.has_files

    def on_files(self, renewed: Callable[[], None], trouble: Callable[[str], None]) -> None:
        """Be told of files that have changed, and of files that can't be used as they are now."""
        if self._files is not None:
            self._files.on_renewed, self._files.on_trouble = renewed, trouble

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
    written = {} if path is None else read_unfilled(path)

    def read(marks: Marks) -> Settings:
        try:
            return _resolved(path, written, environ, marks)
        except SettingsError as error:
            raise SettingsError(printable(naming_its_file(str(error), environ))) from None

    files = FileValue(read)
    settings = files.get()
    settings._files = files  # noqa: SLF001 - filled here, once, before anyone else sees it
    return settings if settings.collect.projects_from is None else _with_found(settings, written, environ)


def _resolved(
    path: Path | None, written: dict[str, Any], environ: Mapping[str, str], marks: Marks
) -> Settings:
    """The settings as they are written, with what the files hold now that they refer to."""
    variables = read_variables(environ, marks)
    file = {} if path is None else _without_empty_sections(fill(written, path, environ, marks))
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
    settings._path = path  # noqa: SLF001 - as in _load
    settings._otlp_variables, settings._otlp_places = _otlp(environ, marks)  # noqa: SLF001 - as above
    projects = _with_origins(settings, written.get("projects"), environ)
    settings = settings.model_copy(update={"projects": projects})
    for trusted in trust.paths(environ):
        marks.note(trusted)
    for signal in settings.signals:
        settings.destination(signal, marks)
    _check_state(settings, path, file)
    return settings


def _otlp(environ: Mapping[str, str], marks: Marks) -> tuple[dict[str, str], dict[str, str]]:
    """The ``OTEL_EXPORTER_OTLP_*`` variables, and what errors call those whose value a file holds.

    Raises:
        SettingsError: A file of headers can't be read.
    """
    values = {
        name: readable(value, name) for name, value in environ.items() if name.startswith(_OTLP) and value
    }
    places = {}
    for name in _HEADERS_VARIABLES:
        file = values.pop(f"{name}_FILE", None)
        if file is not None and name not in values:
            places[name] = f"{name}_FILE ({file})"
            lines = read_secret(file, f"{name}_FILE is {file!r}", marks).splitlines()
            values[name] = ",".join(line for line in lines if line.strip())
    return values, places


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


def _with_found(settings: Settings, written: dict[str, Any], environ: Mapping[str, str]) -> Settings:
    """The settings with the projects that are kept apart from them; those that are wrong are left out."""
    where = settings.collect.projects_from
    if "projects" in written:
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
