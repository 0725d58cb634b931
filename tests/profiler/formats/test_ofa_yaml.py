from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from netdyno.base.errors import UnknownName
from netdyno.nas.spaces.ofa_mobilenetv3 import OfaMobileNetV3
from netdyno.profiler.formats import import_table
from netdyno.profiler.layers import Conv, GlobalPool, Linear, MBConv
from netdyno.profiler.table import load_table

Refuses = Callable[[Callable[[], object]], str]
Survives = Callable[[Callable[[], object]], None]

BLOCK = "expanded_conv-input:16x16x8-output:8x8x12-expand:24-kernel:5-stride:2-idskip:0-se:1-hs:1"
TWIN = {
    "Conv-input:32x32x3-output:16x16x8": (100, 1.5, 0.2),
    BLOCK: (400, 2.25, 0.1),
    "expanded_conv-input:8x8x12-output:8x8x12-expand:36-kernel:3-stride:1-idskip:1-se:0-hs:0": (9, 0.5, 0.3),
    "Conv_1-input:8x8x12-output:8x8x64": (50, 0.25, 0.0),
    "AvgPool2D-input:8x8x64-output:1x1x64": (50, 0.125, 0.01),
    "Conv_2-input:1x1x64-output:1x1x96": (50, 0.0625, 0.01),
    "Logits-input:1x1x96-output:10": (50, 0.03125, 1.0),
}
TEXT = "".join(f"{key}:\n  count: {n}\n  mean: {mean}\n  std: {std}\n" for key, (n, mean, std) in TWIN.items())
LAYERS = [
    Conv(32, 32, 3, 8, kernel=3, stride=2, norm=1, act="h_swish"),
    MBConv(16, 16, 8, 12, mid=24, kernel=5, stride=2, act="h_swish", se=8, skip=0),
    MBConv(8, 8, 12, 12, mid=36, kernel=3, stride=1, act="relu", se=0, skip=1),
    Conv(8, 8, 12, 64, kernel=1, stride=1, norm=1, act="h_swish"),
    GlobalPool(8, 8, 64),
    Conv(1, 1, 64, 96, kernel=1, stride=1, norm=0, act="h_swish"),
    Linear(96, 10),
]


@pytest.fixture
def twin(tmp_path: Path) -> Path:
    """A folder in the published format, with rows of our own."""
    for size in (32, 48):
        (tmp_path / f"{size}_lookup_table.yaml").write_text(TEXT)
    return tmp_path


def test_every_kind_of_layer_is_understood(twin: Path) -> None:
    table = import_table(twin, "ofa-yaml")
    assert list(table.layers.index) == [f"{layer.key}@{size}" for size in (32, 48) for layer in LAYERS]
    assert list(table.layers["latency_ms"][: len(TWIN)]) == [mean for _, mean, _ in TWIN.values()]
    table.check()


def test_the_interval_is_that_of_the_mean(twin: Path) -> None:
    rows = import_table(twin / "32_lookup_table.yaml", "ofa-yaml").layers
    block = rows.loc[f"{LAYERS[1].key}@32"]
    assert (block["latency_ms_low"], block["latency_ms_high"]) == pytest.approx((2.25 - 0.0098, 2.25 + 0.0098))
    assert (block["samples"], block["method"], block["valid"]) == (400, "imported", 1)
    assert rows.loc[f"{LAYERS[-1].key}@32", "latency_ms_low"] == 0.0


def test_an_imported_table_is_saved_and_read_back(twin: Path, tmp_path: Path) -> None:
    table = import_table(twin, "ofa-yaml")
    table.save(tmp_path / "out")
    assert load_table(tmp_path / "out").layers.equals(table.layers)


