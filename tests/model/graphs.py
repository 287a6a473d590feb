"""Step graphs for the engine's tests, made of bare TensorFlow operations: no converter is needed to test an engine.

Each function returns the parts that `write_artifact` takes. The golden vectors come from NumPy twins of the graphs, so
that an engine that passes them has been compared with something.
"""

from __future__ import annotations

import os
import tempfile
from functools import cache
from typing import TYPE_CHECKING, Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf

from processor.model.artifact import Golden, Slot
from processor.types import TensorSpec

if TYPE_CHECKING:
    from collections.abc import Callable

    Parts = dict[str, Any]


def flatbuffer(function: Callable[..., dict[str, Any]], **inputs: tuple[tuple[int | None, ...], str]) -> bytes:
    """The LiteRT form of a function of named tensors, under the one signature "step"."""
    module = tf.Module()
    specs = [tf.TensorSpec(shape, dtype, name=name) for name, (shape, dtype) in inputs.items()]
    concrete = tf.function(function, input_signature=specs).get_concrete_function()
    with tempfile.TemporaryDirectory() as directory:
        tf.saved_model.save(module, directory, signatures={"step": concrete})
        converter = tf.lite.TFLiteConverter.from_saved_model(directory, signature_keys=["step"])
        return bytes(converter.convert())


def _parts(**given: Any) -> Parts:
    defaults: Parts = {
        "mode": "carry",
        "length": None,
        "tolerance": 1e-5,
        "certificate": {"errors": {"y": 1.5e-7}, "sequences": 12},
        "layers": [{"name": "cell", "class": "SimpleRNN", "rule": "recurrent"}],
        "weights": [{"layer": "cell", "name": "kernel", "shape": [3, 5], "dtype": "float32"}],
        "versions": {"keras": "3.15.1"},
    }
    return defaults | given


KERNEL, RECURRENT, HEAD = (
    np.random.default_rng(7).normal(0, 0.5, shape).astype(np.float32) for shape in ((3, 5), (5, 5), (5, 1))
)


