"""``netdyno compare``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from netdyno.cli.console import Json, emit, print_table, say
from netdyno.cli.options import FILE, RUN, TABLE, argument, option


def compare(
    runs: Annotated[list[Path], argument(RUN, "Folders of runs with the same objectives.")],
    on: Annotated[Path | None, option(TABLE, "Score latency, energy, … anew with this lookup table.")] = None,
    out: Annotated[Path | None, option(FILE, "Draw them on a page, e.g. compare.html.")] = None,
    as_json: Json = False,
) -> None:
    """Compare the fronts of several runs: hypervolume, share of the joint front, growth; or on another device."""
    from netdyno.compare import compare_runs
    from netdyno.profiler.table import load_table
    from netdyno.runs import load_run

    compared = compare_runs([load_run(path) for path in runs], None if on is None else load_table(on))
    if out is not None:
        from netdyno.report.comparison import write_comparison

        say(f"-> {write_comparison(compared, out)}")
    if as_json:
        emit(compared.document())
        return
    say(f"hypervolume up to {', '.join(f'{v:.5g}' for v in compared.ref)} ({', '.join(compared.objectives)})")
    columns = ("run", "method", "seed", "evaluations", "front", "on joint front", "hypervolume", "of joint")
    print_table(
        columns,
        [
            (
                row.name,
                row.method,
                row.seed,
                str(row.evaluations),
                str(len(row.F)),
                str(row.on_joint),
                f"{row.hypervolume:.5g}",
                f"{100 * row.share:.2f} %",
            )
            for row in compared.rows
        ],
    )
