"""What a rule is, and the table of them.

A rule defines how one type of layer is stepped: where time lies in its outputs, what it remembers, and its output after
one sample. A class that is not in the table has the rule of its nearest base that is, if it inherits all that the base
does: a shim of one's own around a layer of Keras'. A subclass that changes more is not its parent's kind.
A layer of a new type gets in by one class with `@rule_for(...)`, and by nothing else.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from processor.model.convert.refusal import Obstacle

Tensor = Any
"""A TensorFlow tensor; the library has no types."""
Layer = Any
"""A Keras layer or operation."""


class InTheWay(Exception):
    """A layer cannot be stepped: why, and what would help. The walk adds which one it is.

    `{layer}` in a remedy stands for its name.
    """

    def __init__(self, obstacle: Obstacle, cause: str = "", remedies: Sequence[str] = ()) -> None:
        super().__init__(obstacle, cause)
        self.obstacle, self.cause, self.remedies = obstacle, cause, tuple(remedies)


@dataclass(frozen=True, slots=True)
class Flow:
    """What is known of one tensor of the model: one sample's shape, and the axis of time (None once time is gone).

    constant: it never changes in a sequence (made of static inputs alone), so it has no time and yet mixes with what
    has; lead: how many rows of zeros lie before the first sample.
    """

    shape: tuple[int, ...]
    time: int | None
    constant: bool = False
    lead: int = 0

    @property
    def rank(self) -> int:
        """The rank of the model's own tensor: with batch, and with time where it has that."""
        return len(self.shape) + (1 if self.time is None else 2)

    def runs_over_time(self, axes: int | Sequence[int]) -> bool:
        """Whether one of these axes of the model's tensor, counted from either end, is that of time."""
        listed = [axes] if isinstance(axes, int) else axes
        return self.time is not None and any(axis % self.rank == self.time for axis in listed)


@dataclass(frozen=True, slots=True)
class Hole:
    """Stands in a call's arguments where a tensor goes: the tensor's place among the call's sources."""

    place: int


@dataclass(frozen=True, slots=True)
class Piece:
    """One thing that a layer remembers: its name within the layer, and what it starts from (one row)."""

    name: str
    initial: NDArray[np.float32] | NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class Call:
    """One call of a layer or an operation, in the order of the graph.

    path: where it stands in the model (`encoder/lstm`); rank: how many calls of the same path lie before it; sources
    and targets: the numbers of the tensors that go in and come out; flows: those that go in; arguments: by the name of
    the parameter, with a `Hole` in the place of each tensor; pieces: what is remembered for it between two samples;
    rule: a `Rule`.
    """

    layer: Layer
    path: str
    rank: int
    sources: tuple[int, ...]
    flows: tuple[Flow, ...]
    arguments: dict[str, Any]
    targets: tuple[int, ...] = ()
    pieces: tuple[Piece, ...] = ()
    rule: Any = None

    @property
    def name(self) -> str:
        """What its slots begin with: `lstm_1#0`."""
        return f"{self.path}#{self.rank}"

    def place(self, parameter: str) -> int | None:
        """The place among the sources of the tensor that a parameter takes, None where it takes none."""
        value = self.arguments.get(parameter)
        return value.place if isinstance(value, Hole) else None

    def filled(self, tensors: Sequence[Tensor]) -> dict[str, Any]:
        """The arguments with these tensors in their places."""
        return {name: _filled(value, tensors) for name, value in self.arguments.items()}


def _filled(value: Any, tensors: Sequence[Tensor]) -> Any:
    if isinstance(value, Hole):
        return tensors[value.place]
    if isinstance(value, list | tuple):
        return type(value)(_filled(item, tensors) for item in value)
    if isinstance(value, dict):
        return {name: _filled(item, tensors) for name, item in value.items()}
    return value


class Rule:
    """How one type of layer is stepped. `kind` is what the report calls it."""

    kind: ClassVar[str] = "a rule of one's own"
    takes_lead: ClassVar[bool] = False
    """Whether it knows what to do with rows of zeros before the first sample."""

    def on(self, call: Call) -> Rule:
        """The rule that is in its place for a call."""
        return self

    def times(self, call: Call) -> tuple[int | None, ...]:
        """The axis of time of each output.

        Raises:
            InTheWay: with these options, the layer cannot be stepped.
        """
        raise NotImplementedError

    def lead(self, call: Call) -> int:
        """How many rows of zeros lie before the first sample of the outputs."""
        return 0

    def pieces(self, call: Call) -> tuple[Piece, ...]:
        """What it remembers between two samples."""
        return ()

    def step(self, call: Call, inputs: Sequence[Tensor], state: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """The step of one sample: [B, *sample shape] each -> the outputs, and the pieces after it.

        No batch row may see another, and nothing may be remembered but in the pieces.
        """
        raise NotImplementedError


RULES: Final[dict[type, Rule]] = {}
_NO_BEHAVIOUR: Final = frozenset(
    [
        "__init__",
        "__new__",
        "__repr__",
        "build",
        "compute_mask",
        "compute_output_shape",
        "compute_output_spec",
        "from_config",
        "get_config",
        "get_build_config",
        "build_from_config",
        "get_initial_state",
        "save_own_variables",
        "load_own_variables",
    ]
)
"""What a subclass may change without changing how one sample is answered: how it is made, described and saved, and what
the converter asks the layer itself for."""


def kind_of(layer: Layer) -> type:
    """The class that a layer or an operation behaves as: its own, or that of Keras (or of the table) behind a shim."""
    kind = type(layer)
    known = next((base for base in kind.__mro__ if base in RULES or base.__module__.startswith("keras.")), kind)
    return known if inherits(kind, known) else kind


def inherits(kind: type, base: type) -> bool:
    """Whether a class does what its base does: itself, or a class of the user's own that changes no behaviour."""
    if kind is base:
        return True
    if not issubclass(kind, base) or kind.__module__.startswith(
        "keras."
    ):  # Keras derives layers from others that do something else
        return False
    own = itertools.takewhile(lambda one: one is not base, kind.__mro__)
    return not any(
        hasattr(base, name) and name not in _NO_BEHAVIOUR and (callable(value) or hasattr(value, "__get__"))
        for one in own
        for name, value in vars(one).items()
        if name not in ("__dict__", "__weakref__")
    )


def rule_for(*layers: type) -> Callable[[type[Rule]], type[Rule]]:
    """Puts one instance of the rule into the table, for each of the classes."""

    def register(rule: type[Rule]) -> type[Rule]:
        RULES.update(dict.fromkeys(layers, rule()))
        return rule

    return register
