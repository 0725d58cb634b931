"""What other projects' files say, and that no file at all brings anything but one clear line."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from netdyno.base.errors import InputError, UnknownName
from netdyno.profiler.formats import FORMATS, Choice, import_table
from netdyno.profiler.layers import MBConv, Operator, count_operators, parse_layer
from netdyno.profiler.table import LookupTable, load_table, parse_row

Refuses = Callable[[Callable[[], object]], str]
Survives = Callable[[Callable[[], object]], None]


def _load_twins() -> ModuleType:
    spec = importlib.util.spec_from_file_location("twins", Path(__file__).with_name("twins.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


TWINS = _load_twins()


def read(folder: Path, format: str, which: int = 0) -> LookupTable:
    name, content = TWINS.FILES[format][which]
    (folder / name).write_bytes(content)
    return import_table(folder / name, format, Choice(**TWINS.CHOICES.get(format, {})))


def test_every_format_has_a_twin() -> None:
    assert set(TWINS.FILES) == set(FORMATS.names()) - {"ofa-yaml"}, "ofa-yaml has tests of its own"


@pytest.mark.parametrize("format", TWINS.FILES)
def test_twins_are_plausible_tables(format: str, tmp_path: Path) -> None:
    for which in range(len(TWINS.FILES[format])):
        table = read(tmp_path, format, which)
        table.check()
        table.save(tmp_path / "t")
        assert load_table(tmp_path / "t").layers.equals(table.layers)
        assert table.conditions["format"] == format


def test_single_path_tells_places_of_one_shape_apart(tmp_path: Path) -> None:
    table = read(tmp_path, "single-path-json")
    assert len(table.layers) == 80 + 1
    second = MBConv(56, 56, 24, 24, 72, 3, 1, "relu", 0, 1)
    assert [table.layers.loc[f"{second.key}#{place}", "latency_ms"] for place in (3, 4, 5)] == [0.5, 0.75, 1.0]
    assert table.layers.loc["skip", "latency_ms"] == 0.7
    assert table.conditions["constant_ms"] == 19.5999


def test_tfnas_refuses_negative_rows_one_by_one(tmp_path: Path) -> None:
    table = read(tmp_path, "tfnas-csv")
    refused = table.layers[table.layers["valid"] == 0]
    assert list(refused["method"]) == ["refused: a latency of -0.25 ms"]
    assert table.conditions["constant_ms"] == 2.0 and table.conditions["refused_rows"] == 1
    assert MBConv(14, 14, 80, 112, 160, 5, 1, "swish", 160, 0).key in table.layers.index
    with pytest.raises(InputError, match=r"choose a device: cpu, gpu; 1 of its 6 rows"):
        import_table(tmp_path / "lut.csv", "tfnas-csv")


def test_aihub_is_picked_from(tmp_path: Path) -> None:
    table = read(tmp_path, "aihub-perf")
    assert dict(table.networks.loc["Net", ["latency_ms", "memory_bytes"]]) == {
        "latency_ms": 1.5,
        "memory_bytes": 10**7,
    }
    path = tmp_path / "net.perf.yaml"
    assert import_table(path, "aihub-perf", Choice(precision="w8a8")).networks.loc["Net", "latency_ms"] == 0.75
    failed = import_table(path, "aihub-perf", Choice("Phone A", "onnx", "float"))
    assert failed.networks.loc["Net", "method"] == "failed: Failed"
    assert failed.problems() == ["no row of the table is valid"]
    with pytest.raises(InputError, match="choose a device: Phone A, Phone B"):
        import_table(path, "aihub-perf", Choice(precision="float"))
    with pytest.raises(UnknownName, match="did you mean 'Phone B'"):
        import_table(path, "aihub-perf", Choice("Phone", "", "float"))


def _operators(table: LookupTable) -> list[tuple[str, str, float]]:
    found = []
    for key, row in table.layers.iterrows():
        operator = parse_layer(str(key))
        assert isinstance(operator, Operator)
        found.append((operator.type, operator.name, float(row["latency_ms"])))
    return found


def test_aihub_memory_beyond_any_machine_is_no_number(tmp_path: Path, refuses: Refuses) -> None:
    path = tmp_path / "file"
    path.write_text(TWINS.AIHUB.replace("max: 10}", "max: 11111111111110}"))
    assert "no such number" in refuses(lambda: import_table(path, "aihub-perf", Choice("Phone A", "tflite", "float")))


def test_trtexec(tmp_path: Path) -> None:
    table = read(tmp_path, "trtexec-json")
    assert _operators(table) == [("", "conv1 + relu", 0.25), ("", "nothing", 0.0), ("", "fc", 0.125)]
    assert list(table.layers["valid"]) == [1, 0, 1]
    assert set(table.layers["samples"]) == {100}
    assert _operators(read(tmp_path, "trtexec-json", 1)) == [("", "conv1", 0.5), ("", "fc", 0.125)]


def test_onnxruntime(tmp_path: Path) -> None:
    table = read(tmp_path, "onnxruntime-json")  # 20 and 30 µs, 5 and 6 + 1
    assert _operators(table) == [("Conv", "conv", 0.025), ("Relu", "relu", 0.006)], (
        "medians of 20, 30 and of 5, 6 + 1"
    )
    text = TWINS.ONNXRUNTIME
    for cut in (text[: text.index('{"cat" : "Node","pid" :1,"tid" :1,"dur" :1,"ts" :240') + 30], text.strip("[]\n")):
        (tmp_path / "cut.json").write_text(cut)
        assert len(import_table(tmp_path / "cut.json", "onnxruntime-json").layers) == 2


def test_onnxruntime_nodes_alone_are_inferences_one_after_the_other(tmp_path: Path) -> None:
    lines = [line for line in TWINS.ONNXRUNTIME.splitlines() if '"Node"' in line and '"ts" :240' not in line]
    (tmp_path / "nodes.json").write_text("\n".join(lines))
    table = import_table(tmp_path / "nodes.json", "onnxruntime-json")
    assert _operators(table) == [("Conv", "conv", 0.025), ("Relu", "relu", 0.0055)]
    assert list(table.layers["samples"]) == [2, 2]


@pytest.mark.parametrize("which", range(3))
def test_benchmark_model(which: int, tmp_path: Path) -> None:
    """Averages are of one call; the section on initialisation is not the one that counts."""
    table = read(tmp_path, "benchmark-model", which)
    times = [latency for _, _, latency in _operators(table)]
    assert times == pytest.approx([1.25, 0.375]), "what is inside of the delegate is not counted twice"
    if which == 0:
        assert _operators(table)[0][0] == "Convolution (NHWC, F32) IGEMM"
        row = table.networks.loc["net.tflite"]
        assert (row["latency_ms"], row["samples"]) == (2.942, 100)
        assert row["latency_ms_high"] - row["latency_ms"] == pytest.approx(1.96 * 0.05 / 10)
    if which == 1:
        assert _operators(table)[0][0] == "Convolution (NHWC, F32) IGEMM", "commas belong to the type"
    if which == 2:
        assert [kind for kind, _, _ in _operators(table)] == ["CONV_2D", "ADD"], "in run order"


@pytest.mark.parametrize("format", TWINS.FILES)
def test_nothing_there(format: str, tmp_path: Path, refuses: Refuses) -> None:
    choice = Choice(**TWINS.CHOICES.get(format, {}))
    refuses(lambda: import_table(tmp_path / "nosuch", format, choice))
    refuses(lambda: import_table(tmp_path, format, choice))
    for content in (b"", b"\0" * 50, b"{", b"[]", b"{}", b"null", b"1e999", b"[[" * 5000, b"\xff\xfe"):
        (tmp_path / "file").write_bytes(content)
        refuses(lambda: import_table(tmp_path / "file", format, choice))


@pytest.mark.parametrize("format", TWINS.FILES)
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_files(format: str, data: st.DataObject, tmp_path: Path, survives: Survives) -> None:
    """Bytes changed, cut out and put in: a table whose rows say what they are, or one clear line."""
    _, twin = data.draw(st.sampled_from(TWINS.FILES[format]))
    content = bytearray(twin)
    pieces = st.sampled_from([b"", b"-", b"1e999", b"NaN", b"null", b"[", b"\0", b"\xff", b"9" * 30, b"=", b"\t"])
    for _ in range(data.draw(st.integers(1, 5))):
        at = data.draw(st.integers(0, len(content)))
        content[at : at + data.draw(st.integers(0, 8))] = data.draw(pieces | st.binary(max_size=4))
    (tmp_path / "file").write_bytes(content)

    def action() -> None:
        table = import_table(tmp_path / "file", format, Choice(**TWINS.CHOICES.get(format, {})))
        valid = [rows[rows["valid"] == 1]["latency_ms"] for rows in (table.layers, table.networks)]
        assert all((each > 0).all() and np.isfinite(each).all() for each in valid)

    survives(action)


def test_names_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "p.json").write_text('{"conv \\ud800": [1.0]}')
    (key,) = import_table(tmp_path / "p.json", "trtexec-json").layers.index
    assert parse_layer(str(key)).key == key
    (tmp_path / "p.pb").write_bytes(TWINS.proto().replace(b"net/add", b"net/\xff\xfe!"))
    assert import_table(tmp_path / "p.pb", "benchmark-model").problems() == []


def test_operators_of_one_name_are_counted() -> None:
    named = [("Conv", "a"), ("Relu", "a"), ("Conv", "a"), ("Conv", "b"), ("Conv", "a")]
    assert [operator.nth for operator in count_operators(named)] == [0, 0, 1, 0, 2]


@given(st.integers(0, 10**6), st.text(max_size=30), st.text(max_size=30))
def test_an_operator_s_key_holds_any_name(nth: int, kind: str, name: str) -> None:
    operator = Operator(nth, kind, name)
    assert not {"@", "#"} & set(operator.key)
    assert parse_layer(operator.key) == operator


# The published files ------------------------------------------------------------------------------------------------


def test_the_published_pixel_1_table(refdata: Path) -> None:
    table = import_table(refdata / "singlepath_pixel1/pixel1_runtime_model.json", "single-path-json")
    totals = dict.fromkeys([(3, 3), (3, 6), (5, 3), (5, 6)], table.conditions["constant_ms"])
    for key, row in table.layers.iterrows():
        layer = parse_row(str(key)).layer
        if isinstance(layer, MBConv):
            totals[layer.kernel, layer.mid // layer.cin] += row["latency_ms"]
    published = {(3, 3): 65.69, (3, 6): 110.65, (5, 3): 76.36, (5, 6): 131.46}
    assert totals == pytest.approx(published, abs=0.006)


def test_the_published_tfnas_table(refdata: Path) -> None:
    path = refdata / "lut_tfnas/tfnas_lut.csv.gz"
    with pytest.raises(InputError, match="172 of its 72962 rows"):
        import_table(path, "tfnas-csv")
    tables = {device: import_table(path, "tfnas-csv", Choice(device)) for device in ("cpu", "gpu")}
    refused = {device: table.conditions["refused_rows"] for device, table in tables.items()}
    assert refused == {"cpu": 84, "gpu": 88}


def test_the_published_perf_yamls(refdata: Path) -> None:
    for path in sorted((refdata / "aihub/samples").glob("*.perf.yaml")):
        table = import_table(path, "aihub-perf", Choice("Samsung Galaxy S24", "tflite", "float"))
        table.check()
        assert (table.networks["latency_ms"] > 0.1).all()


def test_the_published_tensorrt_profiles(refdata: Path) -> None:
    folder = refdata / "trt_profiles"
    for path in (*folder.glob("*fp16.profile.json"), *folder.glob("*trt_layer_latency.json")):
        table = import_table(path, "trtexec-json")
        table.check()
        assert len(table.layers) >= 1


def test_the_published_benchmark_logs(refdata: Path) -> None:
    """Operators add up to what the log itself says of the whole."""
    folder = refdata / "tflite_benchmark_logs"
    for name, operators, total_ms in (
        ("gpu_delegate_oppprof_2020.log", 1, 8.68033),
        ("litert_readme_mobilenet_v1_oldformat.log", 31, 79.7609),
        ("new_format_info_prefix_p5_median_p95.log", 0, 2.781),
    ):
        table = import_table(folder / name, "benchmark-model")
        assert len(table.layers) == operators
        assert list(table.networks["latency_ms"]) == [pytest.approx(total_ms)]
        if operators:
            assert table.layers["latency_ms"].sum() == pytest.approx(total_ms, rel=0.01)


def test_the_published_onnxruntime_excerpts(refdata: Path) -> None:
    folder = refdata / "onnxruntime_profile"
    table = import_table(folder / "sample_v1.12.1_cpu_excerpt.json.txt", "onnxruntime-json")
    assert [kind for kind, _, _ in _operators(table)] == ["Pad"]
    with pytest.raises(InputError, match="no operator in it"):
        import_table(folder / "sample_cuda_ep_excerpt.json.txt", "onnxruntime-json")
