from __future__ import annotations

import io
import json
import os
import pickle
import resource
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from ai_edge_litert.interpreter import Interpreter
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from netdyno.base.errors import UnknownName
from netdyno.exporters.writers import write
from netdyno.nas.data.dataset import Dataset
from netdyno.nas.spaces.ofa_mobilenetv3 import OfaMobileNetV3
from netdyno.nas.supernets.dynamic import active_kernel
from netdyno.nas.supernets.ofa_mobilenetv3 import OfaMobileNetV3Supernet
from netdyno.nas.supernets.store import DESCRIPTOR, WEIGHTS, load_supernet, make_supernet, save_supernet
from netdyno.nas.supernets.subnet import Subnet, recalibrate
from netdyno.nas.supernets.train import Training, train_supernet

Refuses = Callable[[Callable[[], object]], str]
Survives = Callable[[Callable[[], object]], None]

REFERENCES = {1.0: "statedict_ofa_mbv3_d234_e346_k357_w1.0.json", 1.2: "statedict_ofa_mbv3_w1.2.json"}


def _some_genes(space: OfaMobileNetV3) -> list[np.ndarray]:
    """Both ends of the space, and random architectures at each resolution."""
    X = space.sample(6, seed=1)
    X[:, -1] = np.arange(6) % 3
    return [space.smallest(), space.largest(), *X]


