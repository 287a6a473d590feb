"""What a refusal advises works when it is typed: each place that gives a remedy has a model before it and one after it.

The places are found in the code, so that a new refusal without a case fails here.
"""

from __future__ import annotations

import ast
import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import keras
import numpy as np
import pytest
from keras import layers, ops

import processor.model.convert
from model import models
from processor.model.convert import ConversionRefused
from processor.model.convert.modes import build
from processor.model.convert.stepgraph import plan, traced

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(processor.model.convert.__file__).parent
ONES = np.ones((7, 3))
TESTS = Path(__file__).parent


class Place(NamedTuple):
    """A call in the code that makes a refusal."""

    file: str
    function: str
    first: int  # line
    last: int

    def __str__(self) -> str:
        return f"{self.file} {self.function}, line {self.first}"


@functools.cache
def places() -> frozenset[Place]:
    """Every place that makes a refusal or an obstacle with remedies of its own."""
    found = set()
    for path in sorted(ROOT.rglob("*.py")):
        tree, file = ast.parse(path.read_text(encoding="utf-8")), str(path.relative_to(ROOT))
        for function in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)):
            for call in ast.walk(function):
                if isinstance(call, ast.Call) and advises(call):
                    found.add(Place(file, function.name, call.lineno, call.end_lineno or call.lineno))
    return frozenset(found)


def advises(call: ast.Call) -> bool:
    """Whether a call makes a refusal, and its remedies are no other one's that it hands on."""
    name = getattr(call.func, "id", "")
    if name not in ("ConversionRefused", "InTheWay"):
        return False
    given = {word.arg: word.value for word in call.keywords}
    remedies = call.args[2] if name == "InTheWay" and len(call.args) > 2 else given.get("remedies")
    return remedies is not None and not isinstance(remedies, ast.Attribute | ast.ListComp)


@functools.cache
def raising() -> dict[tuple[str, int], str]:
    """The lines that raise what a function has made, and the names of these functions."""
    found = {}
    for path in ROOT.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Raise) and isinstance(maker := getattr(node.exc, "func", None), ast.Name):
                found[str(path.relative_to(ROOT)), node.lineno] = maker.id
    return found


def raised_at(error: BaseException | None) -> Iterator[tuple[str, int]]:
    """The lines of the converter that an error came from, with those of the errors behind it."""
    while error is not None:
        trace = error.__traceback__
        while trace is not None:
            file = Path(trace.tb_frame.f_code.co_filename)
            if file.is_relative_to(ROOT):
                yield str(file.relative_to(ROOT)), trace.tb_lineno
            trace = trace.tb_next
        error = error.__cause__ or error.__context__


def chain(*middle: Any, shape: tuple[int | None, ...] = (7, 3)) -> Any:
    return keras.Sequential([keras.Input(shape), *middle, layers.LSTM(2)])


def graph(make: Callable[[Any], Any], shape: tuple[int | None, ...] = (7, 3), **options: Any) -> Any:
    x = keras.Input(shape, **options)
    return keras.Model(x, make(x))


class Unknown(layers.Layer):
    """Its code asks for the values of a tensor."""

    def call(self, x: Any) -> Any:
        return x if float(ops.sum(x)) > 0 else -x

    def compute_output_spec(self, x: Any) -> Any:
        return keras.KerasTensor(x.shape, x.dtype)


class Known(layers.Layer):
    def call(self, x: Any) -> Any:
        return ops.where(x > 0, x, -x)


class Stepping(keras.Model):
    """A model that declares its step."""

    def __init__(self, gives: str) -> None:
        super().__init__()
        self.gives = gives
        self(np.zeros((1, 7, 3), np.float32))

    def call(self, x: Any) -> Any:
        return ops.sum(x, axis=1)

    def initial_state(self) -> dict[str, Any]:
        return {"sum": np.zeros(3, np.float32)}

    def step(self, features: Any, state: dict[str, Any]) -> Any:
        total = state["sum"] + features
        return total, {self.gives: total}


class Following(keras.Model):
    """A subclassed model, whose code asks for the values of a tensor, or not."""

    def __init__(self, *, asks: bool) -> None:
        super().__init__()
        self.asks = asks
        self(np.zeros((1, 7, 3), np.float32))

    def build(self, _: Any) -> None:
        pass

    def call(self, x: Any) -> Any:
        return x if self.asks and float(ops.sum(x)) > 0 else ops.relu(x)


class Undescribed(layers.Layer):
    """A cell that takes what its description does not have."""

    state_size = output_size = 3

    def __init__(self, factor: float, **options: Any) -> None:
        super().__init__(**options)
        self.factor = factor

    def call(self, x: Any, states: Any) -> Any:
        return x * self.factor + states[0], [x]


