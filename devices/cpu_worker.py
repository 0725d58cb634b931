"""The worker process of the CPU device: it keeps models and times them.

Run as ``python -m netdyno.devices.cpu_worker RUNTIME``. Standard input is a socket on which frames
(:mod:`netdyno.devices.wire`) come and go; the process ends with it.
"""

from __future__ import annotations

import importlib
import os
import select
import signal
import socket
import sys
import threading
import time
from typing import Any

from numpy.typing import NDArray

from netdyno.base.errors import WorkerLost
from netdyno.devices import agent
from netdyno.devices.runtimes import Model, default_inputs
from netdyno.devices.wire import Frame, receive, send


class Server:
    """The loaded models of one runtime, by session number."""

    def __init__(self, runtime: str) -> None:
        self._runtime = runtime
        self._models: dict[int, Model] = {}

    def load(self, message: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> Frame:
        """Load a model and run it once with its default inputs."""
        data = arrays.pop("model").tobytes()
        start = time.perf_counter_ns()
        model = load_model(self._runtime, message, data)
        load_ns = time.perf_counter_ns() - start
        model.feed(default_inputs(model.inputs))
        (first_ns,) = model.time_runs(1).tolist()
        self._models[message["session"]] = model
        specs = [[spec.name, spec.shape, spec.dtype] for spec in model.inputs]
        return Frame({"inputs": specs, "load_ms": load_ns / 1e6, "first_ms": first_ns / 1e6})

    def run(self, message: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> Frame:
        """Run a model ``repeat`` times, with new inputs if the frame brings any."""
        model = self._models[message["session"]]
        if arrays:
            model.feed(arrays)
        latency_ns = model.time_runs(message["repeat"])
        outputs = {f"output:{name}": value for name, value in model.outputs().items()}
        return Frame({}, {"latency_ns": latency_ns, **outputs})

    def close(self, message: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> Frame:
        """Free a model."""
        del self._models[message["session"]]
        return Frame({})


def load_model(runtime: str, message: dict[str, Any], data: bytes) -> Model:
    """A model from its bytes, with the shapes and threads that the message gives.

    Raises:
        ModelError: the runtime refuses it; runtimes also raise types of their own.
    """
    shapes = {name: tuple(shape) for name, shape in message["shapes"].items()}
    return Model(runtime, data, shapes, message["threads"])


def connect() -> socket.socket:
    """The socket to the parent, whose end is from now on this process's end; Ctrl-C is the parent's."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    stream = socket.socket(fileno=0)
    threading.Thread(target=_end_with, args=(stream.fileno(),), daemon=True).start()
    return stream


def _end_with(descriptor: int) -> None:
    """Sleep until the other end is closed, then leave, even mid-inference."""
    poll = select.poll()
    poll.register(descriptor, select.POLLRDHUP)
    poll.poll()
    os._exit(0)


def refusal(error: Exception) -> Frame:
    """The answer for an error of the runtime."""
    return Frame({"refused": agent.refusal(error)})


def main(runtime: str) -> None:
    """Answer one request after the other until the parent is gone."""
    stream = connect()
    importlib.import_module(agent.RUNTIMES[runtime].library)  # no model's loading time holds it
    server = Server(runtime)
    handlers = {"load": server.load, "run": server.run, "close": server.close}
    while True:
        try:
            request = receive(stream)
        except WorkerLost:
            return
        try:
            reply = handlers[request.message["do"]](request.message, dict(request.arrays))
        except Exception as error:
            reply = refusal(error)
        del request
        send(stream, reply)
        del reply


if __name__ == "__main__":
    main(sys.argv[1])
