"""Calls of a described `forward` that change shapes, or need more than one tensor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
from keras import layers, ops

from processor.model.convert.pytorch.constants import Constant
from processor.model.convert.pytorch.sizes import ROWS, Size
from processor.model.convert.pytorch.tensors import dense, laid_alike, padded, softened, value_of
from processor.model.convert.pytorch.values import EachRow, Packed, Stack, Unknown, Value, Zeros
from processor.model.convert.refusal import Obstacle
from processor.model.convert.rules import InTheWay

if TYPE_CHECKING:
    from collections.abc import Callable


def not_followed(name: str) -> Any:
    """Raises InTheWay for a call of this name."""
    raise InTheWay(Obstacle.NO_RULE, f"{name} is not followed.")


def indexed(given: Any) -> Value | Stack | Constant:
    """What can be picked from."""
    return given if isinstance(given, Stack | Constant) else value_of(given)


def _size(given: list[Any], options: dict[str, Any]) -> Any:
    found = value_of(given[0]).sizes
    dim = _dim(given, options)
    return found if dim is None else found[dim]


def _dim(given: list[Any], options: dict[str, Any], place: int = 1, default: Any = None) -> Any:
    found = options.get("dim", given[place] if len(given) > place else default)
    return found[0] if isinstance(found, list) and len(found) == 1 else found


def _joined(given: list[Any], options: dict[str, Any]) -> Any:
    if all(isinstance(item, Zeros) for item in given[0]):
        return Zeros()
    values, dim = laid_alike([value_of(item) for item in given[0]]), _dim(given, options, default=0)
    return values[0].of(layers.Concatenate(axis=values[0].axis(dim))([value.whole().tensor for value in values]))


def _stacked(given: list[Any], options: dict[str, Any]) -> Any:
    if all(isinstance(item, Zeros) for item in given[0]):
        return Zeros()
    dim = _dim(given, options, default=0)
    if all(isinstance(item, Constant) for item in given[0]):
        return Constant(np.stack([item.array for item in given[0]], dim))
    return _joined([[value_of(item).unsqueezed(dim) for item in given[0]], dim], {})


def _parts(given: list[Any], options: dict[str, Any]) -> list[Value]:
    """x.split(sizes, dim)"""
    value, dim = value_of(given[0]), _dim(given, options, 2, 0)
    size: Any = options.get("split_size_or_sections", given[1] if len(given) > 1 else options.get("split_size"))
    length = value.sizes[dim]
    if not isinstance(length, int):
        raise InTheWay(Obstacle.NO_RULE, "It takes time apart.")
    widths = size if isinstance(size, list) else [min(size, length - at) for at in range(0, length, size)]
    ends = np.cumsum(widths).tolist()
    before = [slice(None)] * (int(dim) % value.rank)
    return [value.picked([*before, slice(end - width, end)]) for width, end in zip(widths, ends, strict=True)]


def _chunks(given: list[Any], options: dict[str, Any]) -> list[Value]:
    """x.chunk(count, dim)"""
    value, dim = value_of(given[0]), _dim(given, options, 2, 0)
    length, count = value.sizes[dim], options.get("chunks", given[1] if len(given) > 1 else None)
    if not isinstance(length, int) or not isinstance(count, int):
        raise InTheWay(Obstacle.NO_RULE, "It takes time apart.")
    return _parts([value, -(-length // count), dim], {})


def _each(given: list[Any], options: dict[str, Any]) -> list[Value]:
    """x.unbind(dim)"""
    value, dim = value_of(given[0]), _dim(given, options, default=0)
    length = value.sizes[dim]
    if not isinstance(length, int):
        raise InTheWay(Obstacle.NO_RULE, "It takes time apart.")
    before = [slice(None)] * (int(dim) % value.rank)
    return [value.picked([*before, at]) for at in range(length)]


def _mean(given: list[Any], options: dict[str, Any]) -> Any:
    return _reduced(given, options, layers.GlobalAveragePooling1D, ops.mean)


def _sum(given: list[Any], options: dict[str, Any]) -> Any:
    return _reduced(given, options, None, ops.sum)


def _greatest(given: list[Any], options: dict[str, Any]) -> Any:
    return _reduced(given, options, layers.GlobalMaxPooling1D, ops.max)


def _greatest_and_where(given: list[Any], options: dict[str, Any]) -> Any:
    return [_greatest(given, options), Unknown()]


def _reduced(given: list[Any], options: dict[str, Any], pooling: Any, function: Callable[..., Any]) -> Value:
    value, dim = value_of(given[0]).whole(), _dim(given, options)
    keepdim = options.get("keepdim", given[2] if len(given) > 2 else False)
    if not isinstance(dim, int):
        raise InTheWay(Obstacle.NO_RULE, "It runs along other axes than one.")
    axis = value.axis(dim)
    if pooling and len(value.tensor.shape) == 3 and axis == 1:
        tensor = pooling(keepdims=bool(keepdim))(value.tensor)
    else:
        tensor = function(value.tensor, axis=axis, keepdims=bool(keepdim))
    return value.of(tensor) if keepdim else value._without(dim % value.rank, tensor)


def _gathered(given: list[Any], options: dict[str, Any]) -> Value:
    value, dim = value_of(given[0]), _dim(given, options)
    index = options.get("index", given[2] if len(given) > 2 else None)
    if not isinstance(index, Size):
        raise InTheWay(Obstacle.NO_RULE, "It picks by what is known at run time only.")
    return value.picked([*[slice(None)] * (dim % value.rank), index]).unsqueezed(dim % value.rank)


def _matmul(given: list[Any], _: dict[str, Any]) -> Value:
    one, other = given[:2]
    if isinstance(other, Constant) and other.array.ndim == 2:
        return dense(one, other.array, None)
    raise InTheWay(Obstacle.NO_RULE, "It multiplies other things than a tensor and a matrix of the model's own.")


def _linear(given: list[Any], options: dict[str, Any]) -> Value:
    weight = options.get("weight", given[1] if len(given) > 1 else None)
    bias = options.get("bias", given[2] if len(given) > 2 else None)
    if not isinstance(weight, Constant) or not isinstance(bias, Constant | Zeros | None):
        raise InTheWay(Obstacle.NO_RULE, "Its weights are not the model's own.")
    return dense(given[0], weight.array.T, bias.array if isinstance(bias, Constant) else None)


def _repeated(given: list[Any], options: dict[str, Any]) -> Any:
    if isinstance(given[0], Constant):
        return given[0].repeated(_listed(given))
    return not_followed("repeat")


def _expanded(given: list[Any], options: dict[str, Any]) -> Any:
    if isinstance(given[0], Constant):
        return given[0].expanded(_listed(given))
    value, wanted = value_of(given[0]), _listed(given)
    if len(wanted) == value.rank and all(w in (-1, own) for w, own in zip(wanted, value.sizes, strict=True)):
        return value
    return not_followed("expand")


def _shaped(given: list[Any], options: dict[str, Any]) -> Any:
    wanted = options.get("shape", options.get("size")) or _listed(given)
    if isinstance(given[0], Constant):
        if given[0].batch is None and all(isinstance(size, int) for size in wanted):
            return Constant(given[0].array.reshape(wanted))
        return not_followed("view of a parameter")
    return value_of(given[0]).reshaped(wanted)


def _padded(given: list[Any], options: dict[str, Any]) -> Value:
    """functional.pad with zeros along the last dim."""
    value, amounts = value_of(given[0]), options.get("pad", given[1] if len(given) > 1 else None)
    mode, number = options.get("mode", given[2] if len(given) > 2 else "constant"), options.get("value", 0)
    number = given[3] if len(given) > 3 else number
    if not isinstance(amounts, list) or len(amounts) != 2 or mode != "constant" or number not in (0, None):
        raise InTheWay(Obstacle.NO_RULE, "It pads otherwise than with zeros at the ends of the last dim.")
    return padded(value, amounts[0], amounts[1])


def _arange(given: list[Any], options: dict[str, Any]) -> Any:
    return EachRow() if given == [ROWS] else not_followed("arange")


def _listed(given: list[Any]) -> list[Any]:
    return list(given[1]) if len(given) > 1 and isinstance(given[1], list | tuple) else given[1:]


def _moving(given: Any) -> Any:
    return given if isinstance(given, Constant) else value_of(given)


def _unpacked(given: list[Any], options: dict[str, Any]) -> list[Any]:
    first = options.get("batch_first", given[1] if len(given) > 1 else False)
    value = given[0].value if isinstance(given[0], Packed) else value_of(given[0])
    return [value if value.batch == (0 if first else 1) else value.swapped(0, 1), Size(samples=1)]


def _moved(value: Value, source: int, target: int) -> Value:
    dims = [dim for dim in range(value.rank) if dim != source % value.rank]
    dims.insert(target % value.rank, source % value.rank)
    return value.permuted(dims)


FORMS: Final[dict[str, Callable[[list[Any], dict[str, Any]], Any]]] = {
    "size": _size,
    "arange": _arange,
    "cat": _joined,
    "concat": _joined,
    "concatenate": _joined,
    "stack": _stacked,
    "split": _parts,
    "chunk": _chunks,
    "unbind": _each,
    "mean": _mean,
    "sum": _sum,
    "amax": _greatest,
    "max": _greatest_and_where,
    "gather": _gathered,
    "matmul": _matmul,
    "mm": _matmul,
    "linear": _linear,
    "pad": _padded,
    "view": _shaped,
    "reshape": _shaped,
    "expand": _expanded,
    "repeat": _repeated,
    "tile": _repeated,
    "pack_padded_sequence": lambda given, options: Packed(value_of(options.get("input", given[0] if given else None))),
    "pad_packed_sequence": _unpacked,
    "permute": lambda given, _: _moving(given[0]).permuted(_listed(given)),
    "movedim": lambda given, _: _moved(value_of(given[0]), given[1], given[2]),
    "transpose": lambda given, _: _moving(given[0]).swapped(given[1], given[2]),
    "swapaxes": lambda given, _: _moving(given[0]).swapped(given[1], given[2]),
    "t": lambda given, _: _moving(given[0]).swapped(0, 1),
    "squeeze": lambda given, options: indexed(given[0]).squeezed(_dim(given, options)),
    "unsqueeze": lambda given, options: _moving(given[0]).unsqueezed(_dim(given, options)),
    "flatten": lambda given, options: value_of(given[0]).flattened(
        options.get("start_dim", given[1] if len(given) > 1 else 0),
        options.get("end_dim", given[2] if len(given) > 2 else -1),
    ),
    "select": lambda given, _: indexed(given[0]).picked([*[slice(None)] * given[1], given[2]]),
    "softmax": lambda given, options: softened(value_of(given[0]), ops.softmax, _dim(given, options)),
    "log_softmax": lambda given, options: softened(value_of(given[0]), ops.log_softmax, _dim(given, options)),
    "leaky_relu": lambda given, options: value_of(given[0]).of(
        ops.leaky_relu(value_of(given[0]).tensor, options.get("negative_slope", given[1] if len(given) > 1 else 0.01))
    ),
    "elu": lambda given, options: value_of(given[0]).of(
        ops.elu(value_of(given[0]).tensor, options.get("alpha", given[1] if len(given) > 1 else 1.0))
    ),
    "gelu": lambda given, options: value_of(given[0]).of(
        ops.gelu(value_of(given[0]).tensor, options.get("approximate", "none") == "tanh")
    ),
}
