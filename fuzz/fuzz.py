"""Coverage-guided fuzzing of everything that reads what somebody else wrote.

``python fuzz/fuzz.py TARGET [SECONDS]`` feeds a parser mutations of the tests' own small files until the time is
over; it ends with an error, and leaves the input in ``crash-…``, if anything but an error of netdyno's own escapes.
``python fuzz/fuzz.py --list`` names the targets.
"""

from __future__ import annotations

import gzip
import importlib.util
import io
import json
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType

import atheris
import numpy as np

with atheris.instrument_imports(include=["netdyno"]):
    from netdyno.base.errors import NetdynoError
    from netdyno.devices.jetson import parse_tegrastats
    from netdyno.exporters.npy import parse_npy
    from netdyno.nas.adaptive.bundle import KIND as CASCADE
    from netdyno.nas.composite import load_composite
    from netdyno.nas.ensembles.bundle import KIND as ENSEMBLE
    from netdyno.profiler.formats import FORMATS, Choice, import_table
    from netdyno.profiler.layers import Linear, Operator
    from netdyno.profiler.samples import SAMPLES
    from netdyno.profiler.table import LookupTable, load_table, make_rows, parse_row

    for name in FORMATS.names():
        FORMATS.load(name)

ROOT = Path(__file__).resolve().parents[1]
LONGEST = 8192

Target = Callable[[bytes], object]


def targets(folder: Path) -> dict[str, tuple[Target, list[bytes]]]:
    """Each parser with the inputs to start from; files are written to ``folder``."""
    twins = _module(ROOT / "tests/profiler/formats/twins.py")
    found: dict[str, tuple[Target, list[bytes]]] = {}
    for name, files in twins.FILES.items():
        read = partial(import_table, format=name, choice=Choice(**twins.CHOICES.get(name, {})))
        found[name] = (_of_file(folder / "file", read), [content for _, content in files])
    yaml = b"Conv-input:32x32x3-output:16x16x8:\n  count: 9\n  mean: 1.5\n  std: 0.25\n"
    found["ofa-yaml"] = (_of_file(folder / "32_lookup_table.yaml", lambda p: import_table(p, "ofa-yaml")), [yaml])
    keys = [Linear(4, 3).key.encode(), Operator(1, "Conv (NHWC, F32)", "a/b:0").key.encode() + b"@224"]
    found["layer-key"] = (lambda content: parse_row(content.decode("utf-8", "surrogateescape")), keys)
    for name in ("datapackage.json", "layers.csv"):
        found[name] = _table(folder, name)
    array = io.BytesIO()
    np.save(array, np.zeros((2, 3), np.float32))
    found["npy"] = (lambda content: parse_npy(content, folder / "a.npy"), [array.getvalue()])
    entry = {"name": "card.json", "bytes": 1, "sha256": "0" * 64}
    members = [{"folder": f"member-{i}", "card": entry} for i in (1, 2)]
    for kind, how in ((ENSEMBLE, {"voting": "soft", "latency": "sum"}), (CASCADE, {"thresholds": [0.5]})):
        document = {"schema": 1, "members": members, "runner": entry | {"name": kind.runner}, "facts": {}} | how
        read = _of_file(folder / kind.descriptor, lambda path, kind=kind: load_composite(kind, path.parent))
        found[kind.descriptor] = (read, [json.dumps(document).encode()])
    samples = gzip.compress(b"row,start,round,latency_ms\na,1,1,0.5\n")
    found[SAMPLES.path] = (_of_file(folder / SAMPLES.path, SAMPLES.read), [samples])
    lines = [line.encode() for line in _module(ROOT / "tests/devices/jetson/test_tegrastats.py").TOTALS_MW]
    found["tegrastats"] = (lambda content: parse_tegrastats(content.decode(errors="replace")), lines)
    return found


def _table(folder: Path, name: str) -> tuple[Target, list[bytes]]:
    """One file of a table mutated, the others whole."""
    rows = make_rows("layer", {Linear(4, 3).key: {"latency_ms": 0.5, "samples": 3, "method": "measured"}})
    LookupTable("t", {"calibration": {"latency_ms": {"measured": 1.0}}}, rows).save(folder)
    content = (folder / name).read_bytes()
    return _of_file(folder / name, lambda path: load_table(path.parent).problems()), [content]


def _of_file(path: Path, read: Callable[[Path], object]) -> Target:
    def target(content: bytes) -> None:
        path.write_bytes(content)
        read(path)

    return target


def _module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main(name: str, seconds: str = "60") -> None:
    with tempfile.TemporaryDirectory() as scratch:
        work, corpus = Path(scratch) / "work", Path(scratch) / "corpus"
        work.mkdir()
        corpus.mkdir()
        known = targets(work)
        if name == "--list":
            print("\n".join(known))
            return
        if name not in known:
            sys.exit(f"no target {name!r}; there are {', '.join(known)}")
        target, seeds = known[name]
        for number, seed in enumerate(seeds):
            (corpus / str(number)).write_bytes(seed)

        def once(content: bytes) -> None:
            try:
                target(content)
            except NetdynoError as error:
                message = str(error)
                assert message.strip() and len(message.splitlines()) == 1, repr(message)

        options = [f"-max_total_time={seconds}", f"-max_len={LONGEST}", "-timeout=60", "-rss_limit_mb=4096"]
        atheris.Setup([sys.argv[0], *options, "-print_final_stats=1", str(corpus)], once)
        atheris.Fuzz()


if __name__ == "__main__":
    main(*sys.argv[1:])
