"""The YAML file: read strictly, with ``${env:NAME}`` and ``${file:PATH}`` put in place."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from otel_bridge.environment import cleaned, decoded, trimmed
from otel_bridge.errors import SettingsError
from otel_bridge.file_values import Marks

if TYPE_CHECKING:
    from collections.abc import Mapping

_MOST_BYTES = 1_000_000
_MOST_SECRET_BYTES = 65_536
# An alias costs a few bytes and can stand for all of the file: these bound what is made of it.
_MOST_VALUES = 20_000
_MOST_DEPTH = 32
_REFERENCE = re.compile(r"\$\{(env|file):([^}]*)\}")
_UNKNOWN_REFERENCE = re.compile(r"\$\{([^}]*)\}")
_CONTROL = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x9f]")
_NO_TEXT = re.compile("[\ud800-\udfff]")


class _Loader(yaml.SafeLoader):
    """YAML's plain types without dates, which stay text, and without keys that are there twice."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - the name and shape are PyYAML's
        first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: set[Any] = set()
    for key_node, _ in node.value:
        if key_node.tag == "tag:yaml.org,2002:merge":
            problem = "'<<' is not taken: repeat the values, or use an alias (*name) for all of them"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=key_node.start_mark)
        key = loader.construct_object(key_node, deep=True)
        if not isinstance(key, str):
            shown = repr(key) if isinstance(key, (int, float, bool)) else "that is a list or a mapping"
            raise yaml.MarkedYAMLError(
                problem=f"the key {shown} is no text", problem_mark=key_node.start_mark
            )
        if key in seen:
            raise yaml.MarkedYAMLError(problem=f"{key!r} is there twice", problem_mark=key_node.start_mark)
        seen.add(key)
    return loader.construct_mapping(node, deep=True)


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def fill(
    document: dict[str, Any], path: Path, environ: Mapping[str, str], marks: Marks | None = None
) -> dict[str, Any]:
    """Put ``${…}`` in place.

    Args:
        document: As it is written.
        path: Its file.
        environ: What ``${env:NAME}`` stands for.
        marks: Where the files of ``${file:PATH}`` are noted.

    Raises:
        SettingsError: Something is referred to that is not there; the line begins with ``path``.
    """
    filling = _Filling(path, environ, Marks() if marks is None else marks)
    return {key: filling.fill(value, f"{path}: {key}", 0) for key, value in document.items()}


def is_reference(text: str) -> bool:
    """Whether a value is one ``${…}`` and nothing else, so that it can be shown."""
    return _REFERENCE.fullmatch(text.strip()) is not None