def _images(size: int, n: int = 1, seed: int = 0) -> torch.Tensor:
    return torch.randn((n, 3, size, size), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("width", REFERENCES)
def test_checkpoints_have_the_published_keys_and_shapes(width: float, refdata: Path) -> None:
    published = json.loads((refdata / "ofa_statedict" / REFERENCES[width]).read_text())
    with torch.device("meta"):
        state = OfaMobileNetV3Supernet(OfaMobileNetV3(width)).state_dict()
    assert {name: list(value.shape) for name, value in state.items()} == published


def test_kernels_shrink_by_crop_and_map() -> None:
    """7 → 5 → 3, element by element: the centre's pixels in reading order, times a matrix, each step."""
    random = np.random.default_rng(0)
    weight = random.standard_normal((4, 1, 7, 7))
    matrices = {5: random.standard_normal((25, 25)), 3: random.standard_normal((9, 9))}
    expected = weight
    for size in (5, 3):
        larger, expected = expected, np.zeros((4, 1, size, size))
        for channel in range(4):
            for out in range(size * size):
                for into in range(size * size):
                    pixel = larger[channel, 0, 1 + into // size, 1 + into % size]
                    expected[channel, 0, out // size, out % size] += matrices[size][out, into] * pixel
        tensors = {size: torch.from_numpy(matrix) for size, matrix in matrices.items()}
        found = active_kernel(torch.from_numpy(weight), size, tensors)
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12)
    assert active_kernel(torch.from_numpy(weight), 7, tensors).shape == (4, 1, 7, 7)


def test_subnets_compute_what_the_supernet_does(stirred: OfaMobileNetV3Supernet) -> None:
    for genes in _some_genes(stirred.space):
        subnet = stirred.extract(genes)
        x = _images(subnet.resolution, n=2)
        with torch.no_grad():
            torch.testing.assert_close(subnet(x), stirred(x, genes), rtol=1e-4, atol=1e-4)


def test_a_subnet_keeps_weights_of_its_own(stirred: OfaMobileNetV3Supernet) -> None:
    before = {name: value.clone() for name, value in stirred.state_dict().items()}
    subnet = stirred.extract(stirred.space.largest())
    with torch.no_grad():
        for value in [*subnet.parameters(), *subnet.buffers()]:
            value.zero_()
    assert all(torch.equal(value, before[name]) for name, value in stirred.state_dict().items())


def test_a_subnet_has_as_many_parameters_as_its_space_says(narrow: OfaMobileNetV3) -> None:
    for genes in _some_genes(narrow):
        assert sum(p.numel() for p in Subnet(narrow, genes).parameters()) == narrow.params(genes)[0]


def _run_onnx(data: bytes, x: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    outputs: np.ndarray = session.run(None, {session.get_inputs()[0].name: x})[0]
    return outputs


def _run_tflite(data: bytes, x: np.ndarray) -> np.ndarray:
    interpreter = Interpreter(model_content=data, num_threads=1)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], np.ascontiguousarray(np.moveaxis(x, 1, -1)))
    interpreter.invoke()
    outputs: np.ndarray = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    return outputs


@pytest.mark.parametrize(("file_format", "run"), [("onnx", _run_onnx), ("tflite", _run_tflite)])
def test_what_ships_answers_as_torch_does(
    file_format: str, run: Callable[[bytes, np.ndarray], np.ndarray], stirred: OfaMobileNetV3Supernet
) -> None:
    sizes = set()
    for genes in _some_genes(stirred.space):
        subnet = stirred.extract(genes)
        sizes.add(subnet.resolution)
        x = _images(subnet.resolution)
        with torch.no_grad():
            expected = subnet(x).numpy()
        found = run(write(subnet.graph(), file_format).data, x.numpy())
        assert np.abs(found - expected).max() <= 1e-5 * np.ptp(expected)
    assert sizes == set(stirred.space.resolutions)


def test_recalibration_sets_the_statistics_of_the_images(stirred: OfaMobileNetV3Supernet) -> None:
    subnet = stirred.extract(stirred.space.smallest())
    batches = [_images(48, n=8, seed=1) + 1, _images(48, n=8, seed=2)]
    recalibrate(subnet, batches)
    first: Any = subnet.blocks[0]
    with torch.no_grad():
        seen = [first.conv(batch) for batch in batches]
    mean = torch.stack([y.mean((0, 2, 3)) for y in seen]).mean(0)
    torch.testing.assert_close(first.bn.running_mean, mean, rtol=1e-4, atol=1e-5)
    variance = torch.stack([y.var((0, 2, 3)) for y in seen]).mean(0)
    torch.testing.assert_close(first.bn.running_var, variance, rtol=1e-4, atol=1e-5)
    assert first.bn.momentum == 0.1
    assert not any(module.training for module in subnet.modules())
    once = {name: value.clone() for name, value in subnet.state_dict().items()}
    recalibrate(subnet, batches)
    assert all(torch.equal(value, once[name]) for name, value in subnet.state_dict().items())


def test_training_lowers_the_loss_and_repeats(narrow: OfaMobileNetV3, stripes: Callable[[int, int], Dataset]) -> None:
    data = stripes(256, 0)
    small = OfaMobileNetV3(narrow.width, [32, 36], narrow.classes)
    told: list[tuple[str, int, int]] = []
    nets, curves = [], []
    for _ in range(2):
        net = make_supernet(small, seed=1)
        torch.manual_seed(99 + len(nets))  # whatever the caller's generator stands at
        curves.append(
            train_supernet(
                net, data, Training(steps=12, batch=32, random_subnets=1), lambda *tale: told.append(tale[:3])
            )
        )
        nets.append(net)
    assert curves[0] == curves[1]
    first, second = (net.state_dict() for net in nets)
    assert all(torch.equal(value, second[name]) for name, value in first.items())
    assert len(curves[0]) == 12
    assert np.mean(curves[0][-3:]) < np.mean(curves[0][:3]) - 0.1
    assert not nets[0].training
    assert told[:12] == [("train", step, 12) for step in range(1, 13)]
    other = make_supernet(small, seed=1)
    assert train_supernet(other, data, Training(steps=3, batch=32, random_subnets=1, seed=5))[1] != curves[0][1]


def test_initial_weights_follow_the_seed_alone(narrow: OfaMobileNetV3) -> None:
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = make_supernet(narrow, seed=7).state_dict()
    assert torch.equal(torch.get_rng_state(), state), "the caller's generator was moved"
    torch.manual_seed(2)
    again, other = make_supernet(narrow, seed=7).state_dict(), make_supernet(narrow, seed=8).state_dict()
    assert all(torch.equal(value, again[name]) for name, value in first.items())
    assert not all(torch.equal(value, other[name]) for name, value in first.items())


def test_spaces_without_a_supernet_are_told(narrow: OfaMobileNetV3) -> None:
    class Nameless(OfaMobileNetV3):
        name = "nameless"

    with pytest.raises(UnknownName, match="unknown supernet 'nameless'"):
        make_supernet(Nameless())


# On disk ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def saved(stirred: OfaMobileNetV3Supernet, tmp_path: Path) -> Path:
    save_supernet(stirred, tmp_path / "net", data="stripes", training=Training(steps=3))
    return tmp_path / "net"


def test_a_supernet_is_read_back(saved: Path, stirred: OfaMobileNetV3Supernet) -> None:
    supernet, descriptor = load_supernet(saved)
    assert supernet.space.parameters == stirred.space.parameters
    expected = stirred.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in supernet.state_dict().items())
    assert (descriptor["data"], descriptor["training"]["steps"]) == ("stripes", 3)
    assert not supernet.training
    save_supernet(supernet, saved, data="again", training=Training())
    assert load_supernet(saved)[1]["data"] == "again"