class OwnLSTM(layers.LSTM):
    """It changes what its parent does."""

    def call(self, sequences: Any, initial_state: Any = None, mask: Any = None, training: bool = False) -> Any:
        return super().call(sequences, initial_state=initial_state, mask=mask, training=training)


def quantized(*, before: bool) -> Any:
    model = models.sequential(layers.LSTM(4), layers.Dense(2))
    if not before:
        model.quantize("int8")
    return model


def conv(**options: Any) -> Any:
    return layers.Conv1D(2, 3, **options)


def end(x: Any) -> Any:
    return layers.Reshape((1, 3))(layers.LSTM(3)(x))


# A model that is refused, and one where the remedy has been typed. Each is called on symbolic inputs alone.
CASES: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
    "never built": (lambda: keras.Sequential([layers.LSTM(2)]), lambda: chain()),
    "code that cannot be followed": (lambda: chain(Unknown()), lambda: chain(Known())),
    "a model that cannot be followed": (lambda: Following(asks=True), lambda: Following(asks=False)),
    "a declared step of other states": (lambda: Stepping("product"), lambda: Stepping("sum")),
    "a layer that cannot be copied": (lambda: chain(layers.RNN(Undescribed(2.0, dtype="float16"), True)),
                                      lambda: chain(layers.RNN(Undescribed(2.0), return_sequences=True))),
    "no time": (lambda: keras.Sequential([keras.Input((3,)), layers.Dense(1)]), lambda: chain()),
    "quantized": (lambda: quantized(before=False), lambda: quantized(before=True)),
    "training": (lambda: graph(lambda x: layers.LSTM(2)(layers.Dropout(0.5)(x, training=True))),
                 lambda: graph(lambda x: layers.LSTM(2)(layers.Dropout(0.5)(x)))),
    "samples and their end": (lambda: graph(lambda x: layers.Multiply()([x, end(x)])),
                              lambda: graph(lambda x: layers.Multiply()([x, x]))),
    "padding before another layer": (lambda: chain(layers.ZeroPadding1D((2, 0)), layers.Dense(2)),
                                     lambda: chain(conv(padding="causal"))),
    "truths": (lambda: keras.Sequential([keras.Input((7, 3), dtype="bool"), layers.LSTM(2)]), lambda: chain()),
    "columns of a table": (lambda: graph(lambda x: layers.LSTM(2)(ops.take(np.ones((3, 9), "f"), x, axis=1)), (7,),
                                         dtype="int32"),
                           lambda: graph(lambda x: layers.LSTM(2)(ops.take(np.ones((9, 3), "f"), x, axis=0)), (7,),
                                         dtype="int32")),
    "no rule": (lambda: chain(layers.RandomCrop(7, 3)), lambda: chain(layers.Identity())),
    "a layer of one's own": (lambda: chain(OwnLSTM(2, return_sequences=True)),
                             lambda: chain(layers.LSTM(2, return_sequences=True))),
    "group normalization": (lambda: chain(layers.GroupNormalization(1)), lambda: chain(layers.LayerNormalization())),
    "flatten": (lambda: keras.Sequential([keras.Input((7, 3)), layers.Flatten(), layers.Dense(1)]),
                lambda: keras.Sequential([keras.Input((7, 3)), layers.LSTM(2, return_sequences=False)])),
    "reshape": (lambda: chain(layers.Reshape((3, 7)), shape=(7, 1, 3)),
                lambda: chain(layers.TimeDistributed(layers.Reshape((3,))), shape=(7, 1, 3))),
    "padding on both sides": (lambda: chain(layers.ZeroPadding1D((2, 2)), conv()),
                              lambda: chain(layers.ZeroPadding1D((2, 0)), conv())),
    "activation of one's own": (lambda: chain(layers.Dense(2, activation=lambda x: x[:, ::-1])),
                                lambda: chain(layers.Dense(2, activation="tanh"))),
    "slopes over time": (lambda: chain(layers.PReLU()), lambda: chain(layers.PReLU(shared_axes=[1]))),
    "slopes at all": (lambda: chain(layers.PReLU()), lambda: chain(layers.LeakyReLU())),
    "batch normalization over time": (lambda: chain(layers.BatchNormalization(axis=1)),
                                      lambda: chain(layers.BatchNormalization(axis=-1))),
    "softmax over time": (lambda: chain(layers.Softmax(axis=1)), lambda: chain(layers.Softmax(axis=-1))),
    "mean over time": (lambda: chain(layers.Normalization(axis=(1, 2), mean=ONES - 1, variance=ONES)),
                       lambda: chain(layers.Normalization(axis=-1, mean=np.zeros(3), variance=np.ones(3)))),
    "scale over time": (lambda: chain(layers.Rescaling(ONES.tolist())),
                        lambda: chain(layers.Rescaling(np.ones(3).tolist()))),
    "backwards": (lambda: chain(layers.GRU(2, return_sequences=True, go_backwards=True)),
                  lambda: chain(layers.GRU(2, return_sequences=True, go_backwards=False))),
    "along the features": (lambda: chain(layers.Permute((2, 1)), layers.LSTM(2, return_sequences=True)),
                           lambda: chain(layers.LSTM(2, return_sequences=True))),
    "strides": (lambda: chain(conv(strides=2, padding="causal")), lambda: chain(conv(strides=1, padding="causal"))),
    "same": (lambda: chain(conv(padding="same")), lambda: chain(conv(padding="causal"))),
    "valid": (lambda: chain(conv()), lambda: chain(layers.ZeroPadding1D((2, 0)), conv())),
    "transposed": (lambda: chain(layers.Conv1DTranspose(2, 3, padding="same")),
                   lambda: chain(layers.Conv1DTranspose(2, 1, padding="same"))),
}  # fmt: skip

