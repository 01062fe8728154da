"""What is wrong with the settings, in one line: which one, what it was, what it takes."""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from otel_bridge.settings.kinds import Variable
from otel_bridge.settings.model import ProjectSettings, SettingsModel

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pydantic import ValidationError
    from pydantic.fields import FieldInfo
    from pydantic_core import ErrorDetails

_SHOWN_CHARACTERS = 80
_MOST_CHARACTERS = 600
_USERINFO = re.compile(r"://[^/]*@")
_NOT_SHOWN = "a value that is not shown"
_PROJECTS = "a list of one project or more, each a mapping such as {name: shop, api_key: …}"
_PLAIN = {
    "model_type": "a mapping",
    "dict_type": "a mapping",
    "tuple_type": "a list",
    "list_type": "a list",
    "too_short": "a list of one or more",
    "string_type": "text",
    "string_too_short": "text that is not empty",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
}


def variables() -> Iterator[tuple[tuple[str, ...], Variable, FieldInfo]]:
    """Every setting that has a form of its own: its place in the file, its variable, its field."""
    for section, holder in SettingsModel.model_fields.items():
        model = ProjectSettings if section == "projects" else holder.annotation
        if not isinstance(model, type) or not issubclass(model, BaseModel):
            continue
        for name, field in model.model_fields.items():
            for extra in field.metadata:
                if isinstance(extra, Variable):
                    yield (section, name), extra, field


def line_of(error: ValidationError, path: Path | None, file: dict[str, Any]) -> str:
    """The first problem of a validation in one line, and how many more there are.

    Args:
        error: What pydantic found.
        path: The settings file, or None for the environment alone.
        file: What the file holds.
    """
    problems = error.errors(include_url=False)
    first = problems[0]
    location = tuple(first["loc"])
    known = {place: variable for place, variable, _ in variables()}
    names = tuple(part for part in location if isinstance(part, str))
    variable = known.get(names[:2])
    dotted = ".".join(str(part) for part in location)
    in_file = path is not None and _holds(file, location)
    where = f"{path}: {dotted}" if in_file else (variable.name if variable and variable.name else dotted)
    # pydantic adds a length error for a list whose element is wrong: no second problem.
    others = [problem for problem in problems[1:] if problem["type"] != "too_short"]
    more = f" (and {len(others)} more)" if others else ""
    if first["type"] == "extra_forbidden":
        return f"{path}: {dotted} is no setting{nearest(str(location[-1]), _siblings(location))}{more}"
    if first["type"] == "value_error" and not location:
        return f"{path}: {first['ctx']['error']}{more}"
    if first["type"] == "missing":
        return f"{where} is missing{more}"
    of_itself = variable is not None and len(names) <= 2  # noqa: PLR2004 - section and name
    takes = variable.takes if variable is not None and of_itself else _plain(first, location)
    was = _NOT_SHOWN if "headers" in names else shown(first["input"], variable)
    return f"{where} is {was}: takes {takes}{more}"


def nearest(name: str, known: set[str | None] | set[str]) -> str:
    """A guess at what a misspelt name was meant to be, to be put behind it; empty where there is none."""
    near = difflib.get_close_matches(name, [each for each in known if each], n=1)
    return f": did you mean {near[0]}?" if near else ""


def printable(line: str) -> str:
    """An error as one line of bounded length, whatever characters a key or a value of a person's file has."""
    line = "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in line)
    return line if len(line) <= _MOST_CHARACTERS else f"{line[:_MOST_CHARACTERS]}…"


def _plain(problem: ErrorDetails, location: tuple[int | str, ...]) -> str:
    if location == ("projects",):
        return _PROJECTS
    plain = _PLAIN.get(problem["type"])
    return plain or problem["msg"].removeprefix("Value error, ").removeprefix("Input should be ")


def shown(value: object, variable: Variable | None = None) -> str:
    """A value as an error line shows it: short, and not at all where it is or may hold a secret."""
    if (variable is not None and variable.secret) or (isinstance(value, str) and _USERINFO.search(value)):
        return _NOT_SHOWN
    if value is None:
        return "empty"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (dict, list)):
        kind = "mapping" if isinstance(value, dict) else "list"
        return f"a {kind}" if value else f"an empty {kind}"
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…"


def _holds(given: dict[str, Any], location: tuple[int | str, ...]) -> bool:
    values: Any = given
    for part in location:
        try:
            values = values[part]
        except (KeyError, IndexError, TypeError):
            return False
    return bool(location)


def _siblings(location: tuple[int | str, ...]) -> set[str]:
    model: Any = SettingsModel
    for part in location[:-1]:
        if isinstance(part, int):
            continue
        field = model.model_fields.get(part)
        if field is None:
            break
        model = ProjectSettings if part == "projects" else field.annotation
        if not (isinstance(model, type) and issubclass(model, BaseModel)):
            return set()
    return set(model.model_fields)
