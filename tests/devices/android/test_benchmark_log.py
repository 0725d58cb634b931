"""Every form of what ``benchmark_model`` says, in twins of our own."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netdyno.devices.android.benchmark_log import Row, parse_log, parse_operators
from netdyno.devices.android.benchmark_proto import message_type, parse_profile

pytestmark = pytest.mark.alone

TITLE = "Operator-wise Profiling Info for Regular Benchmark Runs:\n"
ORDER = "============================== Run Order =============================="
XNNPACK = [
    ("Convolution (NHWC, F32) IGEMM", "Delegate/Convolution (NHWC, F32) IGEMM:0", 1.25),
    ("ADD", "[net/add]:1", 0.125),
]


def text(rows: list[tuple[str, str, float]], *, start: bool = True) -> str:
    """A table as the tool prints it."""
    head = ["[node type]", *(["[start]"] if start else []), "[first]", "[avg ms]", "[%]", "[cdf%]", "[mem KB]"]
    lines = ["\t" + "\t".join(f"{cell:>12}" for cell in [*head, "[times called]", "[Name]"])]
    for kind, name, ms in rows:
        cells = [kind, *(["0.000"] if start else []), "9.0", f"{ms:.3f}", "60.000%", "60.000%", "0.000", "1", name]
        lines.append("\t" + "\t".join(f"{cell:>12}" for cell in cells))
    return "\n".join([ORDER, *lines, "", "Number of nodes executed: 9", ""])


def csv(rows: list[tuple[str, str, float]], *, start: bool) -> str:
    """A table as the tool writes it."""
    head = f"node type, {'start, ' if start else ''}first, avg_ms, %, cdf%, mem KB, times called, name"
    zero = "0.000, " if start else ""
    lines = [f"{kind}, {zero}9.0, {ms:.3f}, 60%, 60%, 0, 1, {name}" for kind, name, ms in rows]
    return "\n".join([ORDER, head, *lines, ""])


def shown(rows: list[Row] | tuple[Row, ...]) -> list[tuple[str, str, float]]:
    return [(row.type, row.name, row.latency_ms) for row in rows]


WANTED = [
    ("Convolution (NHWC, F32) IGEMM", "Delegate/Convolution (NHWC, F32) IGEMM:0", 1.25),
    ("ADD", "net/add:1", 0.125),
]


@pytest.mark.parametrize("start", [True, False])
def test_text_and_csv(start: bool) -> None:
    """With and without the column ``start``; commas belong to types and names."""
    assert shown(parse_operators(TITLE + text(XNNPACK, start=start)).main) == WANTED
    assert shown(parse_operators(csv(XNNPACK, start=start)).main) == WANTED


@pytest.mark.parametrize(
    ("kind", "provider"),
    [
        ("TfLiteNnapiDelegate", "NNAPI"),
        ("TfLiteGpuDelegateV2", "GPU"),
        ("TfLiteXNNPackDelegate", "XNNPACK"),
        ("TfLiteHexagonDelegate", "Hexagon"),
        ("TfLiteNovelDelegate", "TfLiteNovelDelegate"),
    ],
)
def test_a_delegate_that_is_a_single_node(kind: str, provider: str) -> None:
    found = parse_operators(TITLE + text([(kind, "[out]:77", 8.671)]))
    assert [(row.type, row.provider, row.latency_ms) for row in found.expanded()] == [(kind, provider, 8.671)]
    assert found.partitions == 1


def test_what_is_inside_of_a_delegate_stands_for_its_rows() -> None:
    """In several parts of the model; each operator once, what runs outside in its place."""
    main = [
        ("TfLiteXNNPackDelegate", "[a]:1", 2.0),
        ("CUSTOM", "[b]:2", 0.5),
        ("TfLiteXNNPackDelegate", "[c]:3", 1.0),
    ]
    inside = [("Sigmoid", "Delegate/Sigmoid:0", 1.9), ("Mean", "Delegate/Mean:1", 1.0)]
    found = parse_operators(TITLE + text(main) + "\nDelegate internal: \n" + text(inside))
    assert [(row.type, row.provider) for row in found.expanded()] == [
        ("Sigmoid", "XNNPACK"),
        ("Mean", "XNNPACK"),
        ("CUSTOM", "LiteRT"),
    ]
    assert found.partitions == 2
    assert [row.name for row in found.main] == ["a:1", "b:2", "c:3"], "tables count the parts"


def test_proto() -> None:
    profile = message_type("BenchmarkProfilingData")()
    graph = profile.runtime_profile.subgraph_profiles.add()
    graph.per_op_profiles.add(node_type="TfLiteXNNPackDelegate", run_order=0).inference_microseconds.avg = 50
    delegate = profile.runtime_profile.delegate_profiles.add(delegate_name="XNNPack")
    row = delegate.per_op_profiles.add(node_type="Sigmoid", times_called=2)
    row.inference_microseconds.sum, row.inference_microseconds.count = 2000, 100
    (own,) = parse_profile(profile.SerializeToString()).expanded()
    assert own == Row("Sigmoid", "", 0.04, 100, "XNNPACK")
    for content in (b"", b"\xff\xff", b"not a message"):
        with pytest.raises(ValueError, match="profile"):
            parse_profile(content)


SUMMARY = """Graph: [net.tflite]
count=5 first=2761 curr=2885 min=2605 max=3080 avg=2800.5 std=100
count=337 first=2881 curr=2703 min=2605 max=20356 avg=2942.27 std=1190 p5=2647 median=2781 p95=3169
Inference timings in us: Init: 6395, First inference: 2761, Warmup (avg): 2800.5, Inference (avg): 2942.27
Memory footprint delta from the start of the tool (MB): init=39.4531 overall=40.8281"""


@pytest.mark.parametrize(
    "prefix",
    [
        "",
        "INFO: ",
        "06-18 10:21:05.123  1234  1250 I tflite  : ",
        "06-18 10:21:05.123  1234  1250 I tflite  : INFO: ",
        "I/tflite  ( 1234): ",
    ],
)
def test_logs(prefix: str) -> None:
    """As the tool prints them, and as its app writes them into Android's log."""
    log = parse_log("\n".join(prefix + line for line in SUMMARY.splitlines()))
    assert log.summary is not None
    assert (log.summary.count, log.summary.median_us, log.summary.average_us) == (337, 2781, 2942.27)
    assert (log.graph, log.load_us, log.first_us, log.memory_mb) == ("net.tflite", 6395, 2761, 40.8281)
    table = "\n".join(prefix + line for line in (TITLE + text(XNNPACK)).splitlines())
    assert shown(parse_operators(table).main) == WANTED


