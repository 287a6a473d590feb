"""Quix Streams with the same step graph, exactly-once, its own state store: how one would build this with it.

A script of its own: it runs in an environment of its own, as Quix Streams pins an older client. One event at a time, as
its API has it; the interpreter is called without a copy too many, and the state is kept as bytes. Prints one line of
JSON now and then: seconds, events.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from quixstreams import Application, State

_TOLD_EVERY = 2_000


class Model:
    """The step graph for one row."""

    def __init__(self, step_graph: str, initial_state: str) -> None:
        self.initial_state = np.load(initial_state)
        self._interpreter = Interpreter(model_path=step_graph, num_threads=1)
        runner = self._interpreter.get_signature_runner()
        given, wanted = runner.get_input_details(), runner.get_output_details()
        del runner
        for name in given:
            shape = given[name]["shape_signature"]
            self._interpreter.resize_tensor_input(given[name]["index"], (1, *shape[1:]), strict=True)
        self._interpreter.allocate_tensors()
        tensor = self._interpreter.tensor
        self._features, self._state = tensor(given["input_0"]["index"]), tensor(given["state_f32"]["index"])
        self._output, self._next = tensor(wanted["output_0"]["index"]), tensor(wanted["next_f32"]["index"])

    def step(self, features: list[float], state: bytes | None) -> tuple[float, bytes]:
        self._features()[0] = features
        self._state()[0] = self.initial_state if state is None else np.frombuffer(state, np.float32)
        self._interpreter.invoke()
        return float(self._output()[0, 0]), self._next().tobytes()


def main(servers: str, source: str, output: str, events: int, state_dir: str, step_graph: str, initial: str) -> None:
    """Runs until `events` were answered."""
    model = Model(step_graph, initial)
    done, started = 0, 0.0
    application = Application(
        broker_address=servers,
        consumer_group=output,
        auto_offset_reset="earliest",
        processing_guarantee="exactly-once",
        commit_interval=0.1,
        state_dir=state_dir,
        loglevel="ERROR",
    )

    def answer(value: dict[str, Any], state: State) -> dict[str, Any]:
        nonlocal done, started
        started = started or time.monotonic()
        probability, after = model.step(value["features"], state.get_bytes("state"))
        state.set_bytes("state", after)
        done += 1
        if done % _TOLD_EVERY == 0:
            print(json.dumps([time.monotonic() - started, done]), flush=True)
        return {"probability": probability, "time": value["time"]}

    stream = application.dataframe(application.topic(source, key_deserializer="bytes", value_deserializer="json"))
    stream.apply(answer, stateful=True).to_topic(application.topic(output, key_serializer="bytes"))
    application.run(count=events, collect=False)


if __name__ == "__main__":
    servers, source, output, events, *paths = sys.argv[1:]
    main(servers, source, output, int(events), *paths)
