"""``python -m netdyno``, the command line."""

from netdyno.cli import main

if __name__ == "__main__":
    main()
