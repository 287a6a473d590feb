"""Describes a PyTorch model in a file, where PyTorch is. Neither Keras nor TensorFlow is needed there.

`torch.fx` follows `forward` on symbolic tensors; what it calls is written down with the weights, and with the model's
own answers to random sequences, so that whoever converts the file can hold the artifact against PyTorch itself. All of
that happens on copies: the model that is given stays as it is.
"""

from __future__ import annotations

import functools
import inspect
import operator
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from processor.errors import ConfigError
from processor.extras import MissingExtra
from processor.model.convert.pytorch.copies import changed, copy_of, kept_by
from processor.model.convert.pytorch.description import ENDING, RECURRENT, Description, outputs_of
from processor.model.convert.pytorch.inputs import Argument, arguments_of
from processor.model.convert.pytorch.loops import rolled
from processor.model.convert.refusal import ConversionRefused, Obstacle, in_its_words

if TYPE_CHECKING:
    import os

    from numpy.typing import NDArray

    Shape = tuple[int | None, ...]

ROWS: Final = 8
SAMPLES: Final = 24
_FOLLOWED: Final = (3, 13)
"""Rows and samples of the example that `forward` is followed with."""
_OPTIONS: Final = (
    "input_size", "hidden_size", "num_layers", "bias", "batch_first", "bidirectional", "proj_size", "nonlinearity",
    "in_features", "out_features", "num_embeddings", "embedding_dim", "padding_idx", "max_norm", "dim", "p",
    "negative_slope", "alpha", "approximate", "normalized_shape", "eps", "elementwise_affine", "num_features", "affine",
    "start_dim", "end_dim", "min_val", "max_val", "beta", "threshold", "in_channels", "out_channels", "kernel_size",
    "stride", "padding", "dilation", "groups", "padding_mode", "value",
)  # fmt: skip


def is_pytorch(model: Any) -> bool:
    """Whether an object is a torch.nn.Module. (Asked without importing it.)"""
    return any(f"{kind.__module__}.{kind.__name__}" == "torch.nn.modules.module.Module" for kind in type(model).__mro__)


def export_pytorch(
    module: Any,
    path: str | os.PathLike[str],
    shape: Shape | Mapping[str, Shape] | None = None,
    batch_first: bool | None = None,
    samples: int = SAMPLES,
) -> None:
    """Writes a PyTorch model as a file that `convert` and `verify` take. Needs PyTorch, and no Keras.

    The model stays as it is: a copy is followed and called.

    Args:
        module: the model.
        path: ends in .npz.
        shape: of one sequence as `forward` takes it, without the axis of the batch; None for any number of samples, as
            in (None, 3). By default it comes from the first layer. With several inputs: a mapping by parameter name.
        batch_first: whether the batch is the first axis of `forward`; by default as in its first recurrent layer.
        samples: up to how many samples the model's own outputs are recorded, for the certificate.

    Raises:
        ConfigError: `path` has another ending, or the shape must be given.
        ConversionRefused: its `forward` cannot be followed, fails, or returns something else the second time.
    """
    target = Path(path)
    if target.suffix != ENDING:
        raise ConfigError(
            f"{target} is no name for a described model.", f"Its ending is {target.suffix!r}.", "Use .npz."
        )
    describe(module, shape, batch_first, samples).write(target)


def describe(
    module: Any,
    shape: Shape | Mapping[str, Shape] | None = None,
    batch_first: bool | None = None,
    samples: int = SAMPLES,
) -> Description:
    """The description of a PyTorch model. Raises as `export_pytorch`."""
    try:
        import torch
    except ImportError as error:
        raise MissingExtra("export_pytorch needs PyTorch.", "torch", error) from error

    followed = copy_of(module)
    if _is_layer(module, torch):
        arguments = [_of_a_layer(module, shape, batch_first)]
        nodes = _calls_of_a_layer(module, arguments[0])
        used = {"": followed}
    else:
        nodes, used, arguments = _followed(module, followed, shape, batch_first)
    modules = {name: _options(some) for name, some in used.items()}
    places = [place for _, place, _ in outputs_of(nodes, modules)]
    asked = copy_of(module)
    inputs, lengths, answers = _recorded(asked, torch, arguments, places, samples)
    weights = _weights(asked, followed, used, nodes)
    return Description(nodes, modules, str(torch.__version__), lengths, weights, inputs, answers)


def _is_layer(module: Any, torch: Any) -> bool:
    return type(module).__module__.startswith("torch.nn.") and type(module) is not torch.nn.Sequential


def _of_a_layer(module: Any, shape: Any, batch_first: bool | None) -> Argument:
    class Graph:
        nodes = ()

    first = getattr(module, "batch_first", True) if batch_first is None else batch_first
    (argument,) = arguments_of(["x"], Graph, module, shape, first)
    return argument


