"""The command line, version 1."""

from netdyno.cli.main import main

__all__ = ["main"]
