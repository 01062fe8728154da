"""The entry point: turns every error a person can mend into one line and an exit status."""

from __future__ import annotations

import gc
import sys

import typer

from otel_bridge.cli import streams
from otel_bridge.cli.commands import commands
from otel_bridge.environment import trimmed
from otel_bridge.errors import BridgeError, SettingsError, unforeseen

EXIT_FAILED = 1
EXIT_USAGE = 2
_EXIT_INTERRUPTED = 130
_INSTALLS = "--install-completion"  # Typer's own: it writes into the home folder
# Typer brings its own copy of click in some versions and uses the installed one in others; its public
# BadParameter leads to the classes of whichever it is.
_UsageError: type[Exception]
_ClickException: type[Exception]
_UsageError, _ClickException = typer.BadParameter.__mro__[1:3]


def main() -> None:
    """Run one command and exit. 0 done, 1 something was not, 2 the words or the settings are wrong."""
    streams.prepare()
    # Modules, classes and schemas live as long as the process. Collecting garbage around them again and again
    # took an eighth of a drain's time.
    gc.freeze()
    # A record's values hold no cycles: looking for some after every 700 of them takes another 4 %.
    gc.set_threshold(10_000, 10, 10)
    # A script that Windows saved gives its last word a carriage return.
    status = run([trimmed(each) for each in sys.argv[1:]])
    sys.stdout.flush()
    sys.exit(status)


def run(arguments: list[str]) -> int:  # noqa: PLR0911 - one return a kind of end
    """Run one command.

    Returns:
        The exit status.
    """
    try:
        outcome = commands(arguments, prog_name="otel-bridge", standalone_mode=False)
    except SettingsError as error:
        return _say(str(error), EXIT_USAGE)
    except BridgeError as error:
        return _say(str(error), EXIT_FAILED)
    except _UsageError as error:
        return _usage(error)
    except _ClickException as error:
        return _say(_text(error), EXIT_USAGE)
    except (KeyboardInterrupt, typer.Abort):
        return _EXIT_INTERRUPTED
    except Exception as error:  # noqa: BLE001 - no traceback reaches a person
        if _INSTALLS in arguments and isinstance(error, (OSError, RuntimeError)):
            why = getattr(error, "strerror", None) or "there is no home folder"
            return _say(f"{_INSTALLS}: the files of the shell can't be written: {why}", EXIT_FAILED)
        return _say(str(unforeseen(error)), EXIT_FAILED)
    return outcome if isinstance(outcome, int) else 0


def _usage(error: Exception) -> int:
    """Wrong words: what is wrong, and where it says what is right. No words at all: the help itself."""
    text = _text(error)
    if text.startswith("Usage: "):
        print(text, file=sys.stderr)  # noqa: T201 - for a person
        return EXIT_USAGE
    command = getattr(getattr(error, "ctx", None), "command_path", "otel-bridge")
    return _say(f"{text} ({command} --help)", EXIT_USAGE)


def _text(error: BaseException) -> str:
    return str(getattr(error, "format_message", error.__str__)())


def _say(line: str, status: int) -> int:
    print(f"otel-bridge: {' '.join(line.split())}", file=sys.stderr)  # noqa: T201 - the one line a person reads
    return status
