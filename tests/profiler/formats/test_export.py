"""What is exported is imported again; what is fetched is what was published."""

from __future__ import annotations

import functools
import http.server
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from netdyno.base.errors import UnknownName
from netdyno.nas.space import make_space
from netdyno.profiler.formats import Choice, export_table, fetch, import_table
from netdyno.profiler.layers import FBNetBlock, Overhead
from netdyno.profiler.table import LookupTable, make_rows

Refuses = Callable[[Callable[[], object]], str]


FORMATS = ("ofa-yaml", "tfnas-csv")


def _table(resolutions: list[int]) -> LookupTable:
    space = make_space("ofa-mobilenetv3", width=0.5, resolutions=resolutions)
    rows = {Overhead().key: {"latency_ms": 0.01}}
    for i, layer in enumerate(space.vocabulary()):
        low, middle, high = (0.1 + i / part for part in (8, 7, 6))
        rows[layer.key] = {"latency_ms": middle, "latency_ms_low": low, "latency_ms_high": high, "samples": 9}
    return LookupTable("ours", {}, make_rows("layer", rows))


def test_ofa_yaml_there_and_back(tmp_path: Path) -> None:
    table = _table([64])
    (file,) = export_table(table, tmp_path, "ofa-yaml")
    assert file.name == "64_lookup_table.yaml"
    again = import_table(tmp_path, "ofa-yaml").layers
    ours = table.layers.drop(index="overhead")
    assert set(again.index) == {f"{key}@64" for key in ours.index}
    for key, row in ours.iterrows():
        other = again.loc[f"{key}@64"]
        assert other["latency_ms"] == row["latency_ms"]
        assert other["latency_ms_high"] == pytest.approx(row["latency_ms_high"])
        assert other["samples"] == 9


def test_published_tables_there_and_back(refdata: Path, tmp_path: Path) -> None:
    table = import_table(refdata / "ofa_note10", "ofa-yaml")
    assert len(export_table(table, tmp_path, "ofa-yaml")) == 17
    again = import_table(tmp_path, "ofa-yaml")
    columns = ["latency_ms", "samples"]
    pd.testing.assert_frame_equal(again.layers[columns].sort_index(), table.layers[columns].sort_index())


def test_tfnas_there_and_back(tmp_path: Path) -> None:
    content = "device,op_key,mid_channels,latency_ms\ngpu,base,,2.5\n"
    content += "gpu,MBInvertedResBlock_14_80_160_112_k5_s1_swish,160.0,0.1\n"
    (tmp_path / "in.csv").write_text(content)
    table = import_table(tmp_path / "in.csv", "tfnas-csv")
    (file,) = export_table(table, tmp_path / "out", "tfnas-csv")
    again = import_table(file, "tfnas-csv", Choice("gpu"))
    pd.testing.assert_frame_equal(again.layers, table.layers)
    assert again.conditions["constant_ms"] == 2.5


def test_what_a_format_has_no_name_for(tmp_path: Path, refuses: Refuses) -> None:
    block = FBNetBlock(4, 4, 8, 8, 24, 3, 1, 1, 1)
    table = LookupTable("t", {}, make_rows("layer", {f"{block.key}@32": {"latency_ms": 1.0}}))
    for name in FORMATS:
        assert block.key in refuses(lambda name=name: export_table(table, tmp_path / "out", name))
    assert "2 input sizes" in refuses(lambda: export_table(_table([64, 96]), tmp_path / "out", "ofa-yaml"))
    refuses(lambda: export_table(LookupTable("t", {}, make_rows("layer", {})), tmp_path / "out", "ofa-yaml"))
    assert not (tmp_path / "out").exists()
    with pytest.raises(UnknownName, match="ofa-yaml"):
        export_table(table, tmp_path, "trtexec-json")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """An HTTP server on a folder."""
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/", tmp_path
        server.shutdown()
        thread.join()


def test_published_tables_are_fetched_and_checked(server: tuple[str, Path], refdata: Path, refuses: Refuses) -> None:
    url, folder = server
    assert "cannot be fetched" in refuses(lambda: fetch.fetch_table("ofa-note10", url))
    for file in (refdata / "ofa_note10").glob("*.yaml"):
        (folder / file.name).write_bytes(file.read_bytes())
    table = fetch.fetch_table("ofa-note10", url)
    assert len(table.layers) == 17 * 96
    assert np.isfinite(table.layers["latency_ms"]).all()
    changed = folder / "200_lookup_table.yaml"
    changed.write_bytes(changed.read_bytes().replace(b"mean: 0", b"mean: 1", 1))
    assert "not the published file" in refuses(lambda: fetch.fetch_table("ofa-note10", url))
    with pytest.raises(UnknownName):
        fetch.fetch_table("ofa-note11", url)
