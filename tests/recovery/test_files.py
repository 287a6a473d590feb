"""From a file to predictions: a modern model, one of Keras 2 with the words of its day, and one of PyTorch, each
through `convert`, `verify` and `run`, killed on the way."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import pytest
from keras import layers

import processor
from model import models
from processor.model.convert import verify
from processor.model.convert.pytorch.description import Description
from processor.trial.load import Event, send
from recovery.deployment import Deployment

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from processor.trial.kafka import EmbeddedKafka

    Case = tuple[Path, NDArray[np.float32], NDArray[np.float32]]

SAMPLES, KEYS = 10, 6


def modern(directory: Path) -> Case:
    """A model as Keras 3 saves it."""
    model, x = models.fixed_model(units=(6, 4), length=None), models.sequences(KEYS, SAMPLES)  # type: ignore[arg-type]
    model.save(directory / "model.keras")
    return directory / "model.keras", x, models.on_every_prefix(model, x)


def old(directory: Path) -> Case:
    """Stateful, of a fixed batch and without an input layer; `time_major` and GRU as Keras 2.2 had them."""
    chain: list[Any] = [layers.LSTM(4, return_sequences=True), layers.GRU(3, reset_after=False), layers.Dense(1)]
    free = models.sequential(*chain)
    x = models.sequences(KEYS, SAMPLES)
    truth = models.on_every_prefix(free, x)
    fixed = models.sequential(
        layers.LSTM(4, return_sequences=True, stateful=True),
        layers.GRU(3, reset_after=False, stateful=True),
        layers.Dense(1),
        shape=(7, 3),
        batch=20,
    )
    path = directory / "model.h5"
    fixed.save(path)
    with h5py.File(path, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        listed = config["config"]["layers"]
        del listed[0]
        listed[0]["config"] |= {"time_major": False, "batch_input_shape": [20, 7, 3]}
        del listed[1]["config"]["reset_after"]
        file.attrs["model_config"], file.attrs["keras_version"] = json.dumps(config), "2.2.4"
    return path, x, truth


def pytorch(_: Path) -> Case:
    """The truth is PyTorch's own."""
    path = Path(__file__).parent.parent / "model" / "pytorch" / "lstm.npz"
    described = Description.read(path)
    return path, described.inputs["x"][:KEYS, :SAMPLES], described.answers[0][:KEYS, :SAMPLES]


@pytest.mark.parametrize("case", [modern, old, pytorch], ids=lambda case: case.__name__)
def test_converted_verified_and_run(
    case: Callable[[Path], Case],
    kafka: EmbeddedKafka,
    topic: Callable[..., str],
    name: Callable[[str], str],
    tmp_path: Path,
) -> None:
    path, x, truth = case(tmp_path)
    report = processor.convert(path, tmp_path / "artifact")
    assert bool(report.repairs) == (case is not modern)
    assert verify(tmp_path / "artifact", path).fingerprint == report.fingerprint

    order = [(key, step) for step in range(SAMPLES) for key in range(KEYS)]
    events = [Event(0, b"%d" % key, json.dumps({"features": x[key, step].tolist()}).encode()) for key, step in order]
    source, half = topic("input", partitions=1), len(order) // 2
    send(kafka.bootstrap_servers, source, events[:half])
    deployment = Deployment(kafka, tmp_path / "artifact", source, name("g"), tmp_path)
    process = deployment.process().start()
    deployment.wait_caught_up()
    process.sigkill()
    send(kafka.bootstrap_servers, source, events[half:])
    process.start()
    deployment.finish()

    predictions, dead_letters = deployment.published()
    assert not dead_letters[0]
    said = [json.loads(record.value or b"{}") for record in predictions[0]]
    assert [(one["offset"], one["step"]) for one in said] == [(n, step + 1) for n, (_, step) in enumerate(order)]
    for (key, step), one in zip(order, said, strict=True):
        np.testing.assert_allclose(np.ravel(one["probability"]), np.ravel(truth[key, step]), atol=1e-5)