def elman(features: np.ndarray, h: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """NumPy's twin of `recurrent`: one step."""
    h = np.tanh(features @ KERNEL + h @ RECURRENT)
    return 1 / (1 + np.exp(-h @ HEAD)), h


@cache
def _recurrent_graph(batch: int | None = None) -> bytes:
    def step(input_0: Any, state_f32: Any) -> dict[str, Any]:
        h = tf.tanh(input_0 @ KERNEL + state_f32 @ RECURRENT)
        return {"output_0": tf.sigmoid(h @ HEAD), "next_f32": h}

    return flatbuffer(step, input_0=((batch, 3), "float32"), state_f32=((batch, 5), "float32"))


def recurrent(batch: int | None = None) -> Parts:
    """x[3] -> Elman's network of 5 units -> y[1]; `batch` fixes the graph's rows."""
    x = np.random.default_rng(8).normal(size=(4, 6, 3)).astype(np.float32)
    h, y = np.zeros((4, 5), np.float32), []
    for t in range(6):
        answer, h = elman(x[:, t], h)
        y.append(answer)
    return _parts(
        inputs=(TensorSpec("x", (3,)),),
        outputs=(TensorSpec("y", (1,)),),
        layout=(Slot("cell#0.h", (5,), "float32", 0, 5),),
        initial_state=np.zeros(5, np.float32),
        step_graph=_recurrent_graph(batch),
        golden=Golden({"x": x}, {"y": np.stack(y, 1).astype(np.float32)}, h.astype(np.float32)),
        tile=batch,
    )


@cache
def counting_graph(length: int) -> bytes:
    def step(input_0: Any, state_f32: Any, state_i32: Any) -> dict[str, Any]:
        total, steps, tokens = state_f32 + input_0, state_i32[:, :1] + 1, state_i32[:, 1:]
        ended = steps >= length
        return {
            "output_0": total,
            "output_1": steps[:, 0],
            "next_f32": tf.where(ended, tf.zeros_like(total), total),
            "next_i32": tf.concat([tf.where(ended, tf.zeros_like(steps), steps), tokens], 1),
        }

    return flatbuffer(
        step,
        input_0=((None, 2), "float32"),
        state_f32=((None, 2), "float32"),
        state_i32=((None, 3), "int32"),
    )


def tumbling(length: int = 4, **changes: Any) -> Parts:
    """A sum that starts afresh after `length` samples; two outputs, two int32 slots, one of them never touched."""
    x = np.random.default_rng(9).integers(-9, 9, (3, length, 2)).astype(np.float32)
    steps = np.tile(np.arange(1, length + 1, dtype=np.int32), (3, 1))
    words = np.array([0, 0, 0, -5, 2**30 + 1], np.int32).view(np.float32)
    return (
        _parts(
            inputs=(TensorSpec("x", (2,)),),
            outputs=(TensorSpec("total", (2,)), TensorSpec("count", (), "int32")),
            mode="tumbling",
            length=length,
            layout=(
                Slot("sum#0", (2,), "float32", 0, 2),
                Slot("steps", (), "int32", 2, 3),
                Slot("tokens#0", (2,), "int32", 3, 5),
            ),
            initial_state=words,
            step_graph=counting_graph(length),
            golden=Golden({"x": x}, {"total": np.cumsum(x, 1), "count": steps}, np.tile(words, (3, 1))),
        )
        | changes
    )


@cache
def _many_inputs_graph(inputs: int) -> bytes:
    def step(**given: Any) -> dict[str, Any]:
        return {f"output_{i}": given[f"input_{i}"] * float(i + 1) for i in range(inputs)}

    names = [f"input_{i}" for i in range(inputs)]
    # A tf.function has to name its arguments.
    scope: dict[str, Any] = {"step": step}
    exec(f"def named({', '.join(names)}): return step({', '.join(f'{n}={n}' for n in names)})", scope)
    return flatbuffer(
        tf.autograph.experimental.do_not_convert(scope["named"]), **dict.fromkeys(names, ((None, 2), "float32"))
    )


def many_inputs(inputs: int = 12) -> Parts:
    """No state, and inputs alike in all but name: the i-th output is the i-th input times i + 1."""
    x = {f"x{i}": np.full((2, 3, 2), i, np.float32) for i in range(inputs)}
    return _parts(
        inputs=tuple(TensorSpec(name, (2,)) for name in x),
        outputs=tuple(TensorSpec(f"y{i}", (2,)) for i in range(inputs)),
        layout=(),
        initial_state=np.zeros(0, np.float32),
        step_graph=_many_inputs_graph(inputs),
        golden=Golden(x, {f"y{i}": x[f"x{i}"] * (i + 1) for i in range(inputs)}, np.zeros((2, 0), np.float32)),
    )


@cache
def _biased_graph() -> bytes:
    def step(input_0: Any, input_1: Any, state_f32: Any, state_i32: Any) -> dict[str, Any]:
        bias = tf.where(state_i32 > 0, state_f32[:, 1:], input_1)
        total = state_f32[:, :1] + input_0 + bias[:, :1] * bias[:, 1:]
        return {
            "output_0": total,
            "next_f32": tf.concat([total, bias], 1),
            "next_i32": tf.maximum(state_i32, 1),
        }

    return flatbuffer(
        step,
        input_0=((None, 1), "float32"),
        input_1=((None, 2), "float32"),
        state_f32=((None, 3), "float32"),
        state_i32=((None, 1), "int32"),
    )


def static() -> Parts:
    """x[1] and the static bias[2] -> the sum of all x so far, and of the bias' product as often."""
    x = np.random.default_rng(10).integers(-9, 9, (3, 4, 1)).astype(np.float32)
    bias = np.array([[2, 3], [0, 1], [-1, 4]], np.float32)
    total = np.cumsum(x + bias.prod(axis=1)[:, None, None], axis=1)
    held = np.ones((3, 1), np.int32).view(np.float32)
    return _parts(
        inputs=(TensorSpec("x", (1,)), TensorSpec("bias", (2,), static=True)),
        outputs=(TensorSpec("total", (1,)),),
        layout=(
            Slot("sum#0", (1,), "float32", 0, 1),
            Slot("bias.static", (2,), "float32", 1, 3),
            Slot("static", (), "int32", 3, 4),
        ),
        initial_state=np.zeros(4, np.float32),
        step_graph=_biased_graph(),
        golden=Golden(
            {"x": x, "bias": np.repeat(bias[:, None], 4, axis=1)},
            {"total": total},
            np.concatenate([total[:, -1], bias, held], axis=1),
        ),
    )


@cache
def _tokens_graph() -> bytes:
    def step(input_0: Any, state_i32: Any) -> dict[str, Any]:
        return {"output_0": state_i32, "next_i32": input_0[:, None]}

    return flatbuffer(step, input_0=((None,), "int32"), state_i32=((None, 1), "int32"))


def tokens() -> Parts:
    """A token in, the last token out: a state of integers alone."""
    x = np.array([[7, 2**31 - 1, -3]], np.int32)
    before = np.array([[0, 7, 2**31 - 1]], np.int32)[..., None]
    return _parts(
        inputs=(TensorSpec("token", (), "int32"),),
        outputs=(TensorSpec("last", (1,), "int32"),),
        layout=(Slot("last#0", (1,), "int32", 0, 1),),
        initial_state=np.zeros(1, np.float32),
        step_graph=_tokens_graph(),
        golden=Golden({"token": x}, {"last": before}, np.array([[-3]], np.int32).view(np.float32)),
    )
