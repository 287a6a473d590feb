"""PyTorch's recurrent modules as chains of Keras layers with the same weights."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from keras import layers, ops

from processor.model.convert.pytorch.cells import CELLS, ProjectedLSTMCell
from processor.model.convert.pytorch.constants import Constant
from processor.model.convert.pytorch.tensors import features_last
from processor.model.convert.pytorch.values import Packed, Stack, Value, Zeros
from processor.model.convert.refusal import Obstacle
from processor.model.convert.rules import InTheWay

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Weights = dict[str, NDArray[Any]]

_LAYERS: Final = {"LSTM": layers.LSTM, "GRU": layers.GRU, "RNN": layers.SimpleRNN}
_GATES: Final = {"LSTM": 4, "GRU": 3, "RNN": 1}
_STATES: Final = {"LSTM": 2, "GRU": 1, "RNN": 1}


@dataclass
class Recurrent:
    """One module. Its layers are made at its first call: with them, if their first states are numbers of the model's.

    states: whether anything takes its states, and not its output alone.
    """

    kind: str
    options: dict[str, Any]
    weights: Weights
    name: str
    states: bool
    begin: Any = None
    chain: list[Any] = field(default_factory=list)
    weighted: list[tuple[Any, list[NDArray[Any]]]] = field(default_factory=list)

    @property
    def ways(self) -> tuple[str, ...]:
        return ("", "_reverse") if self.options["bidirectional"] else ("",)

    def __call__(self, given: Any, hx: Any = None) -> list[Any]:
        """What PyTorch's module gives: the output, and the states of all of its layers."""
        value, batch = given.value if isinstance(given, Packed) else given, 0 if self.options["batch_first"] else 1
        width = self.weights["weight_ih_l0"].shape[1]
        if not isinstance(value, Value) or value.rank != 3 or (value.batch != batch and not isinstance(given, Packed)):
            raise InTheWay(
                Obstacle.NO_RULE, f"It takes tensors with the batch as their axis {batch}, and was given others."
            )
        batch, value = value.batch, value.straight()
        if value.tensor.shape[-1] != width:
            raise ValueError(f"a layer of the width {width} is given something else")
        begin = self._beginning(hx)
        if not self.chain:
            self.begin = begin if isinstance(begin, np.ndarray) else None
            self._build(unroll=value.tensor.shape[1] == 1)  # in a loop of one's own: one sample, and no loop in it
        elif (self.begin is None) != (not isinstance(begin, np.ndarray)):
            raise InTheWay(Obstacle.INITIAL_STATE, "Its calls begin with different states.")
        x, held = value.tensor, []
        for depth, layer in enumerate(self.chain):
            options = {"initial_state": self._part(begin, depth)} if isinstance(begin, list) else {}
            answer = layer(x, **options)
            x, after = (answer[0], list(answer[1:])) if self.states else (answer, [])
            held.append(after)
        said = Value.with_batch(x, batch)
        return [Packed(said) if isinstance(given, Packed) else said, self._stacks(held) if self.states else None]

    def _beginning(self, hx: Any) -> Any:
        """None for zeros; an array [kinds, layers, units] each of the model's own; or a list of tensors."""
        starts = hx if isinstance(hx, list | tuple) else [hx]
        if all(start is None or isinstance(start, Zeros) for start in starts):
            return None
        count = len(self.ways) * self.options["num_layers"]
        if len(starts) != _STATES[self.kind]:
            raise InTheWay(Obstacle.INITIAL_STATE)
        if all(isinstance(start, Constant | Zeros) for start in starts):
            return self._own_rows(list(starts), count)
        found = []
        for start in starts:
            if isinstance(start, Stack) and len(start.states) == count:
                found.append(start.states)
                continue
            if not isinstance(start, Value) or start.rank != 3 or start.batch != 1 or start.sizes[0] != count:
                raise InTheWay(Obstacle.INITIAL_STATE)
            found.append([start.picked(layer).straight().tensor for layer in range(count)])
        return found

    def _own_rows(self, starts: list[Any], count: int) -> NDArray[Any]:
        rows = np.empty((len(starts), count), object)
        for kind, start in enumerate(starts):
            projected = self.options.get("proj_size", 0) if kind == 0 else 0
            shape = (count, 1, projected or self.options["hidden_size"])
            array = np.zeros(shape, np.float32) if isinstance(start, Zeros) else start.array
            if array.shape != shape or (isinstance(start, Constant) and start.batch != 1):
                raise InTheWay(Obstacle.INITIAL_STATE, "Its first state has another shape than [layers, batch, units].")
            for layer in range(count):
                rows[kind, layer] = array[layer, 0].tolist()
        return rows

    def _part(self, begin: list[Any], depth: int) -> list[Any]:
        """The states of one layer, direction by direction."""
        places = range(depth * len(self.ways), (depth + 1) * len(self.ways))
        return [states[place] for place in places for states in begin]

    def _build(self, unroll: bool) -> None:
        for depth in range(self.options["num_layers"]):
            label = self.name if self.options["num_layers"] == 1 else f"{self.name}_l{depth}"
            made = [self._layer(label + way, depth, way, unroll) for way in self.ways]
            layer = made[0][0]
            if len(made) == 2:
                layer = layers.Bidirectional(made[0][0], backward_layer=made[1][0], name=f"{label}_both")
            self.chain.append(layer)
            self.weighted.append((layer, [weight for _, own in made for weight in own]))

    def _layer(self, name: str, depth: int, way: str, unroll: bool) -> tuple[Any, list[NDArray[Any]]]:
        options = self.options
        cell: dict[str, Any] = {"units": options["hidden_size"], "use_bias": options["bias"]}
        if self.kind == "RNN":
            cell["activation"] = options.get("nonlinearity", "tanh")
        if self.kind == "GRU":
            cell["reset_after"] = True
        run = {
            "return_sequences": True, "return_state": self.states, "go_backwards": bool(way), "unroll": unroll,
            "name": name,
        }  # fmt: skip
        own = weights_of(self.kind, self.weights, f"_l{depth}{way}", options)
        place = depth * len(self.ways) + bool(way)
        if self.begin is not None:
            cell["begin"] = list(self.begin[:, place])
        if options.get("proj_size"):
            return layers.RNN(ProjectedLSTMCell(projection=options["proj_size"], **cell), **run), own
        if self.begin is not None:
            return layers.RNN(CELLS[self.kind](**cell), **run), own
        return _LAYERS[self.kind](**cell, **run), own

    def _stacks(self, held: list[list[Any]]) -> Any:
        """The states of all layers and directions, each kind by itself."""
        kinds = _STATES[self.kind]
        found = [Stack([state for after in held for state in after[rank::kinds]]) for rank in range(kinds)]
        return found if kinds > 1 else found[0]


