"""Twins of a trained model: the same calls, free of a fixed batch and length, or computed in another precision.

A model of the shape (20, 7, 3) cannot be asked about a prefix of 3 samples. Its twin can, and the certificate first
holds the twin against the model itself, at the model's own shape.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import FunctionType
from typing import TYPE_CHECKING, Any

import keras

from processor.model.convert.flat import flatten
from processor.model.convert.refusal import ConversionRefused, Obstacle
from processor.model.convert.toggles import free

if TYPE_CHECKING:
    from processor.model.convert.along import Along


def precisions(model: Any) -> set[str]:
    """The types that its layers compute in."""
    kinds = {str(layer.compute_dtype) for layer in model._flatten_layers(include_self=False)}
    return {kind for kind in kinds if "float" in kind} or {"float32"}


@dataclass
class Copies:
    """Takes a layer, and gives one of the same settings and weights that computes in another precision."""

    dtype: str
    made: dict[int, tuple[Any, Any]] = field(default_factory=dict)

    def __call__(self, layer: Any) -> Any:
        if not isinstance(layer, keras.layers.Layer):
            return layer
        if id(layer) not in self.made:
            self.made[id(layer)] = (layer, _copy(layer, self.dtype))
        return self.made[id(layer)][1]

    def fill(self) -> None:
        """Gives the copies their weights: they have them only once they were called."""
        for layer, copy in self.made.values():
            copy.set_weights(layer.get_weights())


def twin(model: Any, inputs: Any, dtype: str | None = None, sequence: Along | None = None) -> Any:
    """A model of the same calls on these symbolic inputs, that takes a flat list of them; in `dtype`, if given.

    sequence: of the inputs, where they may be of any length.
    """
    copies = Copies(dtype) if dtype else None
    with free(model):
        graph = flatten(model, inputs, copies, sequence).graph
    if copies:
        copies.fill()
    return graph


def _copy(layer: Any, dtype: str) -> Any:
    try:
        config = _freed(layer.get_config(), dtype)
        if isinstance(layer, keras.layers.Wrapper) and not isinstance(layer, keras.layers.Bidirectional):
            return type(layer)(**config | {"layer": _copy(layer.layer, dtype)})
        # Functions go over as they are: one's own has no description that could be read back.
        given = {name: getattr(layer, name, None) for name in ("activation", "recurrent_activation") if name in config}
        config |= {name: value for name, value in given.items() if isinstance(value, FunctionType)}
        return type(layer).from_config(config)
    except Exception as error:  # whatever a class of the user's own makes of its settings
        raise ConversionRefused(
            f"The layer {layer.name!r} ({type(layer).__name__}) cannot be copied in {dtype}.",
            layer=layer.name,
            reason=Obstacle.PRECISION,
            cause=f"The step computes in float32, and the layer's own settings do not make a layer again: {error}",
            remedies=["Give the model the policy float32, with the same weights."],
        ) from error


def _freed(config: Any, dtype: str) -> Any:
    """A layer's settings without what ties it to a batch, a length or a precision; inner layers too."""
    if isinstance(config, list | tuple):
        return type(config)(_freed(item, dtype) for item in config)
    if not isinstance(config, dict):
        return config
    freed = {key: _freed(value, dtype) for key, value in config.items()}
    freed |= {key: False for key in ("stateful", "unroll") if key in freed}
    if "dtype" in freed:
        freed["dtype"] = dtype
    # Shapes that a layer was built with would be built again.
    freed.pop("build_config", None)
    return freed
