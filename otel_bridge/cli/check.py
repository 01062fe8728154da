"""``check``: a dry run that says what to do."""

from __future__ import annotations

import asyncio
import json
import os
from typing import TYPE_CHECKING, Annotated

import typer

from otel_bridge.cli.options import ConfigFile, read_quietly
from otel_bridge.service import check as checking
from otel_bridge.settings import unknown_variables
from otel_bridge.times import SystemClock

if TYPE_CHECKING:
    from otel_bridge.service.finding import Finding


def check(
    config: ConfigFile = None,
    no_send: Annotated[  # noqa: FBT002 - typer's way to declare a flag
        bool, typer.Option("--no-send", help="Send no test record, only empty requests.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,  # noqa: FBT002 - as above
) -> None:
    """Check everything the bridge needs, and say what to do: exit 0 all well, 1 not.

    A marked test record goes to the destinations, and is said before; no tool call is delivered.
    """
    settings = read_quietly(config)

    async def every() -> list[Finding]:
        found = []
        lines = unknown_variables(os.environ)
        async for finding in checking.check(
            settings, SystemClock(), send=not no_send, unknown_variables=lines
        ):
            found.append(finding)
            if not as_json:
                typer.echo(finding.line())
        return found

    found = asyncio.run(every())
    passed = not any(finding.failed for finding in found)
    if as_json:
        document = {"ok": passed, "checks": [finding.as_json() for finding in found]}
        typer.echo(json.dumps(document, indent=2))
    if not passed:
        raise typer.Exit(1)
