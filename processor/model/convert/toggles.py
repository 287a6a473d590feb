"""Settings of layers that are changed for as long as a model is called in another way, and put back afterwards."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Final

import keras
import tensorflow as tf
from keras.src.backend.common import global_state
from keras.src.layers.layer import CallContext
from keras.src.layers.rnn.dropout_rnn_cell import DropoutRNNCell

from processor.model.convert.written_out import rnn

if TYPE_CHECKING:
    from collections.abc import Iterator

_CALL_CONTEXT: Final = "current_call_ctx"


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


@contextlib.contextmanager
def inference() -> Iterator[None]:
    """Layers that are called inside run as in `predict`: those that nobody passes `training` take it to be False.

    Dropout does nothing then. What it prepares nevertheless is left out: masks, and seeds that move on.
    """
    outer = global_state.get_global_attribute(_CALL_CONTEXT)
    context = CallContext(entry_layer=None)
    context.set_value("training", False)
    global_state.set_global_attribute(_CALL_CONTEXT, context)
    try:
        with changed(
            (DropoutRNNCell, "get_dropout_mask", _no_mask),
            (DropoutRNNCell, "get_recurrent_dropout_mask", _no_mask),
            (keras.random.SeedGenerator, "next", _seed_that_stays),
        ):
            yield
    finally:
        global_state.set_global_attribute(_CALL_CONTEXT, outer)


def _no_mask(_cell: Any, _sample: Any) -> None:
    return None


def _seed_that_stays(generator: Any, ordered: bool = True) -> Any:
    return generator.state.value * 1


def free(owner: Any) -> contextlib.AbstractContextManager[None]:
    """Recurrent layers take any batch and any length, and remember nothing between two calls."""
    settings = []
    for layer in _inside(owner):
        settings += [(layer, name, False) for name in ("stateful", "unroll") if getattr(layer, name, False)]
    return changed(*settings)


def unrolled(owner: Any) -> contextlib.AbstractContextManager[None]:
    """Recurrent layers run their samples one after the other in plain operations: no loop, no memory.

    And without a look at shapes, for which LiteRT would have to move tensors from call to call.
    """
    settings: list[tuple[Any, str, Any]] = [(keras.src.backend, "rnn", rnn)]
    for layer in _inside(owner):
        if isinstance(layer, keras.layers.RNN):
            settings += [(layer, "unroll", True), (layer, "call", _with_states(layer))]
        if getattr(layer, "stateful", False):
            settings.append((layer, "stateful", False))
    return changed(*settings)


def _with_states(layer: Any) -> Any:
    """The call of a recurrent layer, its initial states given: one row's, and as many as there are sequences."""
    call = layer.call

    def called(sequences: Any, initial_state: Any = None, **more: Any) -> Any:
        if initial_state is None:
            one = sequences[(slice(None), 0, *(slice(0, 1),) * (len(sequences.shape) - 2))]
            nothing = tf.zeros_like(one)
            initial_state = keras.tree.map_structure(
                lambda state: state + tf.cast(tf.reshape(nothing, (-1, *(1,) * (len(state.shape) - 1))), state.dtype),
                layer.get_initial_state(batch_size=1),
            )
        return call(sequences, initial_state=initial_state, **more)

    return called


def folded(owner: Any) -> contextlib.AbstractContextManager[None]:
    """TimeDistributed hands all samples of all rows to the layer inside at once, as rows of one batch.

    Keras (3.15.1) calls the layer inside once for each sample of a known length, which is a graph of as many copies.
    Of an unknown length, it runs over the axis of the batch instead of that of time (`ops.arange(input_shape[0])`).
    """
    return changed(*((layer, "call", _at_once(layer)) for layer in distributed(owner)))


def distributed(owner: Any) -> list[Any]:
    """The TimeDistributed layers inside."""
    return [layer for layer in _inside(owner) if isinstance(layer, keras.layers.TimeDistributed)]


def _at_once(layer: Any) -> Any:
    """The call of a TimeDistributed layer on rows of samples."""
    inner = layer.layer

    def rows(tensor: Any) -> Any:
        """[rows, samples, ...] -> [rows x samples, ...]"""
        sizes = tensor.shape[2:]
        return tf.reshape(tensor, (-1, *sizes) if None not in sizes else tf.concat([[-1], tf.shape(tensor)[2:]], 0))

    def called(inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        options: dict[str, Any] = {}
        if inner._call_has_mask_arg and mask is not None:
            options["mask"] = rows(mask)
        if inner._call_has_training_arg:
            options["training"] = training
        output = inner.call(rows(inputs), **options)
        # Without a look at shapes where the length is known: LiteRT would have to move tensors for it.
        sizes = (inputs.shape[1], *output.shape[1:])
        if None not in sizes:
            return tf.reshape(output, (-1, *sizes))
        answer = tf.reshape(output, tf.concat([tf.shape(inputs)[:2], tf.shape(output)[1:]], 0))
        answer.set_shape((inputs.shape[0], *sizes))
        return answer

    return called


def is_bound(owner: Any) -> bool:
    """Whether a layer inside ties the model to its batch, its length or its past."""
    return any(getattr(layer, name, False) for layer in _inside(owner) for name in ("stateful", "unroll"))


def _inside(owner: Any) -> list[Any]:
    return list(owner._flatten_layers()) if isinstance(owner, keras.layers.Layer) else []
