"""A loop of a described `forward` over its samples, as a Keras RNN: each round is a step of its cell."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import keras
import numpy as np
from keras import layers, ops

from processor.model.convert.pytorch.constants import Constant
from processor.model.convert.pytorch.evaluation import Evaluation, filled
from processor.model.convert.pytorch.sizes import ROWS, Size
from processor.model.convert.pytorch.tensors import value_of
from processor.model.convert.pytorch.values import Stack, Value, Zeros
from processor.model.convert.refusal import Obstacle
from processor.model.convert.rules import InTheWay

if TYPE_CHECKING:
    from collections.abc import Sequence

    from processor.model.convert.pytorch.description import Description

Node = dict[str, Any]

_PLANS: Final[dict[int, _Plan]] = {}
"""What the cells of this process run: a cell is made again from its number in here."""
_numbers: Final = itertools.count()


@dataclass(frozen=True)
class _Sample:
    """What a round takes of one sequence: its shape without the batch, and which dim of it is the batch's."""

    shape: tuple[int, ...]
    batch: int
    kept: int | None

    def of(self, flat: Any) -> Value:
        """The value of a round, of a tensor [B, size]."""
        if not self.shape:
            tensor = ops.squeeze(flat, -1)
        else:
            tensor = flat if len(self.shape) == 1 else layers.Reshape(self.shape)(flat)
        value = Value.with_batch(tensor, self.batch)
        return value if self.kept is None else value.unsqueezed(self.kept)

    @property
    def size(self) -> int:
        return math.prod(self.shape)


@dataclass
class _Plan:
    """The rounds of one loop. samples, outer: what they take; begin: one row of each carried tensor;

    carried: the structure of what is carried; shapes: of its tensors, and of what is given, without the batch.
    """

    node: Node
    description: Description
    samples: list[_Sample]
    tokens: bool
    outer: list[Any]
    carried: list[Any] = field(default_factory=list)
    begin: list[Any] = field(default_factory=list)
    shapes: list[tuple[int, ...]] = field(default_factory=list)
    gives: list[Value] = field(default_factory=list)

    def round(self, sequence: Any, carried: list[Any], evaluation: Evaluation) -> list[Any]:
        """The values of one round, from a sample [B, size] and what is carried."""
        ends = np.cumsum([one.size for one in self.samples]).tolist()
        flat = [sequence[:, end - one.size : end] for one, end in zip(self.samples, ends, strict=True)]
        flat = [sequence] if len(flat) == 1 else flat
        values = [one.of(part) for one, part in zip(self.samples, flat, strict=True)]
        values += [*carried, *self.outer]
        for node in self.node["body"]:
            values.append(evaluation.value(node, values))
        return values

    def sequence(self) -> Any:
        """A symbolic sample [B, size]."""
        size = sum(one.size for one in self.samples)
        return keras.Input((size,), dtype="int32" if self.tokens else None)

    def find_shapes(self, begins: list[Any]) -> None:
        """Runs a round on what is known of the first one, to see what comes of it; twice where it is not all known."""
        for _ in range(2):
            carried = [_symbolic(begin) for begin in begins] if not self.carried else self.placeholders()[1]
            values = self.round(self.sequence(), carried, Evaluation(self.description, self.node["body"]))
            self.carried = [values[number] for number in self.node["next"]]
            self.shapes = [tuple(tensor.shape[1:]) for one in self.carried for tensor in _tensors(one)]
        self.gives = [value_of(values[number]).straight() for number in self.node["gives"]]
        self.begin = [
            row
            for begin, one in zip(begins, self.carried, strict=True)
            for row in _rows(begin, [tuple(tensor.shape[1:]) for tensor in _tensors(one)])
        ]

    def placeholders(self) -> tuple[list[Any], list[Any]]:
        """Symbolic states, and what is carried made of them."""
        inputs = [keras.Input(shape) for shape in self.shapes]
        left = list(inputs)
        return inputs, [_packed(one, left) for one in self.carried]

    def model(self) -> Any:
        """One round as a Keras model: [sample, *states] -> [what is given, flat, *states]."""
        evaluation = Evaluation(self.description, self.node["body"])
        sequence, (inputs, carried) = self.sequence(), self.placeholders()
        values = self.round(sequence, carried, evaluation)
        gives = [value_of(values[number]).straight().tensor for number in self.node["gives"]]
        flat = [give if len(give.shape) == 2 else layers.Flatten()(give) for give in gives]
        said = flat[0] if len(flat) == 1 else layers.Concatenate()(flat)
        after = [tensor for number in self.node["next"] for tensor in _tensors(values[number])]
        model = keras.Model([sequence, *inputs], [said, *after])
        evaluation.fill()
        return model


@keras.saving.register_keras_serializable(package="processor.pytorch")
class Round(keras.layers.Layer):  # type: ignore[misc]
    """The cell: one round of a loop. It is made again in the same process only."""

    def __init__(self, plan: int, **settings: Any) -> None:
        super().__init__(**settings)
        self.plan = plan
        before = keras.config.dtype_policy()
        keras.config.set_dtype_policy(self.dtype_policy)
        try:
            self.body = _PLANS[plan].model()
        finally:
            keras.config.set_dtype_policy(before)
        self.state_size = [shape[0] if len(shape) == 1 else shape for shape in _PLANS[plan].shapes]
        self.output_size = self.body.outputs[0].shape[-1]

    def build(self, *_: Any) -> None:
        """Nothing: its layers are made and have their weights."""
        self.built = True

    def call(self, inputs: Any, states: Any, training: bool = False) -> tuple[Any, list[Any]]:
        """One sample [B, size] and the states -> what is given, [B, size], and the states after it."""
        said, *after = self.body([inputs, *states])
        return said, after

    def get_initial_state(self, batch_size: Any = None) -> list[Any]:
        """What the first round begins with."""
        return [
            ops.broadcast_to(ops.convert_to_tensor(row[None], self.compute_dtype), (batch_size, *row.shape))
            for row in _PLANS[self.plan].begin
        ]

    def get_config(self) -> dict[str, Any]:
        """The settings that make it again."""
        return super().get_config() | {"plan": self.plan}  # type: ignore[no-any-return]


