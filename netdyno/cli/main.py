"""The command line's entry: commands, exit codes, and one clear line for every mistake."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from typing import Any, NoReturn

import typer
from typer.exceptions import TyperException

from netdyno.base.errors import InputError, NetdynoError
from netdyno.cli import cascade, compare, demo, devices, ensemble, export, fit, profile, report, search, table, train
from netdyno.cli.resuming import take_promise

OUR_FAULT = 70
INTERRUPTED = 130

app = typer.Typer(
    name="netdyno",
    help="A dynamometer for neural networks: measure them on a device, search them, ship the winners.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 done, 1 a check failed, 2 wrong usage or input, 3 device unreachable or lost, "
    "4 measured but not valid, 70 our own fault, 130 interrupted.",
)
app.command("demo")(demo.demo)
app.command("doctor")(devices.doctor)
app.command("devices")(devices.devices)
app.command("profile")(profile.profile)
app.add_typer(table.app, name="table")
app.command("fit")(fit.fit)
app.command("train")(train.train)
app.command("search")(search.search)
app.command("compare")(compare.compare)
app.command("export")(export.export)
app.command("ensemble")(ensemble.ensemble)
app.command("cascade")(cascade.cascade)
app.command("verify")(export.verify)
app.command("report")(report.report)


@app.callback(invoke_without_command=True)
def _options(version: bool = typer.Option(False, "--version", help="Print the version and stop.")) -> None:
    if version:
        from importlib.metadata import version as installed

        typer.echo(f"netdyno {installed('netdyno')}")
        raise typer.Exit


def main() -> NoReturn:
    """Run the command line of this process."""
    logging.basicConfig(format="%(message)s", level=logging.WARNING, stream=sys.stderr)
    # `kill` and a closed terminal end as Ctrl-C does: workers stop, half-written files go. Under nohup they go on.
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _interrupt)
    sys.exit(run(sys.argv[1:]))


def _interrupt(number: int, frame: object) -> NoReturn:
    raise KeyboardInterrupt


def run(arguments: Sequence[str]) -> int:
    """Run one command; returns the exit code. ``--debug`` anywhere shows tracebacks."""
    debug = "--debug" in arguments
    words = [word for word in arguments if word != "--debug"]
    try:
        result = app(args=words, standalone_mode=False, prog_name="netdyno")
    except TyperException as error:
        message = getattr(error, "format_message", error.__str__)()
        return _fail(f"{message} (see netdyno --help)", InputError.exit_code, words, {})
    except NetdynoError as error:
        if debug:
            traceback.print_exc()
        return _fail(str(error), error.exit_code, words, error.context())
    except (KeyboardInterrupt, EOFError, typer.Abort):
        return _interrupted(words)
    except Exception as error:
        if debug:
            traceback.print_exc()
        text = f"{type(error).__name__}: {error}".splitlines()[0]
        return _fail(f"our own fault: {text}; --debug shows where", OUR_FAULT, words, {})
    # typer turns Ctrl-C into an exit code of its own accord.
    if result == INTERRUPTED:
        return _interrupted(words)
    return result if isinstance(result, int) else 0


def _interrupted(words: Sequence[str]) -> int:
    message = "; ".join(filter(None, ("interrupted", take_promise())))
    return _fail(message, INTERRUPTED, words, {})


def _fail(message: str, code: int, words: Sequence[str], context: dict[str, Any]) -> int:
    line = " ".join(message.split()) or "no reason given"
    sys.stderr.write(f"netdyno: {line}\n")
    if "--json" in words:
        document = {"error": {"message": line, "exit_code": code, **context}}
        sys.stdout.write(json.dumps(document) + os.linesep)
    return code
