"""Random models: any graph of layers that people might make, drawn from a source of choices.

`draw(options)` picks one; hypothesis shrinks what it picked, and a seeded generator draws thousands.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
from keras import layers, ops

from model import models

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Draw = Callable[[Sequence[Any]], Any]

REASONS = {
    "collects_time", "needs_the_future", "depends_on_position", "initial_state", "no_time_axis", "no_rule", "mask",
    "custom_code",
}  # fmt: skip
"""What a drawn model may be refused for in `carry`: never for being unreadable, inexact or not built."""

_UNITS = (1, 2, 3, 5)
_ACTIVATIONS = ("tanh", "relu", "sigmoid", "linear", "softmax", "elu")


def model(draw: Draw) -> Any:
    """A functional model with up to three branches, a tail, and one or two outputs."""
    length = draw((None, None, 6))
    inputs = [_input(draw, length, rank) for rank in range(draw((1, 1, 1, 2)))]
    flows = [_begin(draw, x) for x in inputs]
    shared: list[Any] = []
    for _ in range(draw((1, 2, 3, 4))):
        place = draw(range(len(flows)))
        taken = flows[place]
        if len(taken.shape) == 3 and draw((True, True, False)):
            flows[place] = _timed(draw, taken, shared)
        elif len(taken.shape) == 3:
            flows.append(_timed(draw, taken, shared))
        else:
            flows[place] = _timeless(draw, taken)
    sequences = [x for x in flows if len(x.shape) == 3]
    others = [x for x in flows if len(x.shape) == 2]
    if len(sequences) > 1 and draw((True, False)):
        sequences = [layers.Concatenate()(sequences)]
    outputs = [layers.Dense(draw(_UNITS), draw(_ACTIVATIONS))(_end(draw, x)) for x in sequences[:2]]
    outputs += [layers.Dense(2)(x) for x in others[: 2 - len(outputs)]]
    structure = [some if len(some) > 1 else some[0] for some in (inputs, outputs)]
    return models.lively(keras.Model(*structure), seed=draw(range(5)))


def _input(draw: Draw, length: int | None, rank: int) -> Any:
    if rank == 0 and draw((True, False, False, False)):
        return keras.Input((length,), dtype="int32", name="tokens")
    return keras.Input((length, draw((1, 2, 3))), name=f"x{rank}")


def _begin(draw: Draw, x: Any) -> Any:
    if len(x.shape) == 2:
        return layers.Embedding(draw((7, 2000)), 3, mask_zero=draw((True, False)))(x)
    return layers.Masking(draw((0.0, 0.5)))(x) if draw((True, False, False)) else x


def _recurrent(draw: Draw, **options: Any) -> Any:
    kind = draw((layers.LSTM, layers.GRU, layers.SimpleRNN))
    options |= {"units": draw(_UNITS), "use_bias": draw((True, False)), "dropout": 0.2, "recurrent_dropout": 0.1}
    if kind is layers.GRU:
        options["reset_after"] = draw((True, False))
    return kind(zero_output_for_mask=draw((False, False, True)), **options)


def _timed(draw: Draw, x: Any, shared: list[Any]) -> Any:
    """One more layer over a sequence [B, T, F]; now and then one that cannot be stepped."""
    return draw(_STEPS)(draw, x, shared)


def _memory(draw: Draw, x: Any, _: list[Any]) -> Any:
    return _recurrent(draw, return_sequences=draw((True, True, False)))(x)


def _cells(draw: Draw, x: Any, _: list[Any]) -> Any:
    cells = [layers.GRUCell(2, dropout=0.2, name="cell"), layers.LSTMCell(draw(_UNITS), name="cell")]
    return layers.RNN(cells, return_sequences=True)(x)


def _pointwise(draw: Draw, x: Any, _: list[Any]) -> Any:
    kinds = (layers.BatchNormalization, layers.LayerNormalization, layers.UnitNormalization, layers.LeakyReLU)
    quiet = (layers.Dropout, layers.GaussianNoise, layers.SpatialDropout1D)
    dense = layers.Dense(draw(_UNITS), draw(_ACTIVATIONS))
    return draw((dense, layers.TimeDistributed(dense), draw(kinds)(), draw(quiet)(0.3)))(x)


def _reaching(draw: Draw, x: Any, _: list[Any]) -> Any:
    if draw((True, False)):
        return layers.Conv1D(draw(_UNITS), draw((1, 2, 3)), padding="causal", dilation_rate=draw((1, 2)))(x)
    size = draw((2, 3))
    window = draw((layers.MaxPooling1D, layers.AveragePooling1D))
    return window(size, strides=1)(layers.ZeroPadding1D((size - 1, 0))(x))


def _image(draw: Draw, x: Any, _: list[Any]) -> Any:
    """Each sample spread out over one axis more, for convolutions and pools of two axes."""
    y, padding, time = layers.Reshape((-1, x.shape[-1], 1))(x), draw(("same", "valid")), 1
    if padding == "valid":
        time = draw((1, 2))
        y = layers.ZeroPadding2D(((time - 1, 0), (1, 0)))(y)
    kernel = (time, draw((1, 2)))
    kinds = (layers.DepthwiseConv2D(kernel, padding=padding), layers.SeparableConv2D(2, kernel, padding=padding))
    y = draw((layers.Conv2D(draw(_UNITS), kernel, padding=padding), *kinds))(y)
    window = draw((layers.MaxPooling2D, layers.AveragePooling2D))
    y = window((1, 2), padding="same")(y)
    return draw((layers.Reshape((-1, y.shape[2] * y.shape[3])), layers.TimeDistributed(layers.Flatten())))(y)


def _inside(draw: Draw, x: Any, _: list[Any]) -> Any:
    """Layers in TimeDistributed, with axes and loops of their own."""
    each, features = layers.TimeDistributed, x.shape[-1]
    x = ops.tanh(x)  # an operation hands no mask on: one of samples would be handed in, where it is none
    kinds = (
        [layers.Reshape((features, 1)), _recurrent(draw)],
        [layers.RepeatVector(2), layers.Bidirectional(_recurrent(draw, return_sequences=True)), layers.Flatten()],
        [layers.Reshape((features, 1)), layers.TimeDistributed(layers.Dense(2, "relu")), layers.Flatten()],
        [layers.Dense(3), layers.BatchNormalization(), layers.Dropout(0.3), layers.UnitNormalization()],
    )
    chain = draw(kinds)
    if draw((True, False)):
        return each(keras.Sequential([keras.Input((features,)), *chain]))(x)
    for layer in chain:
        x = each(layer)(x)
    return x


def _residual(_: Draw, x: Any, __: list[Any]) -> Any:
    return layers.Add()([x, layers.Dense(x.shape[-1])(x)])


def _shared(draw: Draw, x: Any, shared: list[Any]) -> Any:
    if not shared:
        shared.append(_recurrent(draw, return_sequences=True, name="memory"))
    return shared[0](layers.Dense(3)(x))


def _nested(draw: Draw, x: Any, _: list[Any]) -> Any:
    memory = _recurrent(draw, return_sequences=True, name="memory")
    inner = keras.Sequential([keras.Input((None, x.shape[-1]), name="x0"), memory, layers.Dense(2, name="dense")])
    return layers.Subtract()([inner(x), inner(x * 0.5)])


class _Block(layers.Layer):
    """Layers of one name inside a layer of one's own, and dropout that is told nothing about training."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = layers.Dense(3, name="memory"), layers.Dense(3, "tanh", name="memory")
        cells = [layers.SimpleRNNCell(3, dropout=0.2), layers.SimpleRNNCell(3, recurrent_dropout=0.1)]
        self.memory, self.dropout = layers.RNN(cells, return_sequences=True, name="memory"), layers.Dropout(0.5)

    def call(self, x: Any) -> Any:
        return self.other(self.dropout(self.memory(self.one(x))))


