"""One self-contained page: a template, its style, and figures that need no network.

Whatever is shown may be anyone's: templates escape all of it, and the page's policy lets no script run but the two
that are written here, and nothing be fetched.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from netdyno.base.files import write_atomic
from netdyno.base.registry import require
from netdyno.base.units import format_bytes
from netdyno.report import facts

HERE = Path(__file__).parent
DRAW = """
const touch = matchMedia("(pointer: coarse)").matches;  // there a finger scrolls the page, it does not zoom
for (const [id, figure] of Object.entries(JSON.parse(document.getElementById("figures").textContent))) {
  if (touch) figure.layout.dragmode = false;
  Plotly.newPlot(id, figure.data, figure.layout, {displayModeBar: false, responsive: true});
}
"""


def write_page(path: Path, template: str, figures: Mapping[str, Any], content: Mapping[str, Any]) -> Path:
    """Write a page; ``figures`` are Plotly's, by the ids under which the template has room for them.

    Raises:
        MissingExtra: plotly or jinja2 is not installed.
        InputError: the file cannot be written.
    """
    jinja2 = require("jinja2", extra="report", purpose="a report")
    offline = require("plotly.offline", extra="report", purpose="a report")
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"quantity": facts.quantity, "bytes": format_bytes}
    plotly = offline.get_plotlyjs()
    page = environment.get_template(template).render(
        **content,
        figures=_json(figures),
        policy=_policy(plotly, DRAW),
        style=(HERE / "style.css").read_text(encoding="utf-8"),
        plotly=plotly,
        draw=DRAW,
    )
    # JSON can spell half of a surrogate pair, which no file can hold.
    write_atomic(path, page.encode("utf-8", "replace"))
    return path


def _policy(*scripts: str) -> str:
    digests = (base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts)
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
    return f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data:; base-uri 'none'"


def _json(figures: Mapping[str, Any]) -> str:
    """The figures by their ids, as JSON that cannot end the script element around it."""
    text = ",".join(f'"{name}":{figure.to_json()}' for name, figure in figures.items())
    return "{" + text.replace("<", "\\u003c") + "}"