def test_somebodys_other_files_are_never_deleted(
    saved: Path, stirred: OfaMobileNetV3Supernet, refuses: Refuses
) -> None:
    (saved / "thesis.tex").write_text("years")
    refuses(lambda: save_supernet(stirred, saved, data="x", training=Training()))
    assert (saved / "thesis.tex").exists() and load_supernet(saved)[1]["data"] == "stripes"


class Trap:
    """Unpickling it would leave a file behind."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("protocol", ["pickle", "torch", "legacy torch"])
def test_code_in_the_weights_is_refused_and_never_run(
    protocol: str, saved: Path, tmp_path: Path, refuses: Refuses
) -> None:
    sprung = tmp_path / "sprung"
    trap = {"first_conv.conv.weight": Trap(sprung)}
    if protocol == "pickle":
        (saved / WEIGHTS).write_bytes(pickle.dumps(trap))
    else:
        torch.save(trap, saved / WEIGHTS, _use_new_zipfile_serialization=protocol == "torch")
    assert WEIGHTS in refuses(lambda: load_supernet(saved))
    assert not sprung.exists()
    pickle.loads(pickle.dumps(trap))  # noqa: S301 - the trap does work
    assert sprung.exists()


def _descriptor(**changes: Any) -> str:
    space = {"name": "ofa-mobilenetv3", "width": 0.25, "resolutions": [48, 56, 64], "classes": 10}
    return json.dumps({"space": space | changes})


@pytest.mark.parametrize(
    ("file", "content"),
    [
        (DESCRIPTOR, "{"),
        (DESCRIPTOR, "[]"),
        (DESCRIPTOR, "{}"),
        (DESCRIPTOR, '{"space": 3}'),
        (DESCRIPTOR, '{"space": {}}'),
        (DESCRIPTOR, "[" * 100_000),
        (DESCRIPTOR, _descriptor(name="ofa")),
        (DESCRIPTOR, _descriptor(name=["ofa"])),
        (DESCRIPTOR, _descriptor(width="wide")),
        (DESCRIPTOR, _descriptor(width=0.5)),
        (DESCRIPTOR, _descriptor(classes=10**12)),
        (DESCRIPTOR, _descriptor(classes=11)),
        (DESCRIPTOR, _descriptor(depth=3)),
        (WEIGHTS, ""),
        (WEIGHTS, "PK\x03\x04"),
        (WEIGHTS, "nothing"),
    ],
    ids=lambda text: text[:60],
)
def test_hostile_files(file: str, content: str, saved: Path, refuses: Refuses) -> None:
    (saved / file).write_text(content)
    refuses(lambda: load_supernet(saved))


def test_weights_of_something_else(saved: Path, stirred: OfaMobileNetV3Supernet, refuses: Refuses) -> None:
    state = stirred.state_dict()
    for other in ({}, [], torch.zeros(3), {"x": torch.zeros(3)}, {"x": 3}, {**state, "first_conv.conv.weight": 3}):
        torch.save(other, saved / WEIGHTS)
        assert WEIGHTS in refuses(lambda: load_supernet(saved))
    (saved / WEIGHTS).unlink()
    refuses(lambda: load_supernet(saved))
    (saved / DESCRIPTOR).unlink()
    refuses(lambda: load_supernet(saved))
    refuses(lambda: load_supernet(saved / "missing"))


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_mutated_weights(data: st.DataObject, saved: Path, survives: Survives) -> None:
    whole = (saved / WEIGHTS).read_bytes()
    content = bytearray(whole)
    near_an_end = st.integers(0, 4000) | st.integers(len(whole) - 4000, len(whole) - 1)
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(near_an_end)] = data.draw(st.integers(0, 255))
    try:
        (saved / WEIGHTS).write_bytes(content[: data.draw(st.just(len(content)) | st.integers(0, len(content)))])
        survives(lambda: load_supernet(saved))
    finally:
        (saved / WEIGHTS).write_bytes(whole)


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _deflated(whole: bytes) -> bytes:
    """The same archive with 200 MB of zeros, compressed, where its first values were."""
    packed = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(whole)) as archive,
        zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as bomb,
    ):
        for entry in archive.infolist():
            zeros = entry.filename.endswith("/data/0")
            bomb.writestr(entry.filename, bytes(2 * 10**8) if zeros else archive.read(entry))
    return packed.getvalue()


@pytest.mark.parametrize("kind", ["compressed", "view", "view, legacy", "legacy", "space", "sparse", "not finite"])
def test_weights_take_no_more_memory_than_the_network(
    kind: str, saved: Path, stirred: OfaMobileNetV3Supernet, refuses: Refuses
) -> None:
    path, state = saved / WEIGHTS, stirred.state_dict()
    name, first = next(iter(state.items()))
    whole = path.read_bytes()
    if kind == "compressed":
        path.write_bytes(_deflated(whole))
    elif kind.startswith("view"):
        endless = {**state, name: torch.zeros(1).expand(10**11)}
        torch.save(endless, path, _use_new_zipfile_serialization=kind == "view")
    elif kind == "legacy":
        torch.save(state, path, _use_new_zipfile_serialization=False)
        content, size = path.read_bytes(), first.numel()
        assert size < 256
        path.write_bytes(content.replace(b"K" + bytes([size]), b"J" + struct.pack("<i", 2**31 - 1), 1))
    elif kind == "space":
        (saved / DESCRIPTOR).write_text(_descriptor(width=16))
    elif kind == "sparse":
        os.truncate(path, 10**9)
    else:
        torch.save({**state, name: torch.full_like(first, torch.nan)}, path)
    before = _peak_mb()
    assert WEIGHTS in refuses(lambda: load_supernet(saved))
    assert _peak_mb() - before < 100


def test_a_flipped_bit_in_the_weights_is_told(saved: Path, refuses: Refuses) -> None:
    whole = (saved / WEIGHTS).read_bytes()
    middle = len(whole) // 2
    (saved / WEIGHTS).write_bytes(whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :])
    assert WEIGHTS in refuses(lambda: load_supernet(saved))


def test_a_newer_supernet_is_refused(saved: Path, refuses: Refuses) -> None:
    document = json.loads((saved / DESCRIPTOR).read_text())
    assert document["schema"] == 1
    (saved / DESCRIPTOR).write_text(json.dumps(document | {"schema": 99}))
    assert "a newer one wrote it" in refuses(lambda: load_supernet(saved))
