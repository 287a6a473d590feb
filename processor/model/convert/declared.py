"""A step that the user declares: for models whose graph cannot be followed, checked by the certificate like any other.

The model's class has two methods beside `call`:

    def initial_state(self) -> dict[str, array]          # by name, of one key: no axis of rows
    def step(self, features, state) -> (outputs, state)  # [rows, *sample shape] (or a dict), {name: [rows, ...]}

`step` is made of TensorFlow operations, keras.ops and layers' cells, sees no row but its own, and gives what `call`
gives to the sequence so far.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from processor.errors import ConfigError
from processor.model.convert.interface import Exit, Interface, candidates, inputs_of
from processor.model.convert.refusal import ConversionRefused, Obstacle
from processor.model.convert.rules import Piece
from processor.types import TensorSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from processor.model.convert.interface import ModelInput, TimeAxis
    from processor.model.convert.machine import Pieces
    from processor.model.convert.rules import Tensor


def declares(model: Any) -> bool:
    """Whether the class of a model declares how it is stepped."""
    return all(callable(getattr(type(model), name, None)) for name in ("step", "initial_state"))


class Declared:
    """A machine whose step is the model's own."""

    def __init__(self, model: Any, time_axis: TimeAxis) -> None:
        self.model = model
        self.variables: Sequence[Any] = model.variables
        self.structure, entries = inputs_of(model)
        way = next(iter(candidates(entries, time_axis)), None)
        if way is None or any(size is None for entry in way for size in entry.spec.shape):
            raise _wrong(model, "Its inputs have no one axis of time, or samples of any size.")
        self.interface = Interface(tuple(way), _exits(model, self.structure, way))
        check_states(model)
        initial = {name: np.asarray(value) for name, value in model.initial_state().items()}
        self.names = list(initial)
        self.pieces: Pieces = [(f"{model.name}.{name}", Piece(name, _typed(value))) for name, value in initial.items()]

    def answer(self, features: Sequence[Tensor], state: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        given = keras.tree.pack_sequence_as(self.structure, list(features))
        outputs, after = self.model.step(given, dict(zip(self.names, state, strict=True)))
        if set(after) != set(self.names):
            raise _wrong(self.model, f"Its step gives the states {sorted(after)}, not {sorted(self.names)}.")
        return list(keras.tree.flatten(outputs)), [after[name] for name in self.names]


def _typed(value: Any) -> Any:
    return value.astype(np.int32 if value.dtype.kind in "iu" else np.float32)


def _exits(model: Any, structure: Any, entries: list[ModelInput]) -> tuple[Exit, ...]:
    """The outputs, found out by calling the model on sequences of two lengths."""
    shapes = []
    for length in (3, 4):
        inputs = []
        for entry in entries:
            shape = [2, *entry.spec.shape]
            if entry.time is not None:
                shape.insert(entry.time, length)
            inputs.append(np.zeros(shape, entry.dtype))
        answers = model(keras.tree.pack_sequence_as(structure, inputs), training=False)
        shapes.append([tuple(y.shape) for y in keras.tree.flatten(answers)])
    names = (
        sorted(answers)
        if isinstance(answers, dict)
        else [f"output_{n}" if n else "output" for n in range(len(shapes[0]))]
    )
    exits = []
    for name, short, long in zip(names, *shapes, strict=True):
        time = next((axis for axis, (a, b) in enumerate(zip(short, long, strict=True)) if a != b), None)
        exits.append(Exit(TensorSpec(name, tuple(n for axis, n in enumerate(short) if axis not in (0, time))), time))
    return tuple(exits)


def _wrong(model: Any, cause: str) -> ConversionRefused:
    return ConversionRefused(
        f"The step that the model {model.name!r} declares cannot be used.",
        layer=model.name,
        reason=Obstacle.NO_GRAPH,
        cause=cause,
        remedies=["See docs/converter.md for what a declared step takes and gives."],
    )


def check_states(model: Any) -> None:
    """Raises ConfigError where the declared initial state is no dict of arrays."""
    state = model.initial_state()
    if not isinstance(state, dict) or not all(isinstance(name, str) and "." not in name for name in state):
        raise ConfigError(
            f"initial_state() of the model {model.name!r} gives no dict of arrays by name.",
            "Names are text without dots.",
            "See docs/converter.md.",
        )
