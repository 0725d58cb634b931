"""The processes of the agent: ``control`` (files, cache, lock), ``work`` and ``memory`` of a runtime.

Run as ``python -m netdyno.devices.agent.main control`` or ``… work RUNTIME PLACE [limit=BYTES] [GPU]``, where the
place is ``cpu`` or ``cuda``, the limit one of memory, and the GPU a UUID; ``watched`` is ``work`` with somebody who
tells its death. Standard input and output carry frames.
"""

import contextlib
import importlib
import os
import select
import signal
import sys
import threading
from typing import Any, Dict

from netdyno.devices.agent.control import Control
from netdyno.devices.agent.frames import Gone, read_frame, write_frame
from netdyno.devices.agent.limits import default_limit, exhausted, limit_memory
from netdyno.devices.agent.memory import peak, settle_memory, status_bytes
from netdyno.devices.agent.models import DeviceLost, import_runtime
from netdyno.devices.agent.work import Work

_LONGEST_TEXT = 100_000
_GONE = 3
_CUDA_LOST = ("CUDA error", "CUDA failure", "no CUDA-capable device", "libcuda.so.1", "NVIDIA driver")


def serve(handlers: Any, source: int, sink: int) -> None:
    """Answer one request after the other until the other end is gone; what a runtime refuses is an answer too."""
    while True:
        try:
            message, arrays = read_frame(source)
        except Gone:
            return
        except MemoryError as error:
            write_frame(sink, trouble(error))
            continue
        try:
            answer = getattr(handlers, message["do"])(message, arrays)
        except Exception as error:
            answer = trouble(error)
        del arrays
        write_frame(sink, *(answer if isinstance(answer, tuple) else (answer,)))


def trouble(error: Exception) -> Dict[str, Any]:
    """The answer for an error: a refusal, unless memory has run out or what the runtime runs on is lost.

    An error of CUDA's stays with its process for good, and each runtime words it in its own way.
    """
    said = str(error)
    memory = exhausted(error)
    if memory:
        return {"exhausted": refusal(error), **memory}
    lost = isinstance(error, DeviceLost) or any(words in said for words in _CUDA_LOST)
    return {"lost" if lost else "refused": refusal(error)}


def refusal(error: BaseException) -> str:
    """An error of a runtime in one line, without ONNX Runtime's own prefix."""
    text = " ".join(str(error).split()) or type(error).__name__
    if text.startswith("[ONNXRuntimeError] : "):
        text = text.split(" : ", 3)[-1]
    return text[:_LONGEST_TEXT]


def end_with(descriptor: int) -> None:
    """Leave when the other end is gone, even mid-inference."""

    def wait() -> None:
        poll = select.poll()
        poll.register(descriptor, 0x2000)  # POLLRDHUP, which Python names from 3.9 on
        poll.poll()
        os.killpg(0, signal.SIGKILL)  # this process, and what it has started: each worker leads a group of its own

    threading.Thread(target=wait, daemon=True).start()


def work(runtime: str, place: str, limit: int, sink: int) -> None:
    """Keep models of a runtime."""
    end_with(0)
    import_runtime(runtime, place)
    limit_memory(limit)
    serve(Work(runtime, place), 0, sink)
    os._exit(0)


def watched(runtime: str, place: str, limit: int, sink: int) -> None:
    """Keep models of a runtime in a child, and say so if it dies: a connection does not tell."""
    child = os.fork()
    if child == 0:
        work(runtime, place, limit, sink)
    end_with(0)  # a child that is stopped does not notice
    _tell_death(child, sink)


def memory(runtime: str, place: str, limit: int, sink: int) -> None:
    """Read and answer each request in a forked child, so that every model is measured from the same clean state."""
    import_runtime(runtime, place)
    importlib.import_module("numpy.random")  # what is loaded late would count as the model's
    limit_memory(limit)
    while True:
        select.select([0], [], [])
        child = os.fork()
        if child == 0:
            _answer_peak(runtime, place, sink)
        status = _tell_death(child, sink)
        if status:
            return


def _answer_peak(runtime: str, place: str, sink: int) -> None:
    """Answer one request and leave."""
    end_with(0)
    settle_memory()
    before = status_bytes("VmRSS")
    try:
        answer = peak(runtime, place, before, *read_frame(0))
    except Gone:
        os._exit(_GONE)
    except Exception as error:
        answer = trouble(error)
    write_frame(sink, answer)
    os._exit(0)


def _tell_death(child: int, sink: int) -> int:
    """Wait for a child, and tell an end that it did not choose: its signal, or minus its exit code."""
    _, status = os.waitpid(child, 0)
    died = os.WTERMSIG(status) if os.WIFSIGNALED(status) else -os.WEXITSTATUS(status)
    if died and died != -_GONE:
        with contextlib.suppress(OSError):
            write_frame(sink, {"died": died})
    return died


def main(kind: str, *arguments: str) -> None:
    """Be of one kind until the other end is gone. Only frames go to standard output."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ.setdefault(
        "ORT_DISABLE_TELEMETRY", "1"
    )  # before anything imports ONNX Runtime, which leaves files else
    sink = os.dup(1)
    os.dup2(2, 1)
    if kind == "control":
        serve(Control(), 0, sink)
        return
    runtime, place, *rest = arguments
    limit = 0 if place == "cuda" else default_limit()  # a GPU's driver maps more than any machine has
    for word in rest:
        if word.startswith("limit="):
            limit = int(word[len("limit=") :])
        else:
            os.environ["CUDA_VISIBLE_DEVICES"] = word  # before anything asks CUDA
    {"work": work, "watched": watched, "memory": memory}[kind](runtime, place, limit, sink)


if __name__ == "__main__":
    main(*sys.argv[1:])
