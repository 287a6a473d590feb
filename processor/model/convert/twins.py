"""Twins of a trained model: the same layers and weights, free of a fixed batch and length, or of another precision.

A model of the shape (20, 7, 3) cannot be asked about a prefix of 3 samples. Its twin can, and the certificate first
holds the twin against the model itself, at the model's own shape.
"""

from __future__ import annotations

from types import FunctionType
from typing import Any

import keras

from processor.model.convert.graph import TIME_AXIS, functional
from processor.model.convert.quiet import silence


def is_free(model: Any) -> bool:
    """Whether the model itself takes any number of rows and samples, and remembers nothing between two calls."""
    return all(tensor.shape[: TIME_AXIS + 1] == (None, None) for tensor in model.inputs) and not any(
        getattr(layer, "stateful", False) or getattr(layer, "unroll", False) for layer in model.layers
    )


def precisions(model: Any) -> set[str]:
    """The types that its layers compute in."""
    return {str(layer.compute_dtype) for layer in model._flatten_layers(include_self=False)}


def twin(model: Any, dtype: str | None = None) -> Any:
    """A model of the same layers and weights for any batch and any length, stateless; computed in `dtype`, if given."""
    graph = functional(model)

    def fresh(tensor: Any) -> Any:
        # The operation's name, not the tensor's: a dict of inputs goes by it.
        name = tensor._keras_history.operation.name
        shape = (None, None, *tensor.shape[TIME_AXIS + 1 :])
        return keras.Input(batch_shape=shape, dtype=dtype or tensor.dtype, name=name)

    def same(layer: Any) -> Any:
        config = _freed(layer.get_config(), dtype)
        if isinstance(layer, keras.layers.Wrapper):
            return type(layer)(**config | {"layer": same(layer.layer)})
        # Functions go over as they are: one's own has no description that could be read back.
        given = {name: getattr(layer, name, None) for name in ("activation", "recurrent_activation") if name in config}
        config |= {name: value for name, value in given.items() if isinstance(value, FunctionType)}
        return type(layer).from_config(config)

    # A model of its own over the same graph: a compiled one would take its losses and metrics along.
    bare = keras.Model(graph._inputs_struct, graph._outputs_struct)
    inputs = keras.tree.map_structure(fresh, bare.input)
    with silence():
        copy = keras.models.clone_model(bare, input_tensors=inputs, clone_function=same)
    copy.set_weights(model.get_weights())
    return copy


def _freed(config: Any, dtype: str | None) -> Any:
    """A layer's settings without what ties it to a batch, a length or a precision; inner layers too."""
    if isinstance(config, list | tuple):
        return type(config)(_freed(item, dtype) for item in config)
    if not isinstance(config, dict):
        return config
    freed = {key: _freed(value, dtype) for key, value in config.items()}
    freed |= {key: False for key in ("stateful", "unroll") if key in freed}
    if dtype is not None and "dtype" in freed:
        freed["dtype"] = dtype
    # Shapes that a layer was built with would be built again.
    freed.pop("build_config", None)
    return freed