def sequences_of(node: Node, values: Sequence[Any], description: Description, name: str) -> list[Value]:
    """What a loop gives: for each, the values of all rounds, which are the first dim.

    Raises:
        InTheWay: it takes or carries what is not followed.
    """
    samples, tensors = [], []
    for over in node["over"]:
        sample, tensor = _taken(value_of(filled(over["source"], values)), over)
        samples.append(sample)
        tensors.append(tensor)
    outer = [filled(one, values) for one in node["outer"]]
    if any(isinstance(item, Value | Stack) for one in outer for item in (one if isinstance(one, list) else [one])):
        raise InTheWay(Obstacle.NO_RULE, "Each of its rounds takes a tensor from outside of it.")
    kinds = {str(tensor.dtype) for tensor in tensors}
    if len(kinds) != 1 or not node["gives"]:
        raise InTheWay(Obstacle.NO_RULE, "It takes tokens and numbers at once, or gives nothing.")
    plan = _Plan(node, description, samples, "int" in kinds.pop(), outer)
    plan.find_shapes([filled(one, values) for one in node["begin"]])
    _PLANS[number := next(_numbers)] = plan
    given = tensors[0] if len(tensors) == 1 else layers.Concatenate()(tensors)
    said = layers.RNN(Round(number), return_sequences=True, name=name)(given)
    return _unfolded(said, plan)


def _taken(value: Value, over: Node) -> tuple[_Sample, Any]:
    """What each round takes of a source, and that as a tensor [B, rounds, size]."""
    dim = int(over["dim"]) % value.rank
    if 0 in value.axes[dim] or len(value.axes[value.batch]) > 1:
        raise InTheWay(Obstacle.NO_RULE, "It runs over the rows of a batch.")
    rest = [at for at in range(value.rank) if at != dim]
    tensor = value.permuted([dim, *rest]).straight().tensor
    shape = tuple(int(size) for size in tensor.shape[2:])
    batch = value.batch - (dim < value.batch)
    if not shape:  # each sample is one number
        tensor = ops.expand_dims(tensor, -1)
    elif len(shape) > 1:
        tensor = layers.Reshape((-1, math.prod(shape)))(tensor)
    return _Sample(shape, batch, dim if over["kept"] else None), tensor


def _unfolded(said: Any, plan: _Plan) -> list[Value]:
    found, start = [], 0
    for give in plan.gives:
        shape = tuple(int(size) for size in give.tensor.shape[1:])
        size = math.prod(shape)
        part = said if said.shape[-1] == size else said[:, :, start : start + size]
        start += size
        part = part if len(shape) == 1 else layers.Reshape((-1, *shape))(part)
        found.append(Value.with_batch(part, give.batch + 1))
    return found


def _tensors(carried: Any) -> list[Any]:
    """The tensors in what is carried."""
    if isinstance(carried, list):
        return [tensor for one in carried for tensor in _tensors(one)]
    if isinstance(carried, Stack):
        return list(carried.states)
    return [value_of(carried).straight().tensor]


def _packed(like: Any, left: list[Any]) -> Any:
    """The same structure of other tensors, taken from the front of `left`."""
    if isinstance(like, list):
        return [_packed(one, left) for one in like]
    if isinstance(like, Stack):
        return Stack([left.pop(0) for _ in like.states])
    return Value(left.pop(0), value_of(like).straight().axes)


def _symbolic(begin: Any) -> Any:
    """What the first round is given, as tensors where their shapes are known."""
    if isinstance(begin, list):
        return [_symbolic(one) for one in begin]
    shape = _shape(begin)
    if shape is None:
        return begin
    return Value.with_batch(keras.Input(shape[1]), shape[0])


def _shape(begin: Any) -> tuple[int, tuple[int, ...]] | None:
    """Where the batch is, and the other sizes."""
    if isinstance(begin, Constant) and begin.batch is not None:
        return begin.batch, tuple(np.delete(begin.array.shape, begin.batch).tolist())
    if not isinstance(begin, Zeros) or ROWS not in (begin.sizes or ()):
        return None
    assert begin.sizes is not None
    rest = [size for size in begin.sizes if not isinstance(size, Size)]
    return (begin.sizes.index(ROWS), tuple(rest)) if len(rest) + 1 == len(begin.sizes) else None


def _rows(begin: Any, shapes: list[tuple[int, ...]]) -> list[Any]:
    """One row of each tensor that is carried into the first round."""
    if begin is None or isinstance(begin, Zeros):
        return [np.zeros(shape, np.float32) for shape in shapes]
    if isinstance(begin, list) and len(shapes) % len(begin) == 0:
        each = len(shapes) // len(begin)
        return [row for at, one in enumerate(begin) for row in _rows(one, shapes[at * each : (at + 1) * each])]
    if isinstance(begin, Constant) and begin.batch is not None:
        rows = np.moveaxis(begin.array, begin.batch, 0)[0]
        if len(shapes) == 1 and rows.shape == shapes[0]:
            return [rows]
        if rows.shape == (len(shapes), *shapes[0]):
            return list(rows)
    raise InTheWay(Obstacle.INITIAL_STATE)
