"""The way in which people begin: `predict_on_batch` of a stateful twin, one event at a time, states kept per key.

The states live in a dictionary and are lost with the process; nothing is exactly-once. It tells what stepping
costs there, with Kafka at both ends. Prints one line of JSON now and then: seconds, events.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import numpy as np

from processor.kafka.client import Consumer, Producer
from processor.model.convert.quiet import prepare

_TOLD_EVERY = 200


def twin_of(path: str) -> Any:
    """The trained model with `stateful=True`, for one key and one sample at a time, with the weights copied."""
    prepare()
    import keras

    trained = keras.models.load_model(path)
    chain = [keras.Input((1, *trained.input_shape[2:]), batch_size=1)]
    for layer in trained.layers:
        settings = layer.get_config()
        chain.append(type(layer).from_config(settings | ({"stateful": True} if "stateful" in settings else {})))
    twin = keras.Sequential(chain)
    twin.set_weights(trained.get_weights())
    return twin


def main(servers: str, source: str, output: str, events: int, model: str) -> None:
    """Runs until `events` were answered."""
    twin = twin_of(model)
    recurrent = [layer for layer in twin.layers if getattr(layer, "stateful", False)]
    empty = [[np.zeros(state.shape, np.float32) for state in layer.states] for layer in recurrent]
    states: dict[bytes, list[Any]] = {}
    consumer = Consumer({"bootstrap.servers": servers, "group.id": output, "auto.offset.reset": "earliest"})
    consumer.subscribe([source])
    producer = Producer({"bootstrap.servers": servers, "linger.ms": 5})
    done, started = 0, 0.0
    while done < events:
        message = consumer.poll(0.5)
        if message is None or message.error() is not None:
            continue
        started = started or time.monotonic()
        key, event = message.key(), json.loads(message.value())
        for layer, state in zip(recurrent, states.get(key, empty), strict=True):
            layer.reset_state() if key not in states else [
                variable.assign(value) for variable, value in zip(layer.states, state, strict=True)
            ]
        probability = float(twin.predict_on_batch(np.array([[event["features"]]], np.float32))[0, 0])
        states[key] = [[np.asarray(variable) for variable in layer.states] for layer in recurrent]
        producer.produce(output, json.dumps({"probability": probability, "time": event["time"]}), key)
        done += 1
        if done % _TOLD_EVERY == 0:
            print(json.dumps([time.monotonic() - started, done]), flush=True)
    producer.flush(30)
    consumer.close()


if __name__ == "__main__":
    servers, source, output, events, model = sys.argv[1:]
    main(servers, source, output, int(events), model)
