"""What goes into a model and what comes out: names, shapes, and where time lies in each."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, cast

import keras

from processor.errors import ConfigError
from processor.model.convert.flat import Flat, flatten, graph_of, not_built, not_followed
from processor.model.convert.names import unique
from processor.model.convert.refusal import ConversionRefused, Obstacle
from processor.model.convert.toggles import free
from processor.types import TensorSpec

if TYPE_CHECKING:
    from collections.abc import Iterator

    TimeAxis = int | Mapping[str, int] | None

_MOST_CANDIDATES: Final = 24
_INTEGERS: Final = ("int8", "int16", "int32", "int64", "uint8", "uint16")


@dataclass(frozen=True, slots=True)
class ModelInput:
    """One input: its spec, the model's own shape and type, and the axis of time in it (None: static).

    vocabulary: how many tokens it knows, where it is one of tokens; missing: the number that marks a sample as
    missing, where the model uses one; any_length: the shape is that of some call, whose length means nothing.
    """

    spec: TensorSpec
    batch_shape: tuple[int | None, ...]
    dtype: str
    time: int | None
    vocabulary: int | None = None
    missing: float | None = None
    any_length: bool = False

    @property
    def length(self) -> int | None:
        """The T that it is fixed to."""
        return None if self.time is None else self.batch_shape[self.time]


@dataclass(frozen=True, slots=True)
class Exit:
    """One output: its spec, and the axis of time in it (None: one answer a sequence)."""

    spec: TensorSpec
    time: int | None


@dataclass(frozen=True, slots=True)
class Interface:
    """The inputs and outputs of a model, in its own flattened order; `length` is the T that it is fixed to."""

    entries: tuple[ModelInput, ...]
    exits: tuple[Exit, ...]

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        return tuple(entry.spec for entry in self.entries)

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        return tuple(leave.spec for leave in self.exits)

    @property
    def length(self) -> int | None:
        return next((entry.length for entry in self.entries if entry.length is not None), None)


def inputs_of(model: Any) -> tuple[Any, list[ModelInput]]:
    """The structure of a model's inputs (its leaves are entries) and the entries, time not yet decided.

    Raises:
        ConversionRefused: the model was never built, or an input holds what no sample can be.
    """
    graph = graph_of(model)
    if graph is not None:
        structure = graph._inputs_struct
        tensors = keras.tree.flatten(structure)
        names = _names(structure, [tensor._keras_history.operation.name for tensor in tensors])
        layers = [tensor._keras_history.operation for tensor in tensors]
        entries = [
            _entry(model, layer, name, tuple(tensor.shape), str(tensor.dtype))
            for layer, name, tensor in zip(layers, names, tensors, strict=True)
        ]
    else:
        structure, shapes = _built_with(model)
        # What it was built with is one batch of one length: it takes others, for all that is known.
        names = _names(structure, [f"input_{rank}" if rank else "input" for rank in range(len(shapes))])
        found = [_entry(model, None, name, (None, *s[1:]), "float32") for name, s in zip(names, shapes, strict=True)]
        entries = [replace(entry, any_length=True) for entry in found]
    return structure, entries


def candidates(entries: list[ModelInput], given: TimeAxis) -> Iterator[list[ModelInput]]:
    """The ways in which time may lie in the inputs, the likeliest first."""
    axes = _given_axes(entries, given)
    several = len(entries) > 1
    choices = [[axes[entry.spec.name]] if entry.spec.name in axes else _likely(entry, several) for entry in entries]
    ways = sorted(
        itertools.product(*(list(enumerate(some)) for some in choices)), key=lambda way: sum(r for r, _ in way)
    )
    for way in ways[:_MOST_CANDIDATES]:
        found = [at(entry, time) for entry, (_, time) in zip(entries, way, strict=True)]
        lengths = {entry.length for entry in found if entry.time is not None}
        if len(lengths - {None}) <= 1 and (given is not None or not _looks_timed(found)):
            yield found


def at(entry: ModelInput, time: int | None) -> ModelInput:
    """An entry with its axis of time decided. (The walk refuses samples of any size.)"""
    shape = tuple(size for axis, size in enumerate(entry.batch_shape) if axis not in (0, time))
    spec = replace(entry.spec, shape=cast("tuple[int, ...]", shape), static=time is None)
    decided = replace(entry, spec=spec, time=time)
    return replace(decided, batch_shape=_freed(decided)) if entry.any_length else decided


def symbolic(structure: Any, entries: list[ModelInput], length: int | None = -1, dtype: str | None = None) -> Any:
    """Fresh symbolic inputs for any batch, in the structure of the model.

    length: what the axis of time measures (None: any; -1: as in the model); dtype: of the float inputs.
    """
    fresh = []
    for entry in entries:
        shape = [None, *entry.batch_shape[1:]]
        if entry.time is not None and length != -1:
            shape[entry.time] = length
        kind = dtype if dtype and "float" in entry.dtype else entry.dtype
        fresh.append(keras.Input(batch_shape=tuple(shape), dtype=kind, name=entry.spec.name.replace("/", "_")))
    return keras.tree.pack_sequence_as(structure, fresh)


def outputs_of(model: Any, flat: Flat, shapes: list[tuple[int, ...]], times: list[int | None]) -> tuple[Exit, ...]:
    """The outputs by the model's dict, else by layers; each with one sample's shape and its axis of time."""
    graph = graph_of(model)
    if graph is not None:
        structure = graph._outputs_struct
        layers = [tensor._keras_history.operation.name for tensor in keras.tree.flatten(structure)]
    else:
        structure = flat.outputs
        layers = [flat.path(_node_of(tensor)).rpartition("/")[2] for tensor in flat.outputs]
    names = _names(structure, layers)
    return tuple(Exit(TensorSpec(name, shape), time) for name, shape, time in zip(names, shapes, times, strict=True))


def output_times(model: Any, structure: Any, entries: list[ModelInput]) -> list[int | None]:
    """Where time lies in each output of a model that is run whole: the axis that is as long as the sequence."""
    free_entries = [replace(entry, batch_shape=_freed(entry)) for entry in entries]
    with free(model):
        try:
            flat = flatten(model, symbolic(structure, free_entries, None))
        except Exception:  # a model of a fixed length only
            flat = flatten(model, symbolic(structure, entries))
            length = next(entry.length for entry in entries if entry.length is not None)
            return [1 if len(y.shape) > 2 and y.shape[1] == length else None for y in flat.outputs]
    return [next((axis for axis, size in enumerate(y.shape) if axis and size is None), None) for y in flat.outputs]


def _freed(entry: ModelInput) -> tuple[int | None, ...]:
    return tuple(None if axis in (0, entry.time) else size for axis, size in enumerate(entry.batch_shape))


def _entry(model: Any, layer: Any, name: str, shape: tuple[int | None, ...], dtype: str) -> ModelInput:
    sparse, ragged = bool(getattr(layer, "sparse", False)), bool(getattr(layer, "ragged", False))
    if sparse or ragged or not ("float" in dtype or dtype in _INTEGERS) or len(shape) < 2:
        kind = "sparse " if sparse else "ragged " if ragged else ""
        raise ConversionRefused(
            f"The input {name!r} of the model {model.name!r} is not converted.",
            layer=name,
            reason=Obstacle.INPUT_TYPE,
            cause=f"It takes {kind}{dtype} of the shape {shown(shape)}.",
            remedies=["Give the model an input of numbers of the shape (batch, time, features)."],
        )
    # A sample's float64 is read as float32, and a token of any width as int32.
    spec = TensorSpec(name, (), "float32" if "float" in dtype else "int32")
    return ModelInput(spec, shape, dtype, None)


def _looks_timed(entries: list[ModelInput]) -> bool:
    """Whether an input that is to be static is as long as the sequence: one that cannot be stepped, more likely."""
    length = next((entry.length for entry in entries if entry.length is not None), None)
    return length is not None and any(entry.time is None and length in entry.batch_shape[1:-1] for entry in entries)


def _likely(entry: ModelInput, several: bool) -> list[int | None]:
    """The axes that may be time: those of any size first, then from the left; none at all, where there are others."""
    axes = range(1, len(entry.batch_shape))
    open_axes: list[int | None] = [axis for axis in axes if entry.batch_shape[axis] is None]
    if len(entry.batch_shape) == 2:
        tokens = entry.spec.dtype == "int32" or entry.batch_shape[1] is None or (entry.any_length and not several)
        return [*open_axes, *([] if open_axes or not tokens else [1]), None, *([] if open_axes or tokens else [1])]
    inner: list[int | None] = [axis for axis in axes if axis not in open_axes and axis < len(entry.batch_shape) - 1]
    return [*open_axes, *inner, *([None] if several and not open_axes else [])]


def _given_axes(entries: list[ModelInput], given: TimeAxis) -> dict[str, int]:
    if given is None:
        return {}
    ranks = {entry.spec.name: len(entry.batch_shape) for entry in entries}
    axes = dict(given) if isinstance(given, Mapping) else {name: given for name, rank in ranks.items() if rank > given}
    axes = axes or dict.fromkeys(list(ranks)[:1], int(given) if isinstance(given, int) else 0)
    for name, axis in axes.items():
        if name not in ranks or isinstance(axis, bool) or not 1 <= axis < ranks[name]:
            raise ConfigError(
                f"The axis of time {axis!r} of the input {name!r} does not exist.",
                f"The inputs are {', '.join(f'{n} with {r} axes' for n, r in ranks.items())}; axis 0 is the batch.",
                "Name an axis from 1 on, or leave it to be found.",
            )
    return axes


def _built_with(model: Any) -> tuple[Any, list[tuple[int | None, ...]]]:
    shapes = getattr(model, "_build_shapes_dict", None)
    if not model.built:
        raise not_built(model)
    if not shapes:
        raise not_followed(model, "Keras could not tell what it takes when it was called.")
    (shape,) = list(shapes.values())[:1]
    is_shape = isinstance(shape, tuple) and all(size is None or isinstance(size, int) for size in shape)
    if is_shape:
        return 0, [shape]
    items = list(shape.items()) if isinstance(shape, dict) else list(enumerate(shape))
    structure = {name: 0 for name, _ in items} if isinstance(shape, dict) else [0 for _ in items]
    ordered = sorted(items) if isinstance(shape, dict) else items
    return structure, [tuple(some) for _, some in ordered]


def _names(structure: Any, layers: list[str]) -> list[str]:
    """A name for each leaf: by the keys of a dict, else by layers; equal ones get a number."""
    if isinstance(structure, dict) and len(structure) == len(layers):
        return unique([str(key) for key in sorted(structure)])
    return unique(layers)


def _node_of(tensor: Any) -> Any:
    history = tensor._keras_history
    return history.operation._inbound_nodes[history.node_index]


def shown(shape: Any) -> str:
    """A shape as people read it."""
    return "(" + ", ".join("any" if size is None else str(size) for size in shape) + ")"
