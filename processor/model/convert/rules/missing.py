"""Layers without a rule, and what to say about those that people use most.

Every one is refused; this table only makes the answer a better one than "there is no rule".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NoReturn

import keras

from processor.model.convert.refusal import Obstacle
from processor.model.convert.rules.base import Flow, InTheWay, kind_of

if TYPE_CHECKING:
    from collections.abc import Sequence

layers = keras.layers
_AGAIN: Final = "and train the model again"

_FORWARD: Final = [f"Put the forward layer alone in the place of {{layer}}, {_AGAIN}."]
_LAST: Final = [f"Remove {{layer}}, give the last recurrent layer return_sequences=False, {_AGAIN}."]
_SUPPORTED: Final = (
    "Put layers that have a rule in the place of {layer}: docs/converter.md has the table; or register a rule for it."
)

_MISSING: Final[dict[type, tuple[Obstacle, str, Sequence[str]]]] = {
    layers.Bidirectional: (
        Obstacle.NEEDS_FUTURE,
        "Half of it runs backwards, from the last sample of the sequence to the first.",
        _FORWARD,
    ),
    layers.RepeatVector: (
        Obstacle.NEEDS_FUTURE,
        "It starts a second sequence from the end of the first.",
        _LAST,
    ),
} | dict.fromkeys(
    (layers.Attention, layers.AdditiveAttention, layers.MultiHeadAttention, layers.GroupQueryAttention),
    (
        Obstacle.NEEDS_FUTURE,
        "It weighs every sample of the sequence against every other; with a causal mask too, it needs all "
        "earlier ones, however many they are.",
        _LAST,
    ),
)


def refuse(layer: Any, flow: Flow | None) -> NoReturn:
    """Raises the refusal of a layer that is not in the table of rules."""
    kind = kind_of(layer)
    if kind in _MISSING:
        raise InTheWay(*_MISSING[kind])
    if kind is layers.GroupNormalization and flow and flow.time is not None:
        raise InTheWay(
            Obstacle.NEEDS_FUTURE,
            "It normalises over all samples of the sequence.",
            [f"Use LayerNormalization in place of {{layer}}, {_AGAIN}."],
        )
    if not kind.__module__.startswith("keras."):
        raise InTheWay(
            Obstacle.CUSTOM_CODE, f"{kind.__module__}.{kind.__qualname__} is not one of Keras' own.", [_SUPPORTED]
        )
    raise InTheWay(Obstacle.NO_RULE, "", [_SUPPORTED])
