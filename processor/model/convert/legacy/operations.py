"""TensorFlow's functions and operators between the layers of a functional model, as operations of Keras 3.

From 2.4 on, Keras 2 wrote `x + y`, `tf.concat(...)`, `x[:, -1]` as layers (TFOpLambda, SlicingOpLambda) that name the
function and its arguments; before that, as nodes of a graph (TensorFlowOpLayer) with their constants aside. Both become
a call of one function here, whose parameters have TensorFlow's names.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import keras
import numpy as np
from keras import ops

from processor.model.convert.refusal import ConversionRefused, Obstacle

if TYPE_CHECKING:
    from collections.abc import Callable

_PREFIXES: Final = ("compat.v1.", "__operators__.", "math.", "nn.", "linalg.", "raw_ops.", "keras.backend.")


def _reduced(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda input_tensor, axis=None, keepdims=False: function(input_tensor, axis=_axes(axis), keepdims=keepdims)


def _axes(axis: Any) -> Any:
    return tuple(int(one) for one in axis) if isinstance(axis, list | tuple) else axis


def _one(function: Callable[[Any], Any]) -> Callable[..., Any]:
    return lambda x, **more: function(x, **more)


def _two(function: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    return lambda x, y: function(x, y)


def _squeeze(input: Any, axis: Any = None) -> Any:
    return ops.squeeze(input, axis=_axes(axis) or None)


def _split(value: Any, num_or_size_splits: Any, axis: int = 0, num: Any = None) -> Any:
    if isinstance(num_or_size_splits, list):
        return ops.split(value, [int(n) for n in np.cumsum(num_or_size_splits)[:-1]], axis=axis)
    return ops.split(value, num_or_size_splits, axis=axis)


def _unstack(value: Any, num: Any = None, axis: int = 0) -> Any:
    return ops.unstack(value, num=num, axis=axis)


def _transpose(a: Any, perm: Any = None, conjugate: bool = False) -> Any:
    return ops.transpose(a, axes=perm)


def _cast(x: Any, dtype: Any = None, DstT: Any = None) -> Any:  # noqa: N803 - the name that TensorFlow's node has
    name = str(dtype or DstT).removeprefix("DT_").lower()
    return ops.cast(x, {"float": "float32", "half": "float16", "double": "float64"}.get(name, name))


def _clip(t: Any, clip_value_min: Any, clip_value_max: Any) -> Any:
    return ops.clip(t, clip_value_min, clip_value_max)


def _softmax(logits: Any, axis: int | None = -1) -> Any:
    return ops.softmax(logits, axis=-1 if axis is None else axis)


def _matmul(a: Any, b: Any, **options: Any) -> Any:
    turned = [
        options.pop(name, False) or options.pop(other, False)
        for name, other in (("transpose_a", "adj_x"), ("transpose_b", "adj_y"))
    ]
    if any(options.values()):
        raise TypeError(f"with {', '.join(options)}")
    a, b = (ops.swapaxes(value, -1, -2) if turn else value for value, turn in zip((a, b), turned, strict=True))
    return ops.matmul(a, b)


def _where(condition: Any, x: Any = None, y: Any = None) -> Any:
    return ops.where(condition, x, y)


def _gelu(features: Any, approximate: bool = False) -> Any:
    return ops.gelu(features, approximate=approximate)


def _rectified(features: Any, threshold: float = 0.0, max_value: float | None = None, alpha: float = 0.0) -> Any:
    if threshold or max_value is not None or alpha:
        return keras.layers.ReLU(max_value=max_value, negative_slope=alpha, threshold=threshold)(features)
    return ops.relu(features)


def _normalized(x: Any, axis: Any = None, epsilon: float = 1e-12) -> Any:
    return x * ops.rsqrt(ops.maximum(ops.sum(ops.square(x), axis=_axes(axis), keepdims=True), epsilon))


def _added(inputs: Any) -> Any:
    total = inputs[0]
    for other in inputs[1:]:
        total = ops.add(total, other)
    return total


def _slice(tensor: Any, slice_spec: Any) -> Any:
    return tensor[tuple(_part(part) for part in slice_spec)]


def _part(part: Any) -> Any:
    if isinstance(part, dict) and {"start", "stop", "step"} & part.keys():
        return slice(part.get("start"), part.get("stop"), part.get("step"))
    if part == "Ellipsis" or (isinstance(part, dict) and "ellipsis" in str(part.get("class_name", "")).lower()):
        return Ellipsis
    if part is None or isinstance(part, int):
        return part
    raise TypeError(f"with the index {part!r}")


def _bias(value: Any, bias: Any, data_format: Any = None) -> Any:
    return ops.add(value, bias)


_UNARY: Final = {
    "abs": ops.abs, "exp": ops.exp, "log": ops.log, "log1p": ops.log1p, "sqrt": ops.sqrt, "rsqrt": ops.rsqrt,
    "square": ops.square, "negative": ops.negative, "neg": ops.negative, "sign": ops.sign, "sin": ops.sin,
    "cos": ops.cos, "floor": ops.floor, "ceil": ops.ceil, "round": ops.round, "sigmoid": ops.sigmoid,
    "tanh": ops.tanh, "expm1": ops.expm1, "reciprocal": ops.reciprocal, "inv": ops.reciprocal, "erf": ops.erf,
    "logical_not": ops.logical_not, "is_nan": ops.isnan, "is_finite": ops.isfinite, "relu6": ops.relu6,
    "elu": ops.elu, "selu": ops.selu, "softplus": ops.softplus, "softsign": ops.softsign, "silu": ops.silu,
    "swish": ops.silu, "log_sigmoid": ops.log_sigmoid, "zeros_like": ops.zeros_like, "ones_like": ops.ones_like,
    "identity": lambda x: x, "stop_gradient": lambda x: x, "convert_to_tensor": lambda x: x, "atan": ops.arctan,
}  # fmt: skip
_BINARY: Final = {
    "add": ops.add, "addv2": ops.add, "subtract": ops.subtract, "sub": ops.subtract, "multiply": ops.multiply,
    "mul": ops.multiply, "truediv": ops.true_divide, "divide": ops.true_divide, "realdiv": ops.true_divide,
    "div": ops.true_divide, "div_no_nan": ops.divide_no_nan, "divnonan": ops.divide_no_nan, "pow": ops.power,
    "maximum": ops.maximum, "minimum": ops.minimum, "floordiv": ops.floor_divide, "mod": ops.mod,
    "floormod": ops.mod, "greater": ops.greater, "greater_equal": ops.greater_equal, "greaterequal": ops.greater_equal,
    "less": ops.less, "less_equal": ops.less_equal, "lessequal": ops.less_equal, "equal": ops.equal,
    "not_equal": ops.not_equal, "notequal": ops.not_equal, "logical_and": ops.logical_and,
    "logicaland": ops.logical_and, "logical_or": ops.logical_or, "logicalor": ops.logical_or, "eq": ops.equal,
    "ne": ops.not_equal, "gt": ops.greater, "lt": ops.less, "ge": ops.greater_equal, "le": ops.less_equal,
    "squared_difference": lambda x, y: ops.square(ops.subtract(x, y)),
    "squareddifference": lambda x, y: ops.square(ops.subtract(x, y)),
}  # fmt: skip
_REDUCING: Final = {"mean": ops.mean, "sum": ops.sum, "max": ops.max, "min": ops.min, "prod": ops.prod}
# By name: a function whose parameters have TensorFlow's names.
FUNCTIONS: Final[dict[str, Callable[..., Any]]] = {
    **{name: _one(function) for name, function in _UNARY.items()},
    **{name: _two(function) for name, function in _BINARY.items()},
    **{f"reduce_{name}": _reduced(function) for name, function in _REDUCING.items()},
    "concat": lambda values, axis: ops.concatenate(values, axis=axis),
    "stack": lambda values, axis=0: ops.stack(values, axis=axis),
    "expand_dims": lambda input, axis: ops.expand_dims(input, axis=axis),
    "squeeze": _squeeze,
    "split": _split,
    "unstack": _unstack,
    "transpose": _transpose,
    "reshape": lambda tensor, shape: ops.reshape(tensor, tuple(int(size) for size in shape)),
    "cast": _cast,
    "clip_by_value": _clip,
    "softmax": _softmax,
    "log_softmax": lambda logits, axis=-1: ops.log_softmax(logits, axis=-1 if axis is None else axis),
    "matmul": _matmul,
    "where": _where,
    "relu": _rectified,
    "leaky_relu": lambda features, alpha=0.2: ops.leaky_relu(features, negative_slope=alpha),
    "gelu": _gelu,
    "l2_normalize": _normalized,
    "add_n": _added,
    "getitem": _slice,
    "bias_add": _bias,
    "tile": lambda input, multiples: ops.tile(input, tuple(multiples)),
    "reverse": lambda tensor, axis: ops.flip(tensor, axis=_axes(axis)),
    "cumsum": lambda x, axis=0: ops.cumsum(x, axis=axis),
    "argmax": lambda input, axis=None: ops.argmax(input, axis=axis),
    "one_hot": lambda indices, depth: ops.one_hot(indices, depth),
    "gather": lambda params, indices, axis=0: ops.take(params, indices, axis=axis),
}
# Operations of a graph whose inputs, in their order, have these names in the functions above; and their attributes.
_NODES: Final[dict[str, tuple[str, tuple[str, ...], dict[str, str]]]] = {
    "ExpandDims": ("expand_dims", ("input", "axis"), {}),
    "Squeeze": ("squeeze", ("input",), {"squeeze_dims": "axis"}),
    "Transpose": ("transpose", ("a", "perm"), {}),
    "Reshape": ("reshape", ("tensor", "shape"), {}),
    "Cast": ("cast", ("x",), {"DstT": "dtype"}),
    "Softmax": ("softmax", ("logits",), {}),
    "LogSoftmax": ("log_softmax", ("logits",), {}),
    "LeakyRelu": ("leaky_relu", ("features",), {"alpha": "alpha"}),
    "Relu": ("relu", ("features",), {}),
    "Select": ("where", ("condition", "x", "y"), {}),
    "SelectV2": ("where", ("condition", "x", "y"), {}),
    "MatMul": ("matmul", ("a", "b"), {"transpose_a": "transpose_a", "transpose_b": "transpose_b"}),
    "BatchMatMulV2": ("matmul", ("a", "b"), {"adj_x": "adj_x", "adj_y": "adj_y"}),
    "BiasAdd": ("bias_add", ("value", "bias"), {}),
    "ClipByValue": ("clip_by_value", ("t", "clip_value_min", "clip_value_max"), {}),
    "Tile": ("tile", ("input", "multiples"), {}),
    "ReverseV2": ("reverse", ("tensor", "axis"), {}),
    "ArgMax": ("argmax", ("input", "axis"), {}),
}
_NODES_OF_ONE: Final = {
    "IsNan": "is_nan", "LogicalNot": "logical_not", "ZerosLike": "zeros_like", "OnesLike": "ones_like",
    "StopGradient": "stop_gradient",
}  # fmt: skip


@dataclass(eq=False)
class Operation:
    """A function that the file calls between its layers. node, constants: of a graph's node."""

    name: str
    layer: str
    node: dict[str, Any] = field(default_factory=dict)
    constants: dict[int, Any] = field(default_factory=dict)

    def __call__(self, given: Any, options: dict[str, Any]) -> Any:
        """The function on a tensor (or several) and its other arguments.

        Raises:
            ConversionRefused: it is not one that has a counterpart here.
        """
        try:
            if self.node:
                return self._as_node(given if isinstance(given, list) else [given])
            function = FUNCTIONS.get(_plain(self.name))
            if function is None:
                raise TypeError("it has no counterpart")
            options = {key: _constant(key, value) for key, value in options.items() if key != "name"}
            if options.get("dtype", "") is None:
                del options["dtype"]
            return function(_constant("", given), **options)
        except (TypeError, ValueError, KeyError, IndexError) as error:
            raise ConversionRefused(
                f"The file calls TensorFlow's {self.name}, which is not known here in this form.",
                layer=self.layer,
                reason=Obstacle.NO_RULE,
                cause=str(error).splitlines()[0][:200] if str(error) else "",
                remedies=[f"Put a layer of Keras in the place of {self.layer!r}, and save the model again."],
            ) from error

    def _as_node(self, tensors: list[Any]) -> Any:
        kind, attributes = (
            self.name,
            {key: _attribute(value) for key, value in self.node.get("attr", {}).items() if value},
        )
        rest = iter(tensors)
        count = len(self.constants) + len(tensors)
        given = [self.constants[place] if place in self.constants else next(rest) for place in range(count)]
        if kind == "ConcatV2":
            return FUNCTIONS["concat"](given[:-1], axis=given[-1])
        if kind in ("Pack", "AddN"):
            return ops.stack(given, axis=attributes.get("axis", 0)) if kind == "Pack" else _added(given)
        if kind == "Unpack":
            return _unstack(given[0], axis=attributes.get("axis", 0))
        if kind == "Split":
            return _split(given[1], attributes["num_split"], axis=given[0])
        if kind == "SplitV":
            return _split(given[0], given[1], axis=given[2])
        if kind == "StridedSlice":
            return given[0][_slices(given[1], given[2], given[3], attributes)]
        if kind.lower() in _REDUCING:
            return FUNCTIONS[f"reduce_{kind.lower()}"](*given, keepdims=bool(attributes.get("keep_dims")))
        if kind in _NODES:
            name, parameters, renamed = _NODES[kind]
            options = {to: attributes[key] for key, to in renamed.items() if key in attributes}
            return FUNCTIONS[name](**dict(zip(parameters, given, strict=True)), **options)
        name = _NODES_OF_ONE.get(kind, kind.lower())
        if name not in _UNARY and name not in _BINARY:
            raise TypeError("it has no counterpart")
        return FUNCTIONS[name](*(_constant("y", value) for value in given))


