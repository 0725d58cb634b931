"""Run the networks of this folder together: ``python THIS_FILE IMAGES.npy`` prints each image's class, one a line.

An ensemble votes. Of a cascade the first network that is sure enough answers; its number, from 1 on, stands behind
the class. IMAGES.npy holds float numbers (n, 3, height, width) from 0 to 1. It needs numpy, and onnxruntime or
ai-edge-litert.
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


def margins(answers: Array) -> Array:
    """How much likelier the likeliest class is than the next, (n,); 1 where there is none next, 0 where unknown."""
    if answers.shape[1] < 2:
        return np.ones(len(answers))
    second, first = np.partition(answers, -2, axis=1)[:, -2:].T
    return np.asarray(np.nan_to_num(first - second, nan=0.0))


def descend(folders: list[Path], thresholds: list[float], images: Array) -> Array:
    """Class and number of the network that answered, (n, 2); a network sees what those before it were not sure of."""
    found = np.zeros((len(images), 2), np.int64)
    left = np.arange(len(images))
    for number, folder in enumerate(folders, start=1):
        if not len(left):
            break
        answers = probabilities(folder, images[left])
        found[left] = np.column_stack([answers.argmax(axis=1), np.full(len(left), number)])
        if number < len(folders):
            left = left[margins(answers) < thresholds[number - 1]]
    return found


if __name__ == "__main__":
    here = Path(__file__).resolve().parent
    given, descriptor = np.load(sys.argv[1]), here / "cascade.json"
    how = json.loads((descriptor if descriptor.exists() else here / "ensemble.json").read_text("utf-8"))
    members = [here / member["folder"] for member in how["members"]]
    if "thresholds" in how:
        for answer in descend(members, how["thresholds"], given):
            print(*answer)
    else:
        print(*vote(np.stack([probabilities(member, given) for member in members]), how["voting"]), sep="\n")
