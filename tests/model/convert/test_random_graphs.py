"""Random model graphs: each converts, and says what the trained model says; or is refused for a reason of the list.

Two dozen are drawn in every run of the tests; thousands by `model.draw_graphs`.
"""

from __future__ import annotations

import tempfile
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from keras import layers, ops

from model import models, random_graphs
from model.draw_graphs import outcome

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.rotated(keep=2)
@pytest.mark.parametrize("part", range(4))  # which may be drawn in several processes
@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_random_graph_converts_or_says_why_not(part: int, data: st.DataObject) -> None:
    def draw(options: Any) -> Any:
        turned = deque(options)
        turned.rotate(part)  # so that the same choices make another graph in each part
        return data.draw(st.sampled_from(list(turned)))

    with tempfile.TemporaryDirectory() as directory:
        outcome(random_graphs.model(draw), Path(directory))


def dearer_in_the_middle() -> Any:
    """Drawn once: its rounding costs more in the middle of a sequence than at its end."""
    x = keras.Input((6, 1), name="x0")
    y = layers.Dense(3)(layers.Masking(0.5)(x))
    y = layers.GRU(5, use_bias=False, reset_after=False, return_sequences=True)(y)
    y = layers.Conv1D(2, 1, padding="causal", dilation_rate=2)(y)
    y = layers.LSTM(5, return_sequences=True, zero_output_for_mask=True)(y)
    y = layers.SimpleRNN(1, use_bias=False, zero_output_for_mask=True)(y)
    return models.lively(keras.Model(x, layers.Dense(5)(y)), seed=0)


def nearly_cancels_out() -> Any:
    """Drawn once: large numbers that nearly cancel out."""
    x = keras.Input((6, 3), name="x0")
    pooled = layers.MaxPooling1D(3, strides=1)(layers.ZeroPadding1D((2, 0))(x))
    y = pooled - ops.mean(pooled, axis=-1, keepdims=True)
    y = layers.GaussianNoise(0.3)(ops.concatenate([y, -y], axis=-1))
    return models.lively(keras.Model(x, layers.Dense(3)(layers.Concatenate()([pooled, y])[:, -1])), seed=2)


def means_of_nothing() -> Any:
    """Drawn once: the mean of masked samples alone is no number, and ReLU makes 0 of it in one of two kernels."""
    x = keras.Input((6, 1), name="x0")
    y = layers.LSTM(3, return_sequences=True)(layers.Masking(0.5)(x))
    y = layers.GlobalAveragePooling1D()(y)
    return models.lively(keras.Model(x, layers.Dense(5, activation="relu")(y)), seed=0)


@pytest.mark.parametrize("make", [dearer_in_the_middle, nearly_cancels_out, means_of_nothing])
def test_what_was_refused_for_its_own_rounding_converts(make: Callable[[], Any], tmp_path: Path) -> None:
    assert outcome(make(), tmp_path) == "converted"
