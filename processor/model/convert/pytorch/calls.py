"""Functions and methods that a described `forward` calls, by their names in PyTorch."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any, Final

from keras import ops

from processor.model.convert.pytorch import sizes
from processor.model.convert.pytorch.constants import Constant
from processor.model.convert.pytorch.forms import FORMS, indexed, not_followed
from processor.model.convert.pytorch.sizes import AnySize, Size
from processor.model.convert.pytorch.tensors import laid_alike, value_of
from processor.model.convert.pytorch.values import Stack, Unknown, Value, Zeros
from processor.model.convert.refusal import Obstacle
from processor.model.convert.rules import InTheWay

if TYPE_CHECKING:
    from collections.abc import Callable

_PASSING: Final = {
    "contiguous", "to", "float", "detach", "clone", "requires_grad_", "dropout", "type_as", "cpu", "cuda", "double",
    "alias", "long", "int", "dropout1d", "alpha_dropout", "feature_alpha_dropout",
}  # fmt: skip
_OF_LENGTHS: Final = {"view", "reshape", "unsqueeze", "squeeze", "expand", "repeat", "clamp", "tolist", "numpy"}
"""What becomes of the lengths of sequences, which are all that of the sequence itself here."""
_MADE_OF_ZEROS: Final = {"zeros", "zeros_like", "new_zeros"}
_OF_RUN_TIME: Final = {"dim", "len", "_assert_is_none", "_assert", "numel", "device", "type", "is_floating_point"}

UNARY: Final[dict[str, Callable[..., Any]]] = {
    "relu": ops.relu,
    "relu6": ops.relu6,
    "tanh": ops.tanh,
    "sigmoid": ops.sigmoid,
    "silu": ops.silu,
    "selu": ops.selu,
    "softplus": ops.softplus,
    "softsign": ops.softsign,
    "logsigmoid": ops.log_sigmoid,
    "hardtanh": ops.hard_tanh,
    "exp": ops.exp,
    "abs": ops.abs,
    "neg": ops.negative,
    "sqrt": ops.sqrt,
    "square": ops.square,
    "log": ops.log,
    "log1p": ops.log1p,
    "sin": ops.sin,
    "cos": ops.cos,
}
_BINARY: Final[dict[str, Callable[..., Any]]] = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "truediv": operator.truediv,
    "div": operator.truediv,
    "pow": operator.pow,
    "maximum": ops.maximum,
    "minimum": ops.minimum,
}
_OF_SIZES: Final[dict[str, Callable[[AnySize, AnySize], AnySize | None]]] = {
    "add": sizes.plus,
    "sub": lambda one, other: sizes.plus(one, sizes.times(other, -1)),
    "mul": sizes.times,
    "floordiv": sizes.divided,
    "floor_divide": sizes.divided,
}


def called(name: str, given: list[Any], options: dict[str, Any]) -> Any:
    """What a function or a method gives, for these arguments.

    Raises:
        InTheWay: it has no counterpart here.
    """
    bare = name.strip("_") if name not in _OF_RUN_TIME else name
    first = given[0] if given else None
    if bare in _MADE_OF_ZEROS:
        return _zeros(bare, given)
    if bare in _OF_RUN_TIME or isinstance(first, Unknown):
        return Unknown()
    if bare in _PASSING or (isinstance(first, Size) and bare in _OF_LENGTHS):
        return first
    if bare in _OF_SIZES and all(isinstance(item, int | Size) for item in given):
        return _OF_SIZES[bare](*given) or Unknown()
    if bare == "getattr":
        return _attribute(first, given[1])
    if bare == "getitem":
        return first[given[1]] if isinstance(first, list | tuple) else indexed(first).picked(given[1])
    if isinstance(first, Zeros) and bare not in _BINARY:
        return first
    if bare in ("max", "min") and len(given) == 2 and isinstance(given[1], Value):
        bare = {"max": "maximum", "min": "minimum"}[bare]
    if bare in _BINARY:
        return _binary(_BINARY[bare], given, options)
    if bare in UNARY:
        one = first if isinstance(first, Constant) else value_of(first)
        return one.of(UNARY[bare]) if isinstance(one, Constant) else one.of(UNARY[bare](one.tensor))
    return FORMS[bare](given, options) if bare in FORMS else not_followed(name)


def _zeros(name: str, given: list[Any]) -> Zeros:
    if name == "zeros_like":
        return Zeros(value_of(given[0]).sizes if isinstance(given[0], Value | Stack) else None)
    listed = given[1:] if name == "new_zeros" else given
    listed = listed[0] if len(listed) == 1 and isinstance(listed[0], list) else listed
    return Zeros(listed if all(isinstance(size, int | Size) for size in listed) else None)


def _attribute(owner: Any, name: str) -> Any:
    if isinstance(owner, list) and name in ("values", "indices"):
        return owner[("values", "indices").index(name)]
    if name == "shape" and isinstance(owner, Value | Stack):
        return value_of(owner).sizes
    if name == "T" and isinstance(owner, Constant):
        return owner.swapped(0, 1)
    return Unknown()


def _binary(function: Callable[..., Any], given: list[Any], options: dict[str, Any]) -> Any:
    if options.get("alpha", 1) != 1 or len(given) != 2:
        raise InTheWay(Obstacle.NO_RULE, "It has options that are not followed.")
    if any(isinstance(item, Zeros) for item in given):
        return _with_zeros(function, given)
    one, other = (value_of(item) if isinstance(item, Stack) else item for item in given)
    if isinstance(one, Constant) and isinstance(other, Constant | int | float):
        return one.of(function, other)
    if isinstance(one, Value) and isinstance(other, Constant):
        value, array = other.beside(one)
        return value.of(function(value.tensor, array))
    if isinstance(one, Constant) and isinstance(other, Value):
        value, array = one.beside(other)
        return value.of(function(array, value.tensor))
    values = [item for item in (one, other) if isinstance(item, Value)]
    if any(not isinstance(item, Value | int | float) for item in (one, other)) or not values:
        raise InTheWay(Obstacle.NO_RULE, "It takes something else than tensors and numbers.")
    if len(values) == 2:
        one, other = laid_alike(values)
        return one.of(function(one.tensor, other.tensor))
    return values[0].of(function(*(item.tensor if isinstance(item, Value) else item for item in (one, other))))


def _with_zeros(function: Callable[..., Any], given: list[Any]) -> Any:
    one, other = given
    if function is operator.mul or (isinstance(one, Zeros) and isinstance(other, Zeros)):
        return Zeros()
    if function is operator.add:
        return other if isinstance(one, Zeros) else one
    if function is operator.sub and isinstance(other, Zeros):
        return one
    raise InTheWay(Obstacle.NO_RULE, "It computes with zeros what is not followed.")