def read_unfilled(path: Path) -> dict[str, Any]:
    """Read a YAML file as it is written.

    Raises:
        SettingsError: It can't be read, or is no YAML.
    """
    try:
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise SettingsError(f"{path}: is no file")
        with path.open("rb") as stream:
            raw = stream.read(_MOST_BYTES + 1)
    except OSError as error:
        raise SettingsError(f"{path}: can't be read: {error.strerror}") from None
    if len(raw) > _MOST_BYTES:
        raise SettingsError(f"{path}: larger than {_MOST_BYTES} bytes: takes a settings file")
    try:
        document = yaml.load(decoded(raw), _Loader)  # noqa: S506 - a SafeLoader
    except UnicodeDecodeError:
        raise SettingsError(f"{path}: is not UTF-8 text") from None
    except RecursionError:
        raise SettingsError(f"{path}: nested too deeply") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"{path}, line {mark.line + 1}, column {mark.column + 1}" if mark else str(path)
        raise SettingsError(f"{where}: not valid YAML: {error.problem or 'unreadable'}") from None
    except (yaml.YAMLError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise SettingsError(f"{path}: not valid YAML: {reason}") from None
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise SettingsError(f"{path}: holds {_kind(document)}: takes a mapping such as 'projects: [...]'")
    return document


def _kind(value: object) -> str:
    if isinstance(value, list):
        return "a list"
    return "text" if isinstance(value, str) else "a single value"


@dataclass(slots=True)
class _Filling:
    """Puts ``${…}`` in place, and counts what it meets: an alias is met wherever it stands.

    Attributes:
        left: So many more values may be met.
    """

    path: Path
    environ: Mapping[str, str]
    marks: Marks
    left: int = _MOST_VALUES

    def fill(self, value: Any, where: str, depth: int) -> Any:
        self.left -= 1
        if self.left < 0:
            raise SettingsError(
                f"{self.path}: holds more than {_MOST_VALUES:,} values once its aliases (*name) are put in "
                "place: takes a settings file"
            )
        if depth > _MOST_DEPTH:
            raise SettingsError(f"{self.path}: nested too deeply")
        if isinstance(value, dict):
            return {key: self.fill(item, f"{where}.{key}", depth + 1) for key, item in value.items()}
        if isinstance(value, list):
            return [self.fill(item, f"{where}.{index}", depth + 1) for index, item in enumerate(value)]
        if not isinstance(value, str):
            return value
        for match in _UNKNOWN_REFERENCE.finditer(value):
            if not _REFERENCE.fullmatch(match.group(0)):
                raise SettingsError(
                    f"{where}: ${{{match.group(1)}}} is unknown: takes ${{env:NAME}} or ${{file:PATH}}"
                )
        return readable(trimmed(_REFERENCE.sub(lambda match: self._referred(match, where), value)), where)

    def _referred(self, match: re.Match[str], where: str) -> str:
        kind, name = match.group(1), match.group(2)
        if kind == "file":
            return read_secret(name, f"{where} is ${{file:{name}}}", self.marks)
        if name not in self.environ:
            raise SettingsError(f"{where} is ${{env:{name}}}: the variable {name} is not set")
        return cleaned(self.environ[name])


def readable(text: str, where: str) -> str:
    """The same text, once it is known to be one.

    Line breaks and tabs pass: lists may have them, and each other kind of value says that it has none.

    Raises:
        SettingsError: It holds a control character, or bytes that are no text; the line begins with ``where``
            and shows nothing else of it.
    """
    control = _CONTROL.search(text)
    if control is not None:
        raise SettingsError(
            f"{where} holds the control character \\x{ord(control[0]):02x} as its character "
            f"{control.start() + 1}: takes text without it"
        )
    if _NO_TEXT.search(text):
        raise SettingsError(f"{where} holds bytes that are not UTF-8: takes text")
    return text


def user_path(path: str, where: str) -> Path:
    """A path, ``~`` at its beginning being a home folder.

    Raises:
        SettingsError: There is no such home folder; the line begins with ``where``.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise SettingsError(f"{where}: there is no such home folder: takes a path without ~") from None


def read_secret(path: str, where: str, marks: Marks) -> str:
    """Read a value from a file, such as a mounted secret, without what a tool put around it.

    Args:
        path: The file.
        where: What names it, for errors.
        marks: Where the file is noted.

    Raises:
        SettingsError: The file can't be read, or is empty; the line begins with ``where``.
    """
    try:
        place = user_path(path, where)
        marks.note(str(place))
        if place.exists() and not place.is_file():
            raise SettingsError(f"{where}: is no file")
        with place.open("rb") as stream:
            raw = stream.read(_MOST_SECRET_BYTES + 1)
        if len(raw) > _MOST_SECRET_BYTES:
            raise SettingsError(f"{where}: the file is larger than {_MOST_SECRET_BYTES:,} bytes")
        text = readable(cleaned(decoded(raw)), where)
    except OSError as error:
        raise SettingsError(f"{where}: the file can't be read: {error.strerror}") from None
    except ValueError:
        raise SettingsError(f"{where}: the file holds no text") from None
    if not text:
        raise SettingsError(f"{where}: the file is empty")
    return text
