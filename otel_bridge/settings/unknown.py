"""Variables that look like settings and are none: most likely typos, unless another tool made them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from otel_bridge.settings.problems import nearest, variables

if TYPE_CHECKING:
    from collections.abc import Mapping

CONFIG_VARIABLE: Final = "OTEL_BRIDGE_CONFIG"
"""Names the settings file for commands that are given none."""

# Read by the commands, by the tests and by the application's side, not by these settings; the last two by
# docker-compose.yml, whose .env may serve systemd as well.
_OTHERS: Final = frozenset(
    {
        CONFIG_VARIABLE,
        "OTEL_BRIDGE_ALLOW_HTTP",
        "OTEL_BRIDGE_CORRELATION_ENDPOINT",
        "OTEL_BRIDGE_REQUIRE_BACKENDS",
        "OTEL_BRIDGE_PORT",
        "OTEL_BRIDGE_TAG",
    }
)

# What Kubernetes gives a pod for each Service of its namespace, and Docker for a linked container: for one
# named otel-bridge-page, OTEL_BRIDGE_PAGE_SERVICE_HOST and so on. A name that ends in _PORT alone may be a
# typo, so its value has to be a link's.
# https://kubernetes.io/docs/tutorials/services/connect-applications-service/#environment-variables
_OF_A_SERVICE: Final = re.compile(
    r"\w+_SERVICE_HOST=.*"
    r"|\w+_SERVICE_PORT(_\w+)?=\d+"
    r"|\w+_PORT(_\d+_(TCP|UDP|SCTP))?=(tcp|udp|sctp)://.*"
    r"|\w+_PORT_\d+_(TCP|UDP|SCTP)_(PROTO|PORT|ADDR)=.*"
)


def unknown_variables(environ: Mapping[str, str]) -> list[str]:
    """A line for each ``OTEL_BRIDGE_*`` variable that is no setting, most likely a typo."""
    settings = {variable for _, variable, _ in variables()}
    known = {name for each in settings for name in (each.name, each.file_name) if name} | _OTHERS
    return [
        f"{name} is no setting and does nothing{nearest(name, known - _OTHERS | {CONFIG_VARIABLE})}"
        for name, value in sorted(environ.items())
        if name.startswith("OTEL_BRIDGE_")
        and name not in known
        and not _OF_A_SERVICE.fullmatch(f"{name}={value}")
    ]
