"""Run an ensemble: ``python run_ensemble.py IMAGES.npy`` prints the class of each image, one a line.

IMAGES.npy holds float numbers (n, 3, height, width) from 0 to 1. It needs numpy, and onnxruntime or ai-edge-litert.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]


def load(folder: Path) -> Callable[[Array], Array]:
    """A member's model: an image (1, 3, r, r) to scores (1, classes)."""
    if (folder / "model.onnx").exists():
        import onnxruntime

        session = onnxruntime.InferenceSession(str(folder / "model.onnx"), providers=["CPUExecutionProvider"])
        return lambda image: np.asarray(session.run(None, {session.get_inputs()[0].name: image})[0])
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(folder / "model.tflite"))
    interpreter.allocate_tensors()
    taken, made = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]

    def run(image: Array) -> Array:
        interpreter.set_tensor(taken, image.transpose(0, 2, 3, 1))
        interpreter.invoke()
        return np.asarray(interpreter.get_tensor(made))

    return run


def weights(size: int, wanted: int) -> Array:
    """Bilinear resizing with antialiasing along one axis, (wanted, size)."""
    scale = size / wanted
    distance = np.arange(size) + 0.5 - (np.arange(wanted)[:, None] + 0.5) * scale
    triangle = np.maximum(1 - np.abs(distance) / max(scale, 1.0), 0)
    return np.asarray(triangle / triangle.sum(axis=1, keepdims=True))


def probabilities(folder: Path, images: Array) -> Array:
    """Of each class, by one member, (n, classes)."""
    card, model = json.loads((folder / "card.json").read_text("utf-8")), load(folder)
    norm = card.get("normalisation", {"mean": [0.0], "std": [1.0]})
    mean, std = (np.reshape(norm[key], (-1, 1, 1)) for key in ("mean", "std"))
    rows, columns = map(weights, images.shape[2:], card["input"]["shape"][2:])
    resized = (rows @ ((images - mean) / std) @ columns.T).astype(np.float32)
    scores = np.concatenate([model(image[None]) for image in resized]).astype(np.float64)
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def vote(members: Array, voting: str) -> Array:
    """Positions of the winning classes, (n,), of the members' probabilities (members, n, classes)."""
    total: Array = members.sum(axis=0)
    if voting == "hard":
        votes = (members.argmax(axis=2)[..., None] == np.arange(members.shape[2])).sum(axis=0)
        total = np.where(votes == votes.max(axis=1, keepdims=True), total, -1)
    return np.asarray(total.argmax(axis=1))


if __name__ == "__main__":
    here = Path(__file__).resolve().parent
    ensemble, given = json.loads((here / "ensemble.json").read_text("utf-8")), np.load(sys.argv[1])
    answers = [probabilities(here / member["folder"], given) for member in ensemble["members"]]
    print(*vote(np.stack(answers), ensemble["voting"]), sep="\n")
