"""Trained models of a test run, as files, and the artifact of one of them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path


def _saved(path: Path, *, flatten: bool) -> Path:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    import keras
    from keras import layers

    keras.utils.set_random_seed(17)
    chain: list[Any] = [keras.Input((7, 3), name="samples"), layers.LSTM(4, return_sequences=flatten, name="lstm")]
    if flatten:
        chain.append(layers.Flatten(name="flatten"))
    keras.Sequential([*chain, layers.Dense(1, activation="sigmoid", name="probability")]).save(path)
    return path


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model that `carry` allows."""
    return _saved(tmp_path_factory.mktemp("models") / "small.keras", flatten=False)


@pytest.fixture(scope="session")
def flattened(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with Flatten over time."""
    return _saved(tmp_path_factory.mktemp("models") / "flattened.keras", flatten=True)


@pytest.fixture(scope="session")
def artifact(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its artifact."""
    from model.quick import short_certificate
    from processor.model.convert import convert

    directory = tmp_path_factory.mktemp("artifacts") / "model"
    with short_certificate():
        convert(model, directory)
    return directory
