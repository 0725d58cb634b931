"""Data sets that users have, read from small files in the published formats, and from what only looks like them."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from netdyno.base.errors import InputError, UnknownName
from netdyno.nas.data import load_data
from netdyno.nas.data.idx import read_idx

Refuses = Callable[[Callable[[], object]], str]
Factory = pytest.TempPathFactory
Bytes = NDArray[np.uint8]
SPLITS = ("train", "val", "test")


def idx(values: Bytes) -> bytes:
    """In the published format, written anew."""
    return bytes([0, 0, 8, values.ndim]) + np.array(values.shape, ">u4").tobytes() + values.tobytes()


def images(n: int, *shape: int) -> Bytes:
    return np.random.default_rng(n).integers(0, 256, (n, *shape), np.uint8)


def labels(n: int) -> Bytes:
    return (np.arange(n) % 10).astype(np.uint8)


@pytest.fixture(params=[False, True], ids=["plain", "gzipped"])
def mnist(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    for part, n in (("train", 60), ("t10k", 20)):
        for name, values in (("images-idx3", images(n, 28, 28)), ("labels-idx1", labels(n))):
            path = tmp_path / f"{part}-{name}-ubyte"
            if request.param:
                path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(idx(values)))
            else:
                path.write_bytes(idx(values))
    return tmp_path


@pytest.fixture
def cifar(tmp_path: Path) -> Path:
    for i in range(1, 6):
        write_batch(tmp_path / f"data_batch_{i}.bin", 10 + i)
    write_batch(tmp_path / "test_batch.bin", 20)
    return tmp_path


def write_batch(path: Path, n: int) -> None:
    path.write_bytes(np.concatenate([labels(n)[:, None], images(n, 3072)], axis=1).tobytes())


def test_mnist_is_what_its_files_say(mnist: Path) -> None:
    parts = {split: load_data(f"mnist:{mnist}", split) for split in SPLITS}
    assert {split: len(data) for split, data in parts.items()} == {"train": 50, "val": 10, "test": 20}
    for split, rows in (("train", slice(50)), ("val", slice(50, 60))):
        data = parts[split]
        assert data.images.shape[1:] == (3, 28, 28) and data.images.dtype == np.float32
        values = (data.images * np.array(data.std)[:, None, None] + np.array(data.mean)[:, None, None]) * 255
        np.testing.assert_allclose(values, np.repeat(images(60, 28, 28)[rows, None], 3, axis=1), atol=1e-3)
        np.testing.assert_array_equal(data.labels, labels(60)[rows])


def test_cifar_is_what_its_files_say(cifar: Path) -> None:
    parts = {split: load_data(f"cifar10:{cifar}", split) for split in SPLITS}
    assert {split: len(data) for split, data in parts.items()} == {"train": 52, "val": 13, "test": 20}
    data = parts["test"]
    values = (data.images * np.array(data.std)[:, None, None] + np.array(data.mean)[:, None, None]) * 255
    np.testing.assert_allclose(values, images(20, 3072).reshape(-1, 3, 32, 32), atol=1e-3)
    assert [data.classes[label] for label in data.labels[:2]] == ["airplane", "automobile"]


@pytest.mark.parametrize("name", ["mnist", "cifar10"])
def test_what_is_read_needs_a_folder(name: str, tmp_path: Path, refuses: Refuses) -> None:
    assert f"{name}:FOLDER" in refuses(lambda: load_data(name, "train"))
    assert str(tmp_path) in refuses(lambda: load_data(f"{name}:{tmp_path}", "train"))


def test_what_is_made_has_none(refuses: Refuses, tmp_path: Path) -> None:
    assert "made" in refuses(lambda: load_data(f"digits:{tmp_path}", "train"))
    with pytest.raises(UnknownName, match="mnist"):
        load_data("mnits:somewhere", "train")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "not an idx file"),
        (b"<!DOCTYPE html>" * 10, "not an idx file"),
        (idx(labels(60))[:-1], "and has 59"),
        (idx(labels(60)) + b"\0", "and has more"),
        (bytes([0, 0, 8, 1]) + b"\xff\xff\xff\xff", "says"),
        (idx(labels(60)[:0]), "says"),
        (idx(labels(59)), "60 images and 59 labels"),
        (idx(np.full(60, 10, np.uint8)), "up to 10"),
    ],
)
def test_what_is_not_mnist_is_refused(content: bytes, says: str, tmp_path: Path, refuses: Refuses) -> None:
    (tmp_path / "train-images-idx3-ubyte").write_bytes(idx(images(60, 28, 28)))
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(content)
    assert says in refuses(lambda: load_data(f"mnist:{tmp_path}", "train"))


def test_a_cut_archive_is_refused(tmp_path: Path, refuses: Refuses) -> None:
    whole = gzip.compress(idx(images(60, 28, 28)))
    for content in (whole[:-40], whole[:20] + b"\xff" * 40 + whole[60:], b"not gzip"):
        (tmp_path / "a.gz").write_bytes(content)
        assert "a.gz" in refuses(lambda: read_idx(tmp_path / "a", 3))


@pytest.mark.parametrize("content", [b"", b"\0" * 3072, b"\x0a" + b"\0" * 3072])
def test_what_is_not_cifar_is_refused(content: bytes, cifar: Path, refuses: Refuses) -> None:
    (cifar / "test_batch.bin").write_bytes(content)
    assert "test_batch.bin" in refuses(lambda: load_data(f"cifar10:{cifar}", "test"))


@given(tail=st.binary(max_size=60), dimensions=st.integers(0, 3))
def test_any_bytes_are_read_or_refused(tmp_path_factory: Factory, tail: bytes, dimensions: int) -> None:
    path = tmp_path_factory.mktemp("idx") / "any"
    path.write_bytes(bytes([0, 0, 8, dimensions]) + tail)
    try:
        values = read_idx(path, dimensions)
    except InputError:
        return
    assert values.ndim == dimensions and values.tobytes() == tail[4 * dimensions :]