# Places that need a file, PyTorch, numbers or another mode: the test that meets them, in this directory.
ELSEWHERE: dict[str, str] = {
    "conversion.py _not_exact": "test_certificate.py test_the_tolerance_that_is_advised_is_enough",
    "legacy/graph.py layer": "test_own_layers.py test_code_of_ones_own_is_imported_first",
    "legacy/operations.py __call__": "test_old_files.py test_a_function_without_a_counterpart",
    "legacy/settings.py time_major": "test_files.py test_what_cannot_be_repaired",
    "modes.py _declared": "test_graphs.py test_a_step_that_the_user_declares",
    "modes.py _fitting": "test_refusals.py test_a_window_of_another_length_than_the_models",
    "offers.py with_other_modes": "test_refusals.py test_the_asked_for_stream_with_flatten",
    "pytorch/copies.py copy_of": "test_pytorch.py test_refused",
    "pytorch/export.py _fails": "test_pytorch.py test_refused",
    "pytorch/export.py _not_followed": "test_pytorch.py test_refused",
    "pytorch/export.py _remembers": "test_pytorch.py test_refused",
    "pytorch/values.py whole": "test_pytorch.py test_refused",
    "raised.py _refused": "test_refusals.py test_what_tensorflow_raises_is_a_refusal",
    "repairs.py not_known": "test_own_layers.py test_code_of_ones_own_is_imported_first",
    "repairs.py refuse_code": "test_files.py test_lambda",
    "rules/lookups.py times": "test_remedies.py test_a_remedy_works_when_it_is_typed",  # its refusal is kept for later
    "rules/recurrent.py _states": "test_own_layers.py test_a_cell_that_keras_cannot_begin_is_refused",
    "saved.py unreadable": "test_files.py test_saved_model_directory",
    "stepgraph.py _not_in_litert": "test_training.py test_what_is_random_after_training_is_refused",
}


def refusal_of(model: Any) -> ConversionRefused:
    with pytest.raises(ConversionRefused) as caught:
        traced(plan(build(model, "carry", None, None).machine), model.name)
    return caught.value


@pytest.fixture(scope="module")
def met() -> set[Place]:
    """The places that the refusals of the cases came from."""
    lines = {line for make, _ in CASES.values() for line in raised_at(refusal_of(make()))}
    makers = {raising().get(line) for line in lines}
    return {
        one
        for one in places()
        if one.function in makers or any(file == one.file and one.first <= at <= one.last for file, at in lines)
    }


@pytest.mark.parametrize("name", CASES)
def test_a_remedy_works_when_it_is_typed(name: str) -> None:
    built = build(CASES[name][1](), "carry", None, None)
    assert plan(built.machine).interface.inputs


def test_every_place_that_advises_has_a_case(met: set[Place]) -> None:
    without = {str(place) for place in places() - met if f"{place.file} {place.function}" not in ELSEWHERE}
    assert not without, f"add a case of what these advise: {sorted(without)}"


def test_what_is_tried_elsewhere_is_there(met: set[Place]) -> None:
    assert set(ELSEWHERE) <= {f"{place.file} {place.function}" for place in places() - met}
    for test in ELSEWHERE.values():
        file, name = test.split()
        assert f"def {name}(" in (TESTS / file).read_text(encoding="utf-8"), test
