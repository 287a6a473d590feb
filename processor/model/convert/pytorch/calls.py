"""Functions and methods that a described `forward` calls, by their names in PyTorch."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any, Final

from keras import layers, ops

from processor.model.convert.pytorch.values import Stack, Unknown, Value, Zeros
from processor.model.convert.refusal import Obstacle
from processor.model.convert.rules import InTheWay

if TYPE_CHECKING:
    from collections.abc import Callable

_PASSING: Final = {
    "contiguous", "to", "float", "detach", "clone", "requires_grad_", "dropout", "type_as", "cpu", "cuda", "double",
    "alias",
}  # fmt: skip
_MADE_OF_ZEROS: Final = {"zeros", "zeros_like", "new_zeros"}
_OF_SIZES: Final = {"size", "dim", "len", "_assert_is_none", "_assert", "numel", "floordiv", "device"}

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


def called(name: str, given: list[Any], options: dict[str, Any]) -> Any:
    """What a function or a method gives, for these arguments.

    Raises:
        InTheWay: it has no counterpart here.
    """
    plain = name.strip("_") if name not in _OF_SIZES else name
    first = given[0] if given else None
    if plain in _MADE_OF_ZEROS:
        return Zeros()
    if plain in _OF_SIZES or isinstance(first, Unknown):
        return Unknown()
    if plain in _PASSING:
        return first
    if plain == "getattr":
        return _attribute(first, given[1])
    if plain == "getitem":
        return first[given[1]] if isinstance(first, list | tuple) else _of_tensor(first).picked(given[1])
    if isinstance(first, Zeros):
        return first
    if plain in _BINARY:
        return _binary(_BINARY[plain], given, options)
    if plain in UNARY:
        return _value(first).of(UNARY[plain](_value(first).tensor))
    return _FORMS[plain](given, options) if plain in _FORMS else _unknown(name)


def softened(value: Value, function: Callable[..., Any], dim: Any) -> Value:
    """softmax and log_softmax along a dim."""
    if dim is None:
        raise InTheWay(Obstacle.NO_RULE, "It names no dim.")
    return value.of(function(value.tensor, axis=value.axis(dim)))


def _unknown(name: str) -> Any:
    raise InTheWay(Obstacle.NO_RULE, f"{name} is not followed.")


def _value(given: Any) -> Value:
    if not isinstance(given, Value):
        raise InTheWay(Obstacle.NO_RULE, f"It takes a {type(given).__name__.lower()}, where a tensor is followed.")
    return given


def _of_tensor(given: Any) -> Value | Stack:
    return given if isinstance(given, Stack) else _value(given)


def _attribute(owner: Any, name: str) -> Any:
    if isinstance(owner, list) and name in ("values", "indices"):
        return owner[("values", "indices").index(name)]
    return Unknown()


def _binary(function: Callable[..., Any], given: list[Any], options: dict[str, Any]) -> Any:
    if options.get("alpha", 1) != 1 or len(given) != 2:
        raise InTheWay(Obstacle.NO_RULE, "It has options that are not followed.")
    values = [item for item in given if isinstance(item, Value)]
    if any(not isinstance(item, Value | int | float) for item in given):
        raise InTheWay(Obstacle.NO_RULE, "It takes something else than tensors and numbers.")
    if len({(value.batch, value.rank) for value in values}) != 1:
        raise InTheWay(Obstacle.NO_RULE, "Its tensors have other axes than each other.")
    return values[0].of(function(*(item.tensor if isinstance(item, Value) else item for item in given)))


def _dim(given: list[Any], options: dict[str, Any], place: int = 1, default: Any = None) -> Any:
    found = options.get("dim", given[place] if len(given) > place else default)
    return found[0] if isinstance(found, list) and len(found) == 1 else found


def _joined(given: list[Any], options: dict[str, Any]) -> Value:
    values, dim = [_value(item) for item in given[0]], _dim(given, options, default=0)
    if len({(value.batch, value.rank) for value in values}) != 1:
        raise InTheWay(Obstacle.NO_RULE, "Its tensors have other axes than each other.")
    return values[0].of(layers.Concatenate(axis=values[0].axis(dim))([value.tensor for value in values]))


def _mean(given: list[Any], options: dict[str, Any]) -> Value:
    return _reduced(given, options, layers.GlobalAveragePooling1D, ops.mean)


def _greatest(given: list[Any], options: dict[str, Any]) -> Value:
    return _reduced(given, options, layers.GlobalMaxPooling1D, ops.max)


def _greatest_and_where(given: list[Any], options: dict[str, Any]) -> Any:
    if len(given) > 1 and isinstance(given[1], Value):
        return _binary(ops.maximum, given, options)
    return [_greatest(given, options), Unknown()]


def _reduced(given: list[Any], options: dict[str, Any], pooling: Any, function: Callable[..., Any]) -> Value:
    value, dim = _value(given[0]), _dim(given, options)
    keepdim = options.get("keepdim", given[2] if len(given) > 2 else False)
    if not isinstance(dim, int):
        raise InTheWay(Obstacle.NO_RULE, "It runs along other axes than one.")
    axis, batch = value.axis(dim), value.batch - (not keepdim and int(dim) % value.rank < value.batch)
    if value.rank == 3 and axis == 1:
        return Value(pooling(keepdims=bool(keepdim))(value.tensor), batch)
    return Value(function(value.tensor, axis=axis, keepdims=bool(keepdim)), batch)


def _permuted(given: list[Any], _: dict[str, Any]) -> Value:
    dims = given[1] if isinstance(given[1], list) else given[1:]
    return _value(given[0]).permuted(dims)


_FORMS: Final[dict[str, Callable[[list[Any], dict[str, Any]], Any]]] = {
    "cat": _joined,
    "concat": _joined,
    "concatenate": _joined,
    "mean": _mean,
    "amax": _greatest,
    "max": _greatest_and_where,
    "permute": _permuted,
    "transpose": lambda given, _: _value(given[0]).swapped(given[1], given[2]),
    "swapaxes": lambda given, _: _value(given[0]).swapped(given[1], given[2]),
    "squeeze": lambda given, options: _of_tensor(given[0]).squeezed(_dim(given, options)),
    "unsqueeze": lambda given, options: _value(given[0]).unsqueezed(_dim(given, options)),
    "flatten": lambda given, options: _value(given[0]).flattened(
        options.get("start_dim", given[1] if len(given) > 1 else 0), options.get("end_dim", -1)
    ),
    "select": lambda given, _: _value(given[0]).picked([*[slice(None)] * given[1], given[2]]),
    "softmax": lambda given, options: softened(_value(given[0]), ops.softmax, _dim(given, options)),
    "log_softmax": lambda given, options: softened(_value(given[0]), ops.log_softmax, _dim(given, options)),
    "leaky_relu": lambda given, options: _value(given[0]).of(
        ops.leaky_relu(given[0].tensor, options.get("negative_slope", given[1] if len(given) > 1 else 0.01))
    ),
    "elu": lambda given, options: _value(given[0]).of(ops.elu(given[0].tensor, options.get("alpha", 1.0))),
    "gelu": lambda given, options: _value(given[0]).of(
        ops.gelu(given[0].tensor, options.get("approximate", "none") == "tanh")
    ),
}
