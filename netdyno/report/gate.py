"""What ``table check --against`` found, for a pull request (Markdown) and for a build server (JUnit XML)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from xml.etree import ElementTree

from netdyno.profiler.compare import Change, Comparison, Limit

MOST_ROWS = 50
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters outside XML 1.0's production of Char."""


def markdown(name: str, comparison: Comparison, limits: Sequence[Limit], problems: Sequence[str]) -> str:
    """A heading with the verdict, a table of the layers that rose above a limit, and the rest in a line each."""
    offences = comparison.offences(limits)
    bad = len(offences) + len(problems) + len(comparison.missing)
    lines = [f"### {_cell(name)}: {'no regression' if not bad else f'{bad} faults'}", ""]
    if offences:
        lines += ["| layer | metric | before | after | change |", "|---|---|---:|---:|---:|"]
        lines += [_row(change) for change in offences[:MOST_ROWS]]
        lines += [f"| … and {len(offences) - MOST_ROWS} more | | | | |"] if len(offences) > MOST_ROWS else []
        lines.append("")
    lines += [f"- {_cell(problem)}" for problem in problems[:MOST_ROWS]]
    lines += [f"- no longer in the table: `{_cell(layer)}`" for layer in comparison.missing[:MOST_ROWS]]
    lines += [f"- differing conditions: {_cell(', '.join(comparison.conditions))}"] if comparison.conditions else []
    lines.append(f"- {len(comparison.changes)} costs compared, {len(comparison.added)} layers are new")
    return "\n".join(lines) + "\n"


def junit(name: str, comparison: Comparison, limits: Sequence[Limit], problems: Sequence[str]) -> str:
    """A test case a layer and limited metric, failed where it rose above the limit; one more for the table itself."""
    cases = [(f"{change.layer} {change.metric}", _verdict(change, limits)) for change in comparison.changes]
    cases += [(layer, "no longer in the table") for layer in comparison.missing]
    cases.append(("plausible", "; ".join(problems[:MOST_ROWS])))
    failures = sum(bool(text) for _, text in cases)
    attributes = {"name": _plain(name), "tests": str(len(cases)), "failures": str(failures), "errors": "0"}
    suite = ElementTree.Element("testsuite", attributes)
    for title, text in cases:
        case = ElementTree.SubElement(suite, "testcase", {"classname": _plain(name), "name": _plain(title)})
        if text:
            ElementTree.SubElement(case, "failure", {"message": _plain(text)})
    ElementTree.indent(suite)
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


def _verdict(change: Change, limits: Sequence[Limit]) -> str:
    broken = [limit for limit in limits if change.exceeds(limit)]
    return f"{change.fraction:+.1%}, at most {broken[0].fraction:+.1%} allowed" if broken else ""


def _row(change: Change) -> str:
    cells = (f"`{_cell(change.layer)}`", change.metric, f"{change.before:.5g}", f"{change.after:.5g}")
    return f"| {' | '.join(cells)} | {change.fraction:+.1%} |"


def _cell(text: str) -> str:
    """Text that neither ends a table's cell nor a code span, whoever wrote it."""
    return " ".join(_plain(text).split()).replace("|", "\\|").replace("`", "'").replace("<", "&lt;")


def _plain(text: str) -> str:
    """Without the characters that XML cannot hold."""
    return _NO_XML.sub("\N{REPLACEMENT CHARACTER}", text)
