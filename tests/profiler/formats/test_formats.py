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


def of_llm(text: str, folder: Path) -> LookupTable:
    path = folder / "llm.yaml"
    path.write_text(text)
    table = import_table(path, "aihub-perf")
    table.check()
    return table


RANGE_MS = "time_to_first_token_range_milliseconds: {min: 125.5, max: 4000}"
OLD_LLM = """models:
  name: Chat
  performance_metrics:
  - torchscript_onnx_qnn:
      llm_metrics: {time_to_first_token_range: {min: 125500, max: 4000000}, tokens_per_second: 8}
      evaluation_metrics: null
    reference_device_info: {name: Phone A, os: '14'}
    timestamp: '2024-10-26T23:42:51Z'
"""
NEW_LLM = f"""precisions:
  w4a16:
    components:
      Chat:
        performance_metrics:
          Phone A:
            genie: {{{RANGE_MS}, tokens_per_second: 8}}
"""
LLM_FORMS = {
    "2024": OLD_LLM,
    "2024, in a list": OLD_LLM.replace("  name: Chat\n  ", "- name: Chat\n  "),
    "2025": NEW_LLM,
    "2025, with its context": NEW_LLM.replace("tokens_per_second", "context_length: 4096, tokens_per_second"),
    "2025, in a list": NEW_LLM.replace(": {time", ": {llm_metrics: [{context_length: 4096, time").replace(
        ": 8}", ": 8}]}"
    ),
}


@pytest.mark.parametrize("form", LLM_FORMS)
def test_aihub_times_of_language_models(form: str, tmp_path: Path) -> None:
    rows = of_llm(LLM_FORMS[form], tmp_path).networks
    where = " (context of 4096)" if "context_length" in LLM_FORMS[form] else ""
    assert dict(rows["latency_ms"]) == {
        f"Chat: first token of the shortest prompt{where}": 125.5,
        f"Chat: first token of the longest prompt{where}": 4000.0,
        f"Chat: each token{where}": 125.0,
    }
    assert set(rows["valid"]) == {1}


def test_aihub_language_models_by_context(tmp_path: Path) -> None:
    entries = "".join(
        f"- {{context_length: {n}, desired_compute_unit: npu, tokens_per_second: {rate}, prefill: 9}}\n"
        for n, rate in ((512, 10), (4096, 5))
    )
    text = NEW_LLM.partition("            genie")[0] + "            genie:\n              llm_metrics:\n"
    table = of_llm(text + "".join(f"              {line}\n" for line in entries.splitlines()), tmp_path)
    assert dict(table.networks["latency_ms"]) == {
        "Chat: each token (context of 512, npu)": 100.0,
        "Chat: each token (context of 4096, npu)": 200.0,
    }
    assert table.conditions["left_out"] == ["of each entry: prefill"]


def test_aihub_before_2025(tmp_path: Path) -> None:
    """µs and bytes, and a device that was measured twice."""
    entry = (
        "{{inference_time: {}, estimated_peak_memory_range: {{min: 1, max: 5000}}, precision: fp16, job_status: X}}"
    )
    each = "  - {{tflite: {}, reference_device_info: {{name: {}}}, timestamp: x}}\n"
    metrics = [each.format(entry.format(time), device) for time, device in ((903.0, "A"), (910, "A"), ("null", "B"))]
    path = tmp_path / "old.yaml"
    path.write_text("models:\n- name: Net\n  performance_metrics:\n" + "".join(metrics) + "aggregated: {x: y}\n")
    rows = import_table(path, "aihub-perf", Choice("A")).networks
    assert dict(rows["latency_ms"]) == {"Net": 0.903, "Net (2)": 0.91}
    assert set(rows["memory_bytes"]) == {5000}
    assert import_table(path, "aihub-perf", Choice("B")).networks.loc["Net", "method"] == "failed: X"


