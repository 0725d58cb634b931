"""The process that measures memory: ``python -m netdyno.devices.memory_worker RUNTIME``.

It has imported the runtime and never loads a model. Each request is read and answered by a forked child, so
that every model is measured from the same clean state, whatever was measured before.
"""

from __future__ import annotations

import importlib
import os
import select
import signal
import socket
import sys
import traceback

from netdyno.devices import agent
from netdyno.devices.cpu_worker import connect, load_model, refusal
from netdyno.devices.runtimes import default_inputs
from netdyno.devices.wire import Frame, receive, send


def answer(runtime: str, stream: socket.socket) -> None:
    """Answer one request with the peak memory that its model adds to this process, file included."""
    agent.settle_memory()
    before = agent.status_bytes("VmRSS")
    request = receive(stream)
    data = request.arrays["model"].tobytes()
    message = request.message
    del request
    agent.reset_high_water()
    try:
        model = load_model(runtime, message, data)
        model.feed(default_inputs(model.inputs))
        model.run()
        model.run()
    except Exception as error:
        send(stream, refusal(error))
    else:
        send(stream, Frame({"bytes": agent.status_bytes("VmHWM") - before}))


def answer_and_exit(runtime: str) -> None:
    """The forked child: answer, then leave without the parent's clean-up."""
    code = 1
    try:
        answer(runtime, connect())
        code = 0
    except Exception:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def main(runtime: str) -> None:
    """Fork a child for each request, and die the way a child died, so that the device sees why."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    importlib.import_module(agent.RUNTIMES[runtime].library)
    while True:
        select.select([0], [], [])
        if not _connected():
            return
        child = os.fork()
        if child == 0:
            answer_and_exit(runtime)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if code < 0:
            os.kill(os.getpid(), -code)
        elif code:
            sys.exit(code)


def _connected() -> bool:
    poll = select.poll()
    poll.register(0, select.POLLRDHUP)
    return not poll.poll(0)


if __name__ == "__main__":
    main(sys.argv[1])
