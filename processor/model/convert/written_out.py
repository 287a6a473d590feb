"""Keras' loop over the samples of a sequence, written out: plain operations, one sample after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

if TYPE_CHECKING:
    from collections.abc import Callable

    from processor.model.convert.rules.base import Tensor


def rnn(
    step_function: Callable[..., Any],
    inputs: Tensor,
    initial_states: Any,
    go_backwards: bool = False,
    mask: Tensor | None = None,
    constants: Any = None,
    zero_output_for_mask: bool = False,
    return_all_outputs: bool = True,
    **_: Any,
) -> tuple[Tensor, Tensor, Any]:
    """Stands in the place of `keras.backend.rnn`, for inputs [B, T, ...] of which T is known.

    It answers what Keras' loop answers. (Keras has unrolled code of its own; with a mask, `go_backwards` and
    `zero_output_for_mask`, as Bidirectional uses them, that one puts zeros in the places of other samples.)
    """
    outputs: list[Tensor] = []
    states = tuple(initial_states)
    places = range(inputs.shape[1])
    for t in reversed(places) if go_backwards else places:
        output, after = step_function(inputs[:, t], states + tuple(constants or ()))
        if mask is not None:
            seen = tf.cast(mask[:, t], tf.bool)
            said = outputs[-1] if outputs and not zero_output_for_mask else tf.zeros_like(output)
            output = choose(seen, output, said)
            held, known = keras.tree.flatten(states), keras.tree.flatten(after)
            chosen = [choose(seen, one, other) for one, other in zip(known, held, strict=True)]
            after = keras.tree.pack_sequence_as(states, chosen)
        outputs.append(output)
        states = tuple(after)
    return outputs[-1], tf.stack(outputs if return_all_outputs else outputs[-1:], axis=1), states


def choose(seen: Tensor, one: Tensor, other: Tensor) -> Tensor:
    """Row by row, the one where `seen` [B], else the other."""
    return tf.where(tf.reshape(seen, (-1, *(1,) * (len(one.shape) - 1))), one, other)
