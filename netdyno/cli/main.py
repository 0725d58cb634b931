"""The command line's entry: commands, exit codes, and one clear line for every mistake."""

from __future__ import annotations

import errno
import traceback
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import typer
from typer.exceptions import TyperException

from netdyno.base.errors import InputError, NetdynoError, one_line
from netdyno.cli import cascade, compare, demo, devices, ensemble, export, fit, profile, report, search, table, train
from netdyno.cli.console import emit, say
from netdyno.cli.interrupts import INTERRUPTED, interrupts
from netdyno.cli.resuming import take_promise

INTERNAL_ERROR = 70
DISK_FULL = (errno.ENOSPC, errno.EDQUOT)

app = typer.Typer(
    name="netdyno",
    help="A dynamometer for neural networks: measure them on a device, search them, ship the winners.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 done, 1 a check failed, 2 wrong usage or input, 3 device unreachable or lost, "
    "4 measured but not valid, 70 internal error, 130 interrupted.",
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


def run(arguments: Sequence[str]) -> int:
    """Run one command; returns the exit code. ``--debug`` anywhere shows tracebacks."""
    debug = "--debug" in arguments
    words = [word for word in arguments if word != "--debug"]
    interrupts.run()
    try:
        result = app(args=words, standalone_mode=False, prog_name="netdyno")
    except (KeyboardInterrupt, EOFError, typer.Abort):
        return _interrupted(words)
    except SystemExit as error:
        if error.code != 1 or error.__context__ is None:
            raise
        # typer takes every pipe that breaks for standard output, which has an exit code of its own here.
        return _internal(error.__context__, words)
    except Exception as error:
        if interrupts.asked:  # a library that is interrupted as it is imported may say something else
            return _interrupted(words)
        if debug:
            traceback.print_exc()
        return _explain(error, words)
    # typer turns Ctrl-C into an exit code of its own accord.
    if result == INTERRUPTED:
        return _interrupted(words)
    return result if isinstance(result, int) else 0


def _explain(error: Exception, words: Sequence[str]) -> int:
    """One line for whatever ended a command, and its exit code."""
    if isinstance(error, TyperException):
        message = getattr(error, "format_message", error.__str__)()
        return _fail(f"{message} (see netdyno --help)", InputError.exit_code, words, {})
    if isinstance(error, NetdynoError):
        return _fail(str(error), error.exit_code, words, error.context())
    if isinstance(error, OSError) and error.errno in DISK_FULL:
        where = f"{error.filename}: " if error.filename else ""
        return _fail(f"{where}the disk is full", InputError.exit_code, words, {})
    if isinstance(error, MemoryError):
        what = f": {error}" if str(error) else ""
        return _fail(f"this machine has too little memory for it{what}", InputError.exit_code, words, {})
    return _internal(error, words)


def _internal(error: BaseException, words: Sequence[str]) -> int:
    text = f"{type(error).__name__}: {error}".splitlines()[0]
    return _fail(f"internal error: {text}; --debug shows where", INTERNAL_ERROR, words, {})


def _interrupted(words: Sequence[str]) -> int:
    interrupts.tell()
    message = "; ".join(filter(None, ("interrupted", take_promise())))
    return _fail(message, INTERRUPTED, words, {})


def _fail(message: str, code: int, words: Sequence[str], context: dict[str, Any]) -> int:
    line = one_line(message) or "no reason given"
    say(f"netdyno: {line}")
    if "--json" in words:
        with suppress(InputError):  # standard output cannot be written; the exit code tells
            emit({"error": {"message": line, "exit_code": code, **context}})
    return code