def test_aihub_names_what_is_left_out(tmp_path: Path) -> None:
    table = read(tmp_path, "aihub-perf")
    assert table.conditions["left_out"] == [
        "3 of 4 measurements, with other precisions, devices or runtimes",
        "the lower end of each range of memory",
    ]
    path = tmp_path / "net.perf.yaml"
    more = TWINS.AIHUB.replace(
        "  w8a8:", "      Other:\n        performance_metrics: {Phone B: {onnx: {x: 1}}}\n  w8a8:", 1
    )
    path.write_text(more)
    table = import_table(path, "aihub-perf", Choice("Phone A", "tflite", "float"))
    assert "Other: not measured with this precision, device and runtime" in table.conditions["left_out"]


MARKS = {"utf-8": b"\xef\xbb\xbf", "utf-16-le": b"\xff\xfe", "utf-16-be": b"\xfe\xff"}


@pytest.mark.parametrize(
    ("format", "encoding"),
    [
        (name, encoding)
        for name in (*TWINS.FILES, "ofa-yaml")
        for encoding in MARKS
        if (name, encoding[:6]) != ("tfnas-csv", "utf-16")
    ],
)
def test_byte_order_marks(format: str, encoding: str, tmp_path: Path) -> None:
    name, content = {**TWINS.FILES, "ofa-yaml": [("9_lookup_table.yaml", TWINS.OFA.encode())]}[format][0]
    choice = Choice(**TWINS.CHOICES.get(format, {}))
    (tmp_path / name).write_bytes(content)
    plain = import_table(tmp_path / name, format, choice)
    (tmp_path / name).write_bytes(MARKS[encoding] + content.decode().encode(encoding))
    assert import_table(tmp_path / name, format, choice).layers.equals(plain.layers)


@pytest.mark.parametrize(
    ("format", "content"),
    [
        ("trtexec-json", '{"conv": [1.0], "conv": [2.0]}'),
        ("trtexec-json", '[{"count": 9}, {"name": "a", "averageMs": 1, "averageMs": 2}]'),
        (
            "trtexec-json",
            '[{"count": 9}, {"name": "a", "averageMs": 1}, {"count": 9}, {"name": "a", "averageMs": 2}]',
        ),
        ("single-path-json", TWINS.SINGLE_PATH.replace('"2": {', '"1": {', 1)),
        ("aihub-perf", TWINS.AIHUB.replace("Phone B:", "Phone A:")),
        ("tfnas-csv", TWINS.TFNAS.replace("cpu,base,,9.0", "gpu,base,,9.0")),
        ("benchmark-model", TWINS.LOG + TWINS.LOG),
    ],
)
def test_what_stands_twice_is_told(format: str, content: str, tmp_path: Path, refuses: Refuses) -> None:
    (tmp_path / "file").write_text(content)
    choice = Choice(**TWINS.CHOICES.get(format, {}))
    assert any(
        word in refuses(lambda: import_table(tmp_path / "file", format, choice)) for word in ("twice", "two", "2")
    )


@pytest.mark.parametrize(
    ("format", "content", "named"),
    [
        ("tfnas-csv", TWINS.TFNAS, "2 rows of other devices"),
        ("tfnas-csv", TWINS.TFNAS.replace("\n", ",1\n").replace("ms,1", "ms,std", 1), "of each entry: std"),
        ("single-path-json", TWINS.SINGLE_PATH[:-1] + ', "21": {"0": 1}}', "layer 21: not one of the 20"),
        ("single-path-json", TWINS.SINGLE_PATH.replace('"0":', '"4": 1, "0":', 1), "option 4 of layer 1"),
        ("trtexec-json", TWINS.TRTEXEC, "of each entry: percentage, timeMs"),
        ("trtexec-json", TWINS.IPROFILER, "what stands behind its time"),
        ("benchmark-model", TWINS.LOG, "the operators of the initialisation"),
        ("benchmark-model", TWINS.LOG, "the time to load"),
        ("benchmark-model", TWINS.CSV, "memory of each operator"),
    ],
)
def test_what_is_left_out_is_named(format: str, content: str, named: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text(content)
    table = import_table(tmp_path / "file", format, Choice(**TWINS.CHOICES.get(format, {})))
    assert any(named in line for line in table.conditions["left_out"])


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