def test_unknown_formats_are_told() -> None:
    with pytest.raises(UnknownName, match="did you mean 'ofa-yaml'"):
        import_table(Path("x"), "ofa-yml")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "a: [",
        "- " * 50_000,
        "? " * 50_000,
        "[" * 900,
        "{" * 50_000,
        "1: 2",
        "!!int '': {count: 1, mean: 1, std: 1}",
        f"{BLOCK}: 3",
        f"{BLOCK}: {{count: 1, mean: 1}}",
        f"{BLOCK}: {{mean: 1, std: 1}}",
        f"{BLOCK}: {{mean: 1}}\n{BLOCK}: {{mean: 2}}",
        f"{BLOCK}: {{mean: 1}}\n'{BLOCK}:': {{mean: 2}}",
        f"{BLOCK}: {{mean: 1, mean: 2}}",
        f"{BLOCK}-groups:2: {{mean: 1}}",
        f"{BLOCK}-se:0: {{mean: 1}}",
        f"{BLOCK}: {{mean: 1}}\n---\n{BLOCK}: {{mean: 2}}",
        f"{BLOCK}: {{count: 1, mean: x, std: 1}}",
        f"{BLOCK}: {{count: 0, mean: 1, std: 1}}",
        f"{BLOCK}: {{count: 1, mean: -1, std: 1}}",
        f"{BLOCK}: {{count: 1, mean: .nan, std: 1}}",
        f"{BLOCK}: {{count: 1, mean: 1e999, std: 1}}",
        f"{BLOCK}: {{count: [1], mean: 1, std: 1}}",
        f"{BLOCK}: {{count: {'9' * 5000}, mean: 1, std: 1}}",
        f"{BLOCK}: {{count: {'9' * 40}, mean: 1, std: 1}}",
        *(
            f"{BLOCK.replace(old, new)}: {{count: 1, mean: 1, std: 1}}"
            for old, new in [
                ("16x16", "0x16"),
                ("16x16", "16"),
                ("expand:24", "expand:-24"),
                ("expand:24", f"expand:{'9' * 400}"),
                ("expand:24", f"expand:{'9' * 5000}"),
                ("stride:2", "stride:0"),
                ("idskip:0", "idskip:7"),
                ("kernel:5", "kernels:5"),
                ("expanded_conv", "contracted_conv"),
            ]
        ),
    ],
    ids=lambda text: text[:40],
)
def test_hostile_files(text: str, tmp_path: Path, refuses: Refuses) -> None:
    path = tmp_path / "32_lookup_table.yaml"
    path.write_text(text)
    assert str(path) in refuses(lambda: import_table(tmp_path, "ofa-yaml"))


def test_a_layer_with_two_costs_is_told(twin: Path, refuses: Refuses) -> None:
    name = next(iter(TWIN))
    (twin / "32_lookup_table.yaml").write_text(f"{TEXT}{name}: {{count: 1, mean: 9, std: 0}}\n")
    assert f"{name!r} stands there twice" in refuses(lambda: import_table(twin, "ofa-yaml"))
    (twin / "32_lookup_table.yaml").write_text(TEXT)
    (twin / "32_lookup_table.yml").write_text(TEXT)
    assert "has a cost for 32 px already" in refuses(lambda: import_table(twin, "ofa-yaml"))


PROXYLESS = {
    "Conv-input:32x32x3-output:16x16x8": Conv(32, 32, 3, 8, kernel=3, stride=2, norm=1, act="relu"),
    "expanded_conv-input:16x16x8-output:8x8x12-expand:3-kernel:7-stride:2-idskip:0": MBConv(
        16, 16, 8, 12, mid=24, kernel=7, stride=2, act="relu", se=0, skip=0
    ),
    "Conv_1-input:8x8x12-output:8x8x64": Conv(8, 8, 12, 64, kernel=1, stride=1, norm=1, act="relu"),
    "Logits-input:8x8x64-output:10": Linear(64, 10),
}