def _calls_of_a_layer(module: Any, argument: Argument) -> list[dict[str, Any]]:
    calls = [argument.node(), {"op": "module", "name": "", "args": [{"node": 0}], "kwargs": {}}]
    if type(module).__name__ in RECURRENT:
        calls.append({"op": "call", "name": "getitem", "args": [{"node": 1}, 0], "kwargs": {}})
        return [*calls, {"op": "output", "args": [[{"node": 2}, None]]}]
    return [*calls, {"op": "output", "args": [{"node": 1}]}]


def _followed(
    module: Any, followed: Any, shape: Any, batch_first: bool | None
) -> tuple[list[dict[str, Any]], dict[str, Any], list[Argument]]:
    """What `forward` calls, the modules among it by name, and its arguments."""
    import torch

    from processor.model.convert.pytorch.tracing import traced

    parameters = inspect.signature(module.forward).parameters
    named = set(shape) if isinstance(shape, Mapping) else set()
    fixed = {
        name: p.default
        for name, p in parameters.items()
        if p.default is not inspect.Parameter.empty and name not in named
    }
    names = [
        name for name, p in parameters.items() if name not in fixed and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    ]
    # Once to see which layers take which argument, then with examples of these.
    first_look, _ = traced(copy_of(module), {}, fixed)
    arguments = arguments_of(names, first_look, followed, shape, batch_first)
    rows, length = _FOLLOWED[0], _fixed_length(arguments) or _FOLLOWED[1]
    rng = np.random.default_rng(17)
    examples = {one.name: torch.from_numpy(one.placed(one.drawn(rng, rows, length))) for one in arguments}
    graph, error = traced(followed, examples, fixed)
    if error is not None:
        raise _not_followed(module, f"Run on symbolic tensors, it raises: {in_its_words(error)}") from error
    numbers = {node: rank for rank, node in enumerate(graph.nodes)}
    inputs = {one.name: one.node() for one in arguments}
    found = rolled([_node(node, numbers, inputs) for node in graph.nodes], length)
    targets = {n.target for n in graph.nodes if n.op == "call_module"}
    return found, {name: followed.get_submodule(name) for name in targets}, arguments


def _fixed_length(arguments: list[Argument]) -> int | None:
    return next((one.shape[one.time] for one in arguments if one.shape and one.shape[one.time] is not None), None)


def _node(node: Any, numbers: dict[Any, int], inputs: dict[str, dict[str, Any]]) -> dict[str, Any]:
    def plain(value: Any) -> Any:
        if value in numbers if isinstance(value, type(node)) else False:
            return {"node": numbers[value]}
        if isinstance(value, slice):
            return {"slice": [plain(value.start), plain(value.stop), plain(value.step)]}
        if isinstance(value, tuple | list):
            return [plain(item) for item in value]
        if isinstance(value, dict):
            return {"dict": {str(key): plain(item) for key, item in value.items()}}
        if value is Ellipsis:
            return {"ellipsis": True}
        return value if value is None or isinstance(value, bool | int | float | str) else {"other": str(value)}

    given = {"args": plain(node.args), "kwargs": {name: plain(value) for name, value in node.kwargs.items()}}
    if node.op == "placeholder":
        name = str(node.target).lstrip("*")
        return inputs.get(name, {"op": "fixed", "name": name})
    if node.op == "call_module":
        return {"op": "module", "name": node.target, **given}
    if node.op == "get_attr":
        return {"op": "weight", "name": node.target}
    if node.op == "output":
        return {"op": "output", **given}
    name = node.target if node.op == "call_method" else node.target.__name__
    return {"op": "call", "name": str(name), **given}


def _options(module: Any) -> dict[str, Any]:
    kind = type(module)
    if hasattr(module, "parametrizations"):  # a class that PyTorch made for this one layer
        kind = kind.__bases__[0]
    # A subclass may have changed anything: it goes by a name that nothing is known of.
    name = kind.__name__ if kind.__module__.startswith("torch.nn.") else f"{kind.__module__}.{kind.__qualname__}"
    options = {option: getattr(module, option) for option in _OPTIONS if hasattr(module, option)}
    return {
        "kind": name,
        "options": {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in options.items()
            if value is None or isinstance(value, bool | int | float | str | tuple)
        },
    }


def _weights(asked: Any, followed: Any, used: dict[str, Any], nodes: list[dict[str, Any]]) -> dict[str, NDArray[Any]]:
    """What the model was trained to, by name: as its layers use it, where that is computed from something else.

    `asked`: a copy that was called, so that this was computed; `followed`: the one that holds what tracing put there.
    """
    found = dict(asked.state_dict())
    for prefix in used:
        some = asked.get_submodule(prefix)
        if "weight" not in some._parameters and getattr(some, "weight", None) is not None:
            found[f"{prefix}.weight"] = some.weight
    for node in nodes:
        if node["op"] == "weight":
            found[node["name"]] = operator.attrgetter(node["name"])(followed)
    arrays = {name: value.detach().cpu().numpy() for name, value in found.items()}
    return {name: values.astype(np.float32) for name, values in arrays.items() if values.dtype.kind == "f"}


