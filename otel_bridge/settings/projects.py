"""Projects that are kept apart from the settings: in a file, a folder of files, or a table of the ledger.

They come and go while the service runs, so what is wrong with one says so and leaves the others alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pydantic import ValidationError

from otel_bridge.errors import BridgeError, SettingsError
from otel_bridge.ledger.place import is_postgres, project_rows
from otel_bridge.settings.file import fill, read_unfilled, user_path
from otel_bridge.settings.key_origin import key_in_file
from otel_bridge.settings.model import ProjectSettings
from otel_bridge.settings.problems import line_of, printable
from otel_bridge.settings.section import Section

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

TABLE: Final = "table"
"""The word that stands for the ledger's table, in place of a path."""
_ENDINGS: Final = frozenset({".yaml", ".yml"})
_KEY_TAKES: Final = "${env:NAME} or ${file:PATH}"


@dataclass(frozen=True, slots=True)
class FoundProjects:
    """What there was.

    Attributes:
        good: The projects, by where each of them stands.
        refused: What is wrong with the others, one line each, by where they stand.
        unread: Why nothing at all could be read; None where it could.
    """

    good: Mapping[str, ProjectSettings] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)
    unread: str | None = None


class _One(Section):
    projects: tuple[ProjectSettings, ...]


@dataclass(frozen=True, slots=True)
class ProjectsPlace:
    """Where projects are looked for.

    Attributes:
        place: A path, or ``table``.
        state: The ledger's URL, for the table.
        environ: What ``${env:NAME}`` stands for.
        inherited: What a project has that it does not name.
        only: The names of those that count; None for all of them.
    """

    place: str
    state: str = field(repr=False)
    environ: Mapping[str, str] = field(repr=False)
    inherited: Mapping[str, Any] = field(default_factory=dict, repr=False)
    only: frozenset[str] | None = None

    def read(self) -> FoundProjects:
        """Look what is there now. Blocks; raises nothing of what may be wrong."""
        good: dict[str, ProjectSettings] = {}
        refused: dict[str, str] = {}
        taken: dict[str, str] = {}
        try:
            given = list(self._given())
        except BridgeError as error:
            return FoundProjects(unread=printable(str(error)))
        for where, each in given:
            try:
                project = self._project(where, each)
            except SettingsError as error:
                refused[where] = printable(str(error))
                continue
            if self.only is not None and project.name not in self.only:
                continue
            first = taken.setdefault(project.name, where)
            if first == where:
                good[where] = project
            else:
                refused[where] = printable(
                    f"{where}: the name {project.name!r} is taken by {first}: a name is part of every id, so "
                    "each project takes its own"
                )
        return FoundProjects(good, refused)

    def _given(self) -> Iterator[tuple[str, Any]]:
        """Each project as it is written, or the error that reading it gave, by where it stands.

        Raises:
            BridgeError: None of them can be read.
        """
        if self.place == TABLE:
            if not is_postgres(self.state):
                raise SettingsError(
                    f"OTEL_BRIDGE_PROJECTS is {TABLE!r}: takes a ledger in PostgreSQL, or the name of a file "
                    "or a folder"
                )
            for name, settings in project_rows(self.state):
                where = f"table project_settings, {name!r}"
                yield where, _of_table(where, name, settings)
            return
        path = user_path(self.place, f"OTEL_BRIDGE_PROJECTS is {self.place!r}")
        try:
            if not path.is_dir():
                yield from self._of_file(path)
                return
            files = sorted(each for each in path.iterdir() if each.suffix in _ENDINGS)
        except OSError as error:
            raise SettingsError(f"{path}: can't be read: {error.strerror}") from None
        for each in files:
            if not each.name.startswith("."):
                yield str(each), _of_folder(each)

    def _of_file(self, path: Path) -> Iterator[tuple[str, Any]]:
        document = read_unfilled(path)
        listed = document.get("projects", [])
        if set(document) - {"projects"} or not isinstance(listed, list):
            raise SettingsError(f"{path}: takes 'projects:' with a list of projects, and nothing else")
        for index, each in enumerate(listed):
            name = each.get("name") if isinstance(each, dict) else None
            yield f"{path}: projects.{index}" + (f" ({name})" if isinstance(name, str) else ""), each

    def _project(self, where: str, given: Any) -> ProjectSettings:
        if isinstance(given, SettingsError):
            raise given
        if not isinstance(given, dict):
            raise SettingsError(f"{where}: takes a mapping such as {{name: shop, api_key: …}}")
        filled = {**self.inherited, **fill(given, Path(where), self.environ)}
        try:
            [project] = _One(projects=(filled,)).projects
        except ValidationError as error:
            line = line_of(error, Path(where), {"projects": [filled]})
            raise SettingsError(line.replace("projects.0.", "", 1)) from None
        if project.api_key is None:
            raise SettingsError(f"{where}: api_key is missing: takes the project API key, as {_KEY_TAKES}")
        # A project's index changes when another one goes, which is no reason to begin this one anew.
        listed, _, _ = where.rpartition(": projects.")
        place = f"{listed}: projects: {project.name}" if listed else where
        return project.with_key_from(key_in_file(f"{place}: ", given))


def _of_folder(path: Path) -> dict[str, Any] | SettingsError:
    try:
        return {"name": path.stem, **read_unfilled(path)}
    except SettingsError as error:
        return error


def _of_table(where: str, name: str, settings: Any) -> dict[str, Any] | SettingsError:
    """A row. Only its key may refer to something, and it must: no key is ever kept in the database."""
    if not isinstance(settings, dict) or "name" in settings:
        return SettingsError(f"{where}: settings takes an object without a name, which is the row's")
    key = settings.get("api_key")
    if not isinstance(key, str) or not (key.startswith(("${env:", "${file:")) and key.endswith("}")):
        return SettingsError(f"{where}: api_key takes {_KEY_TAKES}: a key itself is never kept there")
    if any("${" in str(value) for part, value in settings.items() if part != "api_key"):
        return SettingsError(f"{where}: only api_key takes ${{…}}")
    return {**settings, "name": name}
