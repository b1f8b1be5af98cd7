"""A program that behaves on the engine's socket as an engine does, well or badly, and loads nothing.

Run as `python stand_in_engine.py BEHAVIOUR`; its incarnation is its process id. In the folder STAND_IN_ENGINE, if
that is set, it leaves a file for each start, which holds the settings that it was given.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import msgspec
import zmq

from llm_server.child_process import end_with_parent
from llm_server.engine.types import EngineState, ModelInfo, Status

MODEL = ModelInfo("stand-in", 4096, "none", "cpu", 1, 1)


def main(behaviour: str) -> int:
    end_with_parent()
    if notes := os.environ.get("STAND_IN_ENGINE"):
        settings = sorted(f"{name}={value}" for name, value in os.environ.items() if name.startswith("LLM_"))
        (Path(notes) / str(os.getpid())).write_text("\n".join(settings))
    match behaviour:
        case "unloadable":
            sys.stderr.write("stand-in: no such model\n")
            return 78
        case "crash":
            return 1
        case "deaf":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
    _answer(behaviour)
    return 0


def _answer(behaviour: str) -> None:
    """Heartbeats ten times a second: for ever, or (silent) once, or (slow to load) after a silence while loading."""
    with zmq.Context() as context, context.socket(zmq.ROUTER) as socket:
        socket.bind(os.environ["LLM_ENGINE_ADDRESS"])
        supervisor, _hello = socket.recv_multipart()
        if behaviour == "slow to load":
            socket.send_multipart([supervisor, _status("loading")])
            time.sleep(1)
        while True:
            socket.send_multipart([supervisor, _status("ready")])
            time.sleep(3600 if behaviour == "silent" else 0.1)


def _status(state: EngineState) -> bytes:
    return msgspec.msgpack.encode([Status(str(os.getpid()), state, MODEL, 0, 0)])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
