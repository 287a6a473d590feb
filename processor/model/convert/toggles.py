"""Settings of layers that are changed for as long as a model is called in another way, and put back afterwards."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import keras
from keras.src.layers.rnn.dropout_rnn_cell import DropoutRNNCell

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def changed(*settings: tuple[Any, str, Any]) -> Iterator[None]:
    """Gives each (object, attribute) a value inside, and its own again afterwards."""
    kept = [(owner, name, getattr(owner, name)) for owner, name, _ in settings]
    try:
        for owner, name, value in settings:
            setattr(owner, name, value)
        yield
    finally:
        for owner, name, value in kept:
            setattr(owner, name, value)


def free(owner: Any) -> contextlib.AbstractContextManager[None]:
    """Recurrent layers take any batch and any length, and remember nothing between two calls."""
    settings = []
    for layer in _inside(owner):
        settings += [(layer, name, False) for name in ("stateful", "unroll") if getattr(layer, name, False)]
    return changed(*settings)


def unrolled(owner: Any) -> contextlib.AbstractContextManager[None]:
    """Recurrent layers run their samples one after the other in plain operations: no loop, no dropout, no memory."""
    settings: list[tuple[Any, str, Any]] = []
    for layer in _inside(owner):
        if isinstance(layer, keras.layers.RNN):
            settings.append((layer, "unroll", True))
        if getattr(layer, "stateful", False):
            settings.append((layer, "stateful", False))
        if isinstance(layer, DropoutRNNCell):
            settings += [(layer, "dropout", 0.0), (layer, "recurrent_dropout", 0.0)]
    return changed(*settings)


def is_bound(owner: Any) -> bool:
    """Whether a layer inside ties the model to its batch, its length or its past."""
    return any(getattr(layer, name, False) for layer in _inside(owner) for name in ("stateful", "unroll"))


def _inside(owner: Any) -> list[Any]:
    return list(owner._flatten_layers()) if isinstance(owner, keras.layers.Layer) else []