def operation_of(entry: dict[str, Any]) -> Operation | None:
    """The operation that an entry of a file stands for; None where it is a layer."""
    kind, settings = entry["class_name"], entry["config"]
    if not isinstance(settings, dict):
        return None
    label = str(entry.get("name") or settings.get("name") or kind)
    if kind in ("TFOpLambda", "SlicingOpLambda"):
        return Operation(str(settings["function"]), label)
    if kind == "TensorFlowOpLayer":
        node = settings["node_def"]
        node = json.loads(node) if isinstance(node, str) else node
        constants = {int(place): value for place, value in (settings.get("constants") or {}).items()}
        return Operation(str(node["op"]), label, node, constants)
    return None


def _plain(name: str) -> str:
    for prefix in _PREFIXES:
        name = name.removeprefix(prefix)
    return name


def _constant(key: str, value: Any) -> Any:
    """A list of numbers in the place of a tensor is an array; that of a shape or of axes stays."""
    if key in ("", "x", "y", "condition", "bias", "clip_value_min", "clip_value_max") and isinstance(value, list):
        flat = keras.tree.flatten(value)
        if flat and all(isinstance(item, int | float) for item in flat):
            kind = bool if isinstance(flat[0], bool) else np.float32
            return np.asarray(value, kind)
    return value


def _attribute(value: dict[str, Any]) -> Any:
    kind, content = next(iter(value.items()))
    if kind == "i":
        return int(content)
    if kind == "list":
        return [int(item) for item in content.get("i", [])]
    return content


def _slices(begin: Any, end: Any, strides: Any, masks: dict[str, Any]) -> tuple[Any, ...]:
    """The index that a StridedSlice stands for: masks have a bit for each place."""

    def at(name: str, place: int) -> bool:
        return bool(int(masks.get(name, 0)) >> place & 1)

    index: list[Any] = []
    for place, (start, stop, step) in enumerate(zip(begin, end, strides, strict=True)):
        if at("ellipsis_mask", place):
            index.append(Ellipsis)
        elif at("new_axis_mask", place):
            index.append(None)
        elif at("shrink_axis_mask", place):
            index.append(int(start))
        else:
            bounds = (None if at("begin_mask", place) else int(start), None if at("end_mask", place) else int(stop))
            index.append(slice(*bounds, int(step)))
    return tuple(index)
