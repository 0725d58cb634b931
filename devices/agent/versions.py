"""What is installed here, and in which version."""

import contextlib
import importlib
import importlib.util
import os
import platform
import re
import shutil
import subprocess
from typing import Any, Dict

_PACKAGES = {
    "numpy": ("numpy", "numpy"),
    "onnxruntime": ("onnxruntime", "onnxruntime"),
    "ai-edge-litert": ("ai_edge_litert", "ai-edge-litert"),
    "tflite-runtime": ("tflite_runtime", "tflite-runtime"),
}
_TRTEXEC = "/usr/src/tensorrt/bin/trtexec"
"""Where JetPack and TensorRT's own archives put it."""
_ASK_S = 30
_LEAST_CUDA = 11


def versions() -> Dict[str, str]:
    """Python, and what runs models on a CPU."""
    found = {"python": platform.python_version()}
    for name, (module, package) in _PACKAGES.items():
        if importlib.util.find_spec(module) is not None:
            found[name] = _version(module, package)
    return {name: version for name, version in found.items() if version}


def cuda_versions() -> Dict[str, str]:
    """What runs models on a GPU, by the runtime's name."""
    found = {"tensorrt": trtexec_version(), "torch": _torch_version(), "onnxruntime": _onnxruntime_version()}
    return {name: version for name, version in found.items() if version}


def trtexec() -> str:
    """TensorRT's own program, empty where there is none."""
    return shutil.which("trtexec") or (_TRTEXEC if os.access(_TRTEXEC, os.X_OK) else "")


def trtexec_version() -> str:
    """TensorRT's version as its program tells it, such as ``8.5.2``; empty where there is none."""
    if not trtexec():
        return ""
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        said = subprocess.check_output(
            [trtexec(), "--help"], stdin=subprocess.DEVNULL, stderr=subprocess.STDOUT, timeout=_ASK_S
        )
        told = re.search(rb"\[TensorRT v(\d{4,6})\]", said)
        if told:
            return _dotted(told.group(1).decode())
    return "unknown"


def _dotted(digits: str) -> str:
    """8502 is 8.5.2, one digit for the minor version; from 10 on it has two: 100800 is 10.8.0."""
    minor = len(digits) - 2
    major = minor - (2 if len(digits) > 4 else 1)
    return ".".join(str(int(part)) for part in (digits[:major], digits[major:minor], digits[minor:]))


def _torch_version() -> str:
    """PyTorch's version if it can run ONNX models as CUDA graphs, read off its smallest module without the rest."""
    with contextlib.suppress(Exception):  # whatever a broken package raises, it cannot be used
        spec = importlib.util.find_spec("torch")
        folder = next(iter(spec.submodule_search_locations or []))  # type: ignore[union-attr]
        told: Dict[str, Any] = {}
        with open(os.path.join(folder, "version.py")) as file:
            exec(file.read(), told)
        graphs = int(str(told["cuda"] or "0").split(".")[0]) >= _LEAST_CUDA
        if graphs and importlib.util.find_spec("onnx") is not None:
            return str(told["__version__"])
    return ""


def _onnxruntime_version() -> str:
    """ONNX Runtime's version if it was built for CUDA."""
    with contextlib.suppress(Exception):  # whatever a broken package raises, it cannot be used
        onnxruntime = importlib.import_module("onnxruntime")
        if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
            return str(onnxruntime.__version__)
    return ""


def _version(module: str, package: str) -> str:
    """A package's version, empty where it is there but cannot be used."""
    try:
        from importlib import metadata  # Python 3.8

        return metadata.version(package)
    except ImportError:  # an older Python, or a package whose files say nothing of it
        with contextlib.suppress(Exception):  # whatever a broken package raises, it cannot be used
            return str(getattr(importlib.import_module(module), "__version__", "unknown"))
    return ""