def _recorded(
    module: Any, torch: Any, arguments: list[Argument], places: list[list[Any]], most: int
) -> tuple[Any, list[int], list[NDArray[Any]]]:
    """Random sequences, the lengths of their beginnings, and the model's own answers to these."""
    rng, inputs = np.random.default_rng(17), [one for one in arguments if not one.lengths]
    fixed = _fixed_length(inputs)
    samples = fixed or most

    def drawn(rows: int, length: int) -> list[NDArray[Any]]:
        return [one.drawn(rng, rows, length) for one in inputs]

    def asked(values: list[NDArray[Any]]) -> list[NDArray[Any]]:
        rows, length = len(values[0]), values[0].shape[1 + inputs[0].time]
        by_name = dict(zip((one.name for one in inputs), values, strict=True))
        given = [by_name[one.name] if one.name in by_name else one.drawn(rng, rows, length) for one in arguments]
        placed = {one.name: torch.from_numpy(one.placed(x)) for one, x in zip(arguments, given, strict=True)}
        try:
            with torch.no_grad():
                answer = module(*placed.values()) if _is_layer(module, torch) else module(**placed)
        except Exception as error:  # whatever a user's forward raises is about that forward
            raise _fails(module, error, length) from error
        return [functools.reduce(operator.getitem, place, answer).cpu().numpy() for place in places]

    # One sample shows a kept state best: after many, what a sequence began with is forgotten.
    before, short = kept_by(module), drawn(7, fixed or 1)
    once, again = asked(short), asked(short)
    if any(not np.allclose(a, b, rtol=1e-4, atol=1e-6) for a, b in zip(once, again, strict=True)):
        raise _remembers(module, changed(before, kept_by(module)))
    some, more = asked(drawn(7, samples)), asked(drawn(9, samples))
    longer = some if fixed else asked(drawn(7, samples + 1))
    axes = [
        (_differing(a.shape, b.shape), _differing(a.shape, c.shape)) for a, b, c in zip(some, more, longer, strict=True)
    ]
    values = drawn(ROWS, samples)
    lengths = [samples] if fixed else list(range(1, samples + 1))
    answers: list[list[NDArray[Any]]] = [[] for _ in axes]
    for length in lengths:
        parts = [np.take(x, range(length), 1 + one.time) for x, one in zip(values, inputs, strict=True)]
        for place, ((batch, time), y) in enumerate(zip(axes, asked(parts), strict=True)):
            newest = y if time is None else np.take(y, -1, time)
            answers[place].append(np.moveaxis(newest, batch - (time is not None and time < batch), 0))
    recorded = {
        one.name: np.moveaxis(x, 1 + one.time, 1).astype("int32" if one.tokens else "float32")
        for x, one in zip(values, inputs, strict=True)
    }
    return recorded, lengths, [np.stack(given, axis=1) for given in answers if given]


def _differing(one: tuple[int, ...], other: tuple[int, ...]) -> Any:
    return next((axis for axis, (a, b) in enumerate(zip(one, other, strict=True)) if a != b), None)


_PASSED: Final = (
    "Pass the state instead of keeping it: `def forward(self, x, state=None): out, state = self.lstm(x, state); return "
    "self.head(out), state`. The processor keeps one for each key."
)


def _remembers(module: Any, names: list[str]) -> ConversionRefused:
    kind, kept = type(module).__name__, ", ".join(f"self.{name}" for name in names)
    return ConversionRefused(
        f"The PyTorch model {kind} gives another output for the same input.",
        layer=kind,
        reason=Obstacle.NO_GRAPH,
        cause=f"Its forward keeps {kept} from call to call." if kept else "Its forward draws random numbers.",
        remedies=[_PASSED if kept else "Take the random numbers out of its forward, or draw them in training alone."],
    )


def _fails(module: Any, error: Exception, length: int) -> ConversionRefused:
    kind = type(module).__name__
    return ConversionRefused(
        f"The PyTorch model {kind} fails on sequences of {length} samples.",
        layer=kind,
        reason=Obstacle.NO_GRAPH,
        cause=f"Its forward raises: {in_its_words(error)}",
        remedies=[
            "Pass shape=(samples, features) if it takes one length only, and batch_first=... if it has time first.",
            _PASSED,
        ],
    )


def _not_followed(module: Any, why: str) -> ConversionRefused:
    kind = type(module).__name__
    return ConversionRefused(
        f"The PyTorch model {kind} has a forward that cannot be followed.",
        layer=kind,
        reason=Obstacle.NO_GRAPH,
        cause=why if why.endswith(".") else why + ".",
        remedies=[
            f"Write the forward of {kind} without choices that depend on the values of tensors.",
            _PASSED,
        ],
    )
