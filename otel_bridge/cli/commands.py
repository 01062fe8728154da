"""Every command of ``otel-bridge``."""

from __future__ import annotations

import asyncio
import gc
import json
from enum import StrEnum
from typing import Annotated

import typer
from typer.main import get_command

from otel_bridge import __version__
from otel_bridge.cli.check import check
from otel_bridge.cli.ledger import ledger
from otel_bridge.cli.options import ConfigFile, ProjectName, chosen_projects, read_settings, within
from otel_bridge.cli.past import backfill, retry, say_incomplete
from otel_bridge.cli.program import program
from otel_bridge.cli.verify import verify
from otel_bridge.cli.worker import served, worker
from otel_bridge.counting import counted
from otel_bridge.service import holders, runner
from otel_bridge.service import show as showing
from otel_bridge.service import status as reporting
from otel_bridge.service.explain import explain
from otel_bridge.settings import as_yaml, schema
from otel_bridge.times import SystemClock

app = typer.Typer(
    help="Composio's tool calls as OpenTelemetry spans and log records, delivered over OTLP.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


class ShowForm(StrEnum):
    """How ``show`` prints a record."""

    TREE = "tree"
    OTLP_JSON = "otlp-json"


def _version(wanted: bool) -> None:  # noqa: FBT001 - typer calls it so
    if wanted:
        typer.echo(f"otel-bridge {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[  # noqa: FBT002 - typer's way to declare a flag; its callback does the work
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


@app.command()
def run(
    config: ConfigFile = None,
    once: Annotated[  # noqa: FBT002 - typer's way to declare a flag
        bool, typer.Option("--once", help="Everything up to now, every re-check that is due, then exit.")
    ] = False,
) -> None:
    """Collect and deliver until SIGTERM or SIGINT."""
    settings = read_settings(config)
    if not once:
        # What is loaded by now stays: looking through all of it again and again stops everything for 50 ms.
        gc.collect()
        gc.freeze()
        asyncio.run(runner.run(settings, SystemClock(), serve=served()))
        return
    report = asyncio.run(runner.run_once(settings, SystemClock()))
    typer.echo(f"{counted(report.delivered, 'record')} delivered")
    say_incomplete(report.failures, report.set_aside, interrupted=report.interrupted)
    if not report.complete:
        raise typer.Exit(1)


app.command()(check)
app.command()(worker)
app.command()(backfill)
app.command()(retry)
app.command()(verify)


@app.command()
def show(
    log_id: Annotated[
        str, typer.Argument(metavar="LOG_ID", help="The id of a log, such as log_-jRTWClpBoVo.")
    ],
    config: ConfigFile = None,
    form: Annotated[
        ShowForm, typer.Option("--as", help="tree for people, otlp-json for machines.")
    ] = ShowForm.TREE,
    project: ProjectName = None,
) -> None:
    """Fetch one log and print what it would become."""
    settings = read_settings(config)
    projects = chosen_projects(settings, project)
    shown = asyncio.run(showing.show(settings, log_id, SystemClock(), projects))
    if form is ShowForm.OTLP_JSON:
        from otel_bridge.exporter.json_format import to_otlp_json  # noqa: PLC0415 - the service does without

        typer.echo(to_otlp_json(shown.family[:1]))
        return
    if shown.family[0].span is not None:
        from rich.console import Console  # noqa: PLC0415 - the service does without

        from otel_bridge.exporter.terminal import render_traces  # noqa: PLC0415 - as above

        console = Console()
        console.print(render_traces(shown.family, console.width))
    for line in explain(shown.record, shown.family[0], shown.identity):
        typer.echo(line)


@app.command()
def status(
    config: ConfigFile = None,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,  # noqa: FBT002 - typer's way
) -> None:
    """Per project: how far it is, lag, counts, last error. The service need not run."""
    settings = read_settings(config)
    clock = SystemClock()
    statuses = asyncio.run(reporting.read_status(settings, clock))
    work = asyncio.run(holders.read_work(settings, clock))
    nowhere = reporting.where_nothing_is(settings)
    if nowhere is not None:
        typer.echo(f"otel-bridge: {nowhere}", err=True)
    if as_json:
        listed = reporting.status_json(statuses, clock.now_ms())
        shared = None if work is None else {"projects": listed, "replicas": holders.work_json(work)}
        typer.echo(json.dumps(listed if shared is None else shared, indent=2))
        return
    configured = {project.name for project in settings.projects}
    for line in reporting.status_lines(statuses, configured, clock.now_ms()):
        typer.echo(line)
    if work is not None:
        typer.echo()
        for line in holders.work_lines(work, settings.ledger.lease, clock.now_ms()):
            typer.echo(line)


@app.command("config")
def config_command(
    config: ConfigFile = None,
    with_schema: Annotated[  # noqa: FBT002 - typer's way
        bool, typer.Option("--schema", help="Print the JSON schema of the YAML file instead.")
    ] = False,
) -> None:
    """Print the effective settings, secrets masked."""
    if with_schema:
        typer.echo(schema())
        return
    settings = read_settings(config)
    if settings.path is not None:
        typer.echo(f"# {settings.path}, and the environment")
    typer.echo(as_yaml(settings), nl=False)


@app.command()
def emulate(  # noqa: PLR0913, PLR0917 - one parameter an option
    host: Annotated[str, typer.Option(help="Where to listen.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Where to listen; 0 takes a free one.")] = 8791,
    logs: Annotated[int, typer.Option(help="How many tool calls there are at the start.")] = 300,
    rate: Annotated[float, typer.Option(help="New tool calls a second.")] = 0.0,
    seed: Annotated[int, typer.Option(help="The same seed makes the same tool calls.")] = 1,
    rate_limit: Annotated[int, typer.Option(help="Requests a minute before a 429.")] = 1_000_000,
    latency: Annotated[int, typer.Option(metavar="MS", help="Added to every answer.")] = 0,
    fault_share: Annotated[float, typer.Option(help="The share of requests that go wrong, 0 to 1.")] = 0.0,
    fault_seed: Annotated[int, typer.Option(help="The same seed makes the same faults.")] = 1,
    api_key: Annotated[
        list[str] | None, typer.Option(help="Accept only this key; may be given again. Default: any.")
    ] = None,
) -> None:
    """Serve Composio's documented Logs API locally, with synthetic tool calls."""
    within("--port", port, 0, 65_535)
    within("--logs", logs, 0, 10_000_000)
    within("--rate", rate, 0, 10_000)
    within("--rate-limit", rate_limit, 1, 10**9)
    within("--latency", latency, 0, 60_000)
    within("--fault-share", fault_share, 0, 1)
    from otel_bridge.emulator.chaos import random_faults  # noqa: PLC0415 - no other command needs it
    from otel_bridge.emulator.options import EmulatorOptions  # noqa: PLC0415 - as above
    from otel_bridge.service.demo import emulate as serve  # noqa: PLC0415 - as above

    options = EmulatorOptions(
        host=host,
        port=port,
        logs=logs,
        rate=rate,
        seed=seed,
        rate_limit=rate_limit,
        latency_ms=latency,
        api_keys=tuple(api_key or ()),
        fault=random_faults(fault_seed, fault_share) if fault_share else None,
    )
    asyncio.run(serve(options, typer.echo, program()))


@app.command()
def demo(
    keep_running: Annotated[  # noqa: FBT002 - typer's way
        bool, typer.Option("--keep-running", help="Go on with new tool calls until stopped.")
    ] = False,
) -> None:
    """Show it all at work: no account, no Docker, nothing set."""
    from rich.console import Console  # noqa: PLC0415 - the service does without

    from otel_bridge.service.demo import demo as show_all  # noqa: PLC0415 - no other command needs it

    asyncio.run(show_all(Console(), SystemClock(), program(), keep_running=keep_running))


app.add_typer(ledger, name="ledger")

commands = get_command(app)
