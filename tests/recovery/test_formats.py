"""Packed events in, packed predictions out, through the running processor."""

from __future__ import annotations

import struct
from itertools import count
from typing import TYPE_CHECKING

import numpy as np

import processor
from processor.trial.load import Event, send
from processor.trial.reader import read_topic
from recovery.deployment import Deployment

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from processor.trial.kafka import EmbeddedKafka

KEYS, STEPS = 7, 20
FIRST_TIME = 1_767_225_600_000  # ms, near the records' own: a time of 1970 would be a dead letter


def test_packed_numbers_in_and_out(
    kafka: EmbeddedKafka,
    artifact: Path,
    topic: Callable[..., str],
    name: Callable[[str], str],
    tmp_path: Path,
) -> None:
    samples = np.random.default_rng(5).normal(size=(KEYS, STEPS, 3)).astype("<f4")
    rows = [(step, key) for step in range(STEPS) for key in range(KEYS)]
    source = topic("input", partitions=1)
    events = [
        Event(0, b"%d" % key, samples[key, step].tobytes() + struct.pack("<qqI", FIRST_TIME + step, 0, 1))
        for step, key in rows
    ]
    events.insert(10, Event(0, b"0", b"not packed"))
    send(kafka.bootstrap_servers, source, events)
    formats = {"input.format": "float32", "output.format": "float32"}
    deployment = Deployment(kafka, artifact, source, name("g"), tmp_path, formats)
    deployment.process().start()
    deployment.finish()
    predictions, dead_letters = deployment.published()

    stepper = processor.load(artifact)
    state = stepper.initial_state(KEYS)
    answers = []
    for step in range(STEPS):
        output, state = stepper.step(samples[:, step], state)
        answers += [float(value) for value in np.ravel(output)]
    offsets = (offset for offset in count() if offset != 10)
    model = int(predictions[0][0].value[32:36][::-1].hex(), 16)
    assert [(record.key, record.value) for record in predictions[0]] == [
        (b"%d" % key, struct.pack("<qqQiIIf", next(offsets), FIRST_TIME + step, step + 1, 0, 1, model, answer))
        for (step, key), answer in zip(rows, answers, strict=True)
    ]
    assert [dict(record.headers)["processor.reason"] for record in dead_letters[0]] == [b"undecodable"]
    assert read_topic(kafka.bootstrap_servers, source)[0][10].value == dead_letters[0][0].value
