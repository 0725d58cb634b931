"""``python -m netdyno``, the command line."""

from netdyno.cli import main

main()