@pytest.mark.parametrize("entry", ["{mean: 1.5}", "{count: 4, mean: 1.5, std: 0.5}"])
def test_tables_of_proxylessnas(entry: str, tmp_path: Path) -> None:
    """Blocks without flags, their expansion a ratio."""
    (tmp_path / "32_lookup_table.yaml").write_text("".join(f"{key}: {entry}\n" for key in PROXYLESS))
    table = import_table(tmp_path, "ofa-yaml")
    table.check()
    assert list(table.layers.index) == [f"{layer.key}@32" for layer in PROXYLESS.values()]
    assert set(table.layers["latency_ms"]) == {1.5}


def test_what_is_left_out_is_named(twin: Path) -> None:
    assert "left_out" not in import_table(twin, "ofa-yaml").conditions
    (twin / "notes.txt").write_text("")
    (twin / "48_lookup_table.yaml").write_text(TEXT.replace("  std:", "  min: 1\n  std:"))
    named = ["notes.txt: not named like a table", "of each entry: min"]
    assert import_table(twin, "ofa-yaml").conditions["left_out"] == named


def test_a_bomb_of_aliases_does_not_go_off(tmp_path: Path, refuses: Refuses) -> None:
    lines = ["a0: &a0 {x: 1}"] + [f"a{i}: &a{i} {{<<: [*a{i - 1}, *a{i - 1}]}}" for i in range(1, 60)]
    (tmp_path / "32_lookup_table.yaml").write_text("\n".join(lines))
    refuses(lambda: import_table(tmp_path, "ofa-yaml"))


def test_hostile_folders(tmp_path: Path, refuses: Refuses) -> None:
    refuses(lambda: import_table(tmp_path, "ofa-yaml"))
    refuses(lambda: import_table(tmp_path / "missing", "ofa-yaml"))
    (tmp_path / "0_lookup_table.yaml").write_text(TEXT)
    refuses(lambda: import_table(tmp_path, "ofa-yaml"))
    (tmp_path / "0_lookup_table.yaml").unlink()
    (tmp_path / "32_lookup_table.yaml").symlink_to(tmp_path / "nowhere")
    refuses(lambda: import_table(tmp_path, "ofa-yaml"))
    (tmp_path / "32_lookup_table.yaml").unlink()
    (tmp_path / "32_lookup_table.yaml").mkdir()
    refuses(lambda: import_table(tmp_path, "ofa-yaml"))
    (tmp_path / "other.yaml").write_text(TEXT)
    refuses(lambda: import_table(tmp_path / "other.yaml", "ofa-yaml"))


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_mutations(data: st.DataObject, tmp_path: Path, survives: Survives) -> None:
    """A published-looking file with pieces cut, doubled and replaced is read or refused."""
    text = bytearray(TEXT.encode())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(text)))
        length = data.draw(st.integers(0, 30))
        text[at : at + length] = data.draw(
            st.binary(max_size=6) | st.sampled_from([b"-", b":", b"x9", b"0", b"1e99"])
        )
    (tmp_path / "32_lookup_table.yaml").write_bytes(text)
    survives(lambda: import_table(tmp_path, "ofa-yaml").problems())


def test_the_published_table(refdata: Path) -> None:
    """The Note10's tables give the latencies that OFA²'s published front states, to the last of its digits."""
    table = import_table(refdata / "ofa_note10", "ofa-yaml")
    table.check()
    files = sorted((refdata / "ofa_note10").glob("*.yaml"))
    assert len(table.layers) == sum(len(yaml.safe_load(file.read_text())) for file in files[:1]) * len(files)
    space = OfaMobileNetV3(width=1.2, resolutions=[160, 176, 192, 208, 224])
    published = np.loadtxt(refdata / "ofa2_front" / "ofa2_nsga2_100.csv", delimiter=",", skiprows=1)
    genes = published[:, 2:].astype(int).tolist()
    X = space.encode([{"ks": g[:20], "e": g[20:40], "d": g[40:45], "r": g[45:]} for g in genes])
    assert len(X) == 100
    np.testing.assert_allclose(table.cost(space)(X), published[:, 0], rtol=0, atol=1e-6)