def test_inferences_that_all_took_the_same() -> None:
    """They have no average, and the warm-up's is not theirs."""
    warm, run, total = (
        "count=3 first=5 curr=5 min=5 max=6 avg=5.003 std=0",
        "count=50 curr=5(all same)",
        "Inference (avg): 5",
    )
    summary = parse_log("\n".join([warm, run, total])).summary
    assert summary is not None
    assert (summary.count, summary.average_us, summary.std_us) == (50, 5, 0)


def test_long_lines_take_no_longer_than_long() -> None:
    for piece in ("Graph: [", "=", "= ", "count=1 "):
        began = time.monotonic()
        parse_log(piece * 200_000)
        parse_operators(piece * 200_000)
        assert time.monotonic() - began < 60, "quadratic work would take hours"


PIECES = st.sampled_from(
    [ORDER, "\n", "\t", ", ", "[node type]", "[avg ms]", "[Name]", "count=", "avg=", "9" * 20, "Inference (avg): "]
)


@given(st.lists(PIECES | st.text(max_size=6), max_size=40).map("".join))
def test_whatever_it_says(said: str) -> None:
    """Figures, or a ValueError."""
    try:
        log, rows = parse_log(said), parse_operators(said).expanded()
    except ValueError:
        return
    assert all(abs(row.latency_ms) < 1e30 for row in rows)
    assert log.summary is None or abs(log.summary.average_us) < 1e13