def _block(_: Draw, x: Any, __: list[Any]) -> Any:
    return _Block()(x)


def _operation(draw: Draw, x: Any, _: list[Any]) -> Any:
    functions = (
        lambda v: ops.tanh(v) * 2 + 1,
        lambda v: v - ops.mean(v, axis=-1, keepdims=True),
        lambda v: ops.concatenate([v, -v], axis=-1),
        lambda v: ops.where(v > 0, v, v * 0.1),
    )
    return draw(functions)(x)


def _running(draw: Draw, x: Any, _: list[Any]) -> Any:
    return draw((layers.GlobalAveragePooling1D, layers.GlobalMaxPooling1D))()(x)


def _forbidden(draw: Draw, x: Any, _: list[Any]) -> Any:
    kinds = (
        layers.Bidirectional(layers.LSTM(2, return_sequences=True)),
        layers.Conv1D(2, 3, padding="same"),
        layers.LSTM(2, return_sequences=True, go_backwards=True),
        lambda v: ops.softmax(v, axis=1),  # the layer of that name does not run in Keras on a masked sequence
    )
    return draw(kinds)(x)


_STEPS = (
    _memory, _memory, _memory, _cells, _pointwise, _pointwise, _pointwise, _reaching, _reaching, _residual, _shared,
    _shared, _nested, _operation, _operation, _running, _forbidden, _block, _image, _image, _inside,
)  # fmt: skip


def _timeless(draw: Draw, x: Any) -> Any:
    """One more layer over what is left when time is gone [B, F]."""
    kinds = (layers.Dense(3, "relu"), layers.BatchNormalization(), layers.LeakyReLU(), layers.Dropout(0.2))
    if draw((True, False, False)):  # a decoder
        decoded = _recurrent(draw, return_sequences=True)(layers.RepeatVector(draw((2, 3)))(x))
        return layers.Flatten()(layers.TimeDistributed(layers.Dense(2))(decoded))
    return draw(kinds)(x)


def _end(draw: Draw, x: Any) -> Any:
    kind = draw(("recurrent", "newest", "sequence", "mean"))
    if kind == "recurrent":
        return _recurrent(draw)(x)
    if kind == "newest":
        return x[:, -1]
    return x if kind == "sequence" else layers.GlobalAveragePooling1D()(x)
