"""The settings that environment variables hold, and the files that variables name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from otel_bridge.errors import SettingsError
from otel_bridge.settings.file import read_secret, readable
from otel_bridge.settings.key_origin import KEY_FILE_VARIABLE, KEY_VARIABLE
from otel_bridge.settings.problems import shown, variables

if TYPE_CHECKING:
    from collections.abc import Mapping

    from otel_bridge.file_values import Marks


def read_variables(environ: Mapping[str, str], marks: Marks) -> dict[str, Any]:
    """The settings that the environment holds, nested as the file would write them; empty means unset.

    Args:
        environ: The environment.
        marks: Where the files are noted that variables name.

    Raises:
        SettingsError: A file that a variable names can't be read, or OTEL_RESOURCE_ATTRIBUTES is malformed.
    """
    values: dict[str, Any] = {}
    for location, variable, _ in variables():
        if location[0] == "projects" or variable.name is None:
            continue
        text = environ.get(variable.name)
        if variable.file_name and not text:
            text = from_file(environ, variable.file_name, marks)
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
        project["api_key"] = from_file(environ, KEY_FILE_VARIABLE, marks)
    if environ.get("COMPOSIO_BASE_URL"):
        project["base_url"] = readable(environ["COMPOSIO_BASE_URL"], "COMPOSIO_BASE_URL")
    values["projects"] = [project]
    return values


def naming_its_file(line: str, environ: Mapping[str, str]) -> str:
    """An error line that names the file where a variable's value comes from one."""
    for _, variable, _ in variables():
        name, file_name = variable.name or "", variable.file_name or ""
        if line.startswith(f"{name} ") and environ.get(file_name) and not environ.get(name):
            return f"{file_name} ({environ[file_name]}){line.removeprefix(name)}"
    return line


def from_file(environ: Mapping[str, str], name: str, marks: Marks) -> str | None:
    """The value in the file that a variable names; None where the variable names none.

    Raises:
        SettingsError: It can't be read.
    """
    path = environ.get(name)
    return read_secret(path, f"{name} is {path!r}", marks) if path else None


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