@dataclass
class Cell:
    """nn.LSTMCell, nn.GRUCell or nn.RNNCell: one sample [B, features] and the states -> the states after it."""

    kind: str
    options: dict[str, Any]
    weights: Weights
    name: str
    weighted: list[tuple[Any, list[NDArray[Any]]]] = field(default_factory=list)

    def __call__(self, given: Any, hx: Any = None) -> Any:
        """The next state; of an LSTM, both of them."""
        if not self.weighted:
            cell: dict[str, Any] = {"units": self.options["hidden_size"], "use_bias": self.options["bias"]}
            if self.kind == "RNN":
                cell["activation"] = self.options.get("nonlinearity", "tanh")
            own = weights_of(self.kind, self.weights, "", self.options)
            self.weighted.append((CELLS[self.kind](**cell, name=self.name), own))
        layer, value = self.weighted[0][0], features_last(given, self.weights["weight_ih"].shape[1])
        if value.axes != ((0,), (1,)):
            raise InTheWay(Obstacle.NO_RULE, "It takes tensors [batch, features], and was given others.")
        starts = hx if isinstance(hx, list) else [hx] * _STATES[self.kind]
        units = self.options["hidden_size"]
        zeros = ops.tile(ops.multiply(value.tensor[:, :1], 0.0), (1, units))
        states = [zeros if start is None or isinstance(start, Zeros) else _rows(start, units) for start in starts]
        _, after = layer(value.tensor, states)
        found = [Value.with_batch(state, 0) for state in after]
        return found if self.kind == "LSTM" else found[0]


def _rows(start: Any, units: int) -> Any:
    value = features_last(start, units)
    if value.axes != ((0,), (1,)):
        raise InTheWay(Obstacle.INITIAL_STATE)
    return value.tensor


def weights_of(kind: str, weights: Weights, ending: str, options: dict[str, Any]) -> list[NDArray[Any]]:
    """A cell's weights as Keras has them.

    Raises:
        ValueError, KeyError: they are not those of a cell of these options.
    """
    units, projected = options["hidden_size"], options.get("proj_size") or 0
    if weights[f"weight_hh{ending}"].shape != (_GATES[kind] * units, projected or units):
        raise ValueError(f"weight_hh{ending} is not that of {units} units")
    kernels = [weights[f"weight_ih{ending}"].T, weights[f"weight_hh{ending}"].T]
    biases = [weights[f"bias_ih{ending}"], weights[f"bias_hh{ending}"]] if options["bias"] else []
    if kind == "GRU":
        # PyTorch has the gates reset, update, new; Keras has update, reset, new, and both biases, as here.
        return [_gates(kernel) for kernel in kernels] + ([_gates(np.stack(biases))] if biases else [])
    own = kernels + ([biases[0] + biases[1]] if biases else [])
    return [*own, weights[f"weight_hr{ending}"].T] if projected else own


def _gates(values: NDArray[Any]) -> NDArray[Any]:
    reset, update, new = np.split(values, 3, axis=-1)
    return np.concatenate([update, reset, new], axis=-1)
