"""What a user may set, from the environment and a YAML file."""

from otel_bridge.settings.describe import as_yaml, schema
from otel_bridge.settings.load import Settings, load
from otel_bridge.settings.model import DEFAULT_PROJECT, DetailPolicy, ProjectSettings, SettingsModel
from otel_bridge.settings.problems import variables
from otel_bridge.settings.projects import FoundProjects, ProjectsPlace
from otel_bridge.settings.unknown import CONFIG_VARIABLE, unknown_variables

__all__ = [
    "CONFIG_VARIABLE",
    "DEFAULT_PROJECT",
    "DetailPolicy",
    "FoundProjects",
    "ProjectSettings",
    "ProjectsPlace",
    "Settings",
    "SettingsModel",
    "as_yaml",
    "load",
    "schema",
    "unknown_variables",
    "variables",
]
