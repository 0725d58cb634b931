"""The page of a cascade: what it says is what the folder holds, and a folder that holds something else is refused."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from netdyno.runs import CASCADES, MEMBERS, THRESHOLDS

pytest.importorskip("plotly", reason="a page needs the extra report")

from netdyno.report import write_cascade

Refuses = Callable[[Callable[[], object]], str]
SCRIPT = "<script>hit = 1</script><img src=x onerror='hit = 1'>"
FILES = {
    CASCADES: "evaluation,error_pct,energy_mj,thresholds,networks\n1,9.5,0.5,0.2,1 0; 2 2\n2,7.25,0.4,0.3,0 0; 3 3\n",
    MEMBERS: (
        "genes,error_pct,energy_mj,val_answered_pct,test_answered_pct,threshold\n"
        f"{SCRIPT},12.0,0.25,80.0,79.0,0.3\n3 3,6.5,1.0,20.0,21.0,0.0\n"
    ),
    THRESHOLDS: "error_pct,energy_mj\n12.0,0.25\n7.25,0.4\n6.75,0.9\n",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    found = tmp_path / "found"
    found.mkdir()
    for name, content in FILES.items():
        (found / name).write_text(content)
    return found


def test_the_page_is_what_the_folder_holds(folder: Path) -> None:
    page = write_cascade(folder).read_text()
    assert "<h1>2 networks: 0.4 mJ an image on average, 92.75 % correct</h1>" in page
    assert "80.0" in page and "88.00" in page and "the rest" in page
    found = re.search(r'id="figures">(.*?)</script>', page, re.DOTALL)
    assert found
    figures: dict[str, Any] = json.loads(found[1])
    names = [trace["name"] for trace in figures["front"]["data"]]
    assert names == ["other thresholds", "each network alone", "the cascade"]
    point = [np.frombuffer(base64.b64decode(figures["front"]["data"][2][axis]["bdata"])) for axis in "xy"]
    assert [axis.tolist() for axis in point] == [[0.4], [92.75]]
    assert figures["course"]["data"][0]["y"] == [0.5, 0.4] and figures["correct"]["data"][0]["y"] == [90.5, 92.75]


def test_hostile_text_stays_text(folder: Path) -> None:
    page = write_cascade(folder).read_text()
    assert SCRIPT not in page and escape(SCRIPT, quote=False).split("'")[0] in page


@pytest.mark.parametrize("width", [390, 1280])
def test_a_browser_draws_it(folder: Path, browse: Callable[..., Any], width: int) -> None:
    seen, complaints, paths = browse(write_cascade(folder), width)
    assert complaints == [] and sorted(paths) == ["/report.html", "/wrapper.html"]
    assert seen["points"] == {"front": 6, "course": 2, "correct": 2}
    assert seen["client"] == width == seen["scroll"] and seen["hit"] == "undefined"


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        (CASCADES, "evaluation,error_pct\n1,9.5\n", "energy_mj"),
        (CASCADES, "evaluation,error_pct,energy_mj\n", "no cascade"),
        (CASCADES, "evaluation,error_pct,energy_mj\n1,nan,0.5\n", "not finite"),
        (MEMBERS, "genes\n1 1\n", "must have the columns"),
        (THRESHOLDS, "error_pct,energy_mj\nmany,0.5\n", "not what belongs there"),
        (THRESHOLDS, None, "not shipped yet"),
    ],
)
def test_what_is_no_cascade_is_refused(
    folder: Path, name: str, content: str | None, says: str, refuses: Refuses
) -> None:
    if content is None:
        (folder / name).unlink()
    else:
        (folder / name).write_text(content)
    assert says in refuses(lambda: write_cascade(folder))
