"""Describes a PyTorch model in a file, where PyTorch is. Neither Keras nor TensorFlow is needed there.

`torch.fx` follows `forward` on symbolic tensors; what it calls is written down with the weights, and with the model's
own answers to random sequences, so that whoever converts the file can hold the artifact against PyTorch itself.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import operator
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from processor.errors import ConfigError
from processor.model.convert.pytorch.description import ENDING, RECURRENT, Description, outputs_of
from processor.model.convert.refusal import ConversionRefused, Obstacle

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

    from numpy.typing import NDArray

    Shape = tuple[int | None, ...]

ROWS: Final = 8
SAMPLES: Final = 24
_OPTIONS: Final = (
    "input_size", "hidden_size", "num_layers", "bias", "batch_first", "bidirectional", "proj_size", "nonlinearity",
    "in_features", "out_features", "num_embeddings", "embedding_dim", "padding_idx", "max_norm", "dim", "p",
    "negative_slope", "alpha", "approximate", "normalized_shape", "eps", "elementwise_affine", "num_features", "affine",
    "start_dim", "end_dim", "min_val", "max_val", "beta", "threshold",
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

    `path` ends in .npz; `shape`: of one sequence as `forward` takes it, without the axis of the batch, None for any
    number of samples: (None, 3), by default as the first layer says (several inputs: by the parameter's name);
    `batch_first`: where `forward` has the batch, by default as its first recurrent layer has it; `samples`: up to how
    many its own answers are recorded, for the certificate.

    Raises:
        ConfigError: `path` has another ending, or a shape is to be said.
        ConversionRefused: its `forward` cannot be followed.
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
    import torch

    was_training = module.training
    module.eval()
    try:
        nodes, used = _followed(module, torch)
        modules = {name: _options(some) for name, some in used.items()}
        recurrent = [some for some in modules.values() if some["kind"] in RECURRENT]
        first = recurrent[0]["options"]["batch_first"] if recurrent else True
        batch = 0 if (first if batch_first is None else batch_first) else 1
        for node in nodes:
            if node["op"] == "input":
                node |= _input(node, nodes, modules, shape, batch)
        places = [place for _, place, _ in outputs_of(nodes, modules)]
        inputs, lengths, answers = _recorded(module, torch, [n for n in nodes if n["op"] == "input"], places, samples)
    finally:
        module.train(was_training)
    weights = {name: value.detach().cpu().numpy() for name, value in module.state_dict().items()}
    floats = {name: values for name, values in weights.items() if values.dtype.kind == "f"}
    return Description(nodes, modules, str(torch.__version__), lengths, floats, inputs, answers)


def _followed(module: Any, torch: Any) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """What `forward` calls, and the modules among it by name."""
    kind = type(module)
    if kind.__module__.startswith("torch.nn.") and kind is not torch.nn.Sequential:
        calls: list[dict[str, Any]] = [{"op": "input", "name": "x"}]
        calls.append({"op": "module", "name": "", "args": [{"node": 0}], "kwargs": {}})
        if kind.__name__ in RECURRENT:
            calls.append({"op": "call", "name": "getitem", "args": [{"node": 1}, 0], "kwargs": {}})
            return [*calls, {"op": "output", "args": [[{"node": 2}, None]]}], {"": module}
        return [*calls, {"op": "output", "args": [{"node": 1}]}], {"": module}
    parameters = inspect.signature(module.forward).parameters
    fixed = {name: p.default for name, p in parameters.items() if p.default is not inspect.Parameter.empty}
    try:
        with _zeros_of_any_size(torch):
            graph = _tracer(module).trace(module, concrete_args=fixed or None)
    except Exception as error:  # whatever a user's forward raises on symbolic tensors is about that forward
        raise _not_followed(module, f"Run on symbolic tensors, it says: {str(error).splitlines()[0][:300]}") from error
    numbers = {node: rank for rank, node in enumerate(graph.nodes)}
    found = [_node(node, numbers, parameters) for node in graph.nodes]
    used = {n.target: module.get_submodule(n.target) for n in graph.nodes if n.op == "call_module"}
    return found, used


def _tracer(module: Any) -> Any:
    """Follows `forward`, and takes what a recurrent layer gives apart where it is unpacked."""
    from torch import fx

    class Followed(fx.Proxy):  # type: ignore[misc]
        def __iter__(self) -> Any:
            node, depth = self.node, 0
            while node.op == "call_function" and node.target is operator.getitem:
                node, depth = node.args[0], depth + 1
            kind = type(module.get_submodule(node.target)).__name__ if node.op == "call_module" else ""
            if (depth == 0 and kind in RECURRENT) or (depth == 1 and kind == "LSTM"):
                return iter([self[0], self[1]])
            return super().__iter__()

    class Tracer(fx.Tracer):  # type: ignore[misc]
        def proxy(self, node: Any) -> Any:
            return Followed(node, self)

    return Tracer()


@contextlib.contextmanager
def _zeros_of_any_size(torch: Any) -> Iterator[None]:
    """torch.zeros of symbolic sizes, as states are often begun with: torch.fx cannot follow it by itself."""
    own = torch.zeros

    def zeros(*given: Any, **options: Any) -> Any:
        sizes = given[0] if given and isinstance(given[0], tuple | list) else given
        proxy = next((size for size in sizes if isinstance(size, torch.fx.Proxy)), None)
        return own(*given, **options) if proxy is None else torch.zeros_like(proxy)

    torch.zeros = zeros
    try:
        yield
    finally:
        torch.zeros = own


def _node(node: Any, numbers: dict[Any, int], parameters: Mapping[str, Any]) -> dict[str, Any]:
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
        known = parameters.get(name)
        is_fixed = known is None or known.default is not inspect.Parameter.empty
        return {"op": "fixed" if is_fixed else "input", "name": name}
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


def _input(
    node: dict[str, Any], nodes: list[dict[str, Any]], modules: dict[str, Any], given: Any, batch: int
) -> dict[str, Any]:
    """An input's shape without the batch, its type, and where its batch and its samples lie."""
    mine = {"node": nodes.index(node)}
    takers = [modules[n["name"]] for n in nodes if n["op"] == "module" and mine in n["args"]]
    tokens = any(taker["kind"] == "Embedding" for taker in takers)
    shape = given.get(node["name"]) if isinstance(given, Mapping) else given
    if shape is None and tokens:
        shape = (None,)
    if shape is None:
        sizes = [taker["options"].get(name) for taker in takers for name in ("input_size", "in_features")]
        known = [size for size in sizes if size is not None]
        if not known:
            raise ConfigError(
                f"The shape of the input {node['name']!r} is to be said.",
                "No layer takes it as it is.",
                "Pass shape=(None, features), or a dict of shapes by the names of forward's parameters.",
            )
        shape = (None, known[0])
    vocabulary = min((t["options"]["num_embeddings"] for t in takers if t["kind"] == "Embedding"), default=None)
    time = shape.index(None) if None in shape else 0
    return {"shape": list(shape), "time": time, "batch": batch, "tokens": tokens, "vocabulary": vocabulary}


def _recorded(
    module: Any, torch: Any, inputs: list[dict[str, Any]], places: list[list[Any]], most: int
) -> tuple[Any, list[int], list[NDArray[Any]]]:
    """Random sequences, the lengths of their beginnings, and the model's own answers to these."""
    rng = np.random.default_rng(17)
    fixed = next((n["shape"][n["time"]] for n in inputs if n["shape"][n["time"]] is not None), None)
    samples = fixed or most

    def drawn(rows: int, length: int) -> list[NDArray[Any]]:
        found = []
        for one in inputs:
            shape = [rows, *(length if axis == one["time"] else size for axis, size in enumerate(one["shape"]))]
            numbers = rng.integers(0, one["vocabulary"] or 2, shape) if one["tokens"] else rng.standard_normal(shape)
            found.append(numbers.astype(np.int64 if one["tokens"] else np.float32))
        return found

    def asked(values: list[NDArray[Any]]) -> list[NDArray[Any]]:
        placed = [np.ascontiguousarray(np.moveaxis(x, 0, one["batch"])) for x, one in zip(values, inputs, strict=True)]
        with torch.no_grad():
            answer = module(*(torch.from_numpy(x) for x in placed))
        return [functools.reduce(operator.getitem, place, answer).cpu().numpy() for place in places]

    some, more = asked(drawn(7, samples)), asked(drawn(9, samples))
    longer = some if fixed else asked(drawn(7, samples + 1))
    axes = [
        (_differing(a.shape, b.shape), _differing(a.shape, c.shape)) for a, b, c in zip(some, more, longer, strict=True)
    ]
    values = drawn(ROWS, samples)
    lengths = [samples] if fixed else list(range(1, samples + 1))
    answers: list[list[NDArray[Any]]] = [[] for _ in axes]
    for length in lengths:
        parts = [np.take(x, range(length), 1 + one["time"]) for x, one in zip(values, inputs, strict=True)]
        for place, ((batch, time), y) in enumerate(zip(axes, asked(parts), strict=True)):
            newest = y if time is None else np.take(y, -1, time)
            answers[place].append(np.moveaxis(newest, batch - (time is not None and time < batch), 0))
    by_name = {
        one["name"]: np.moveaxis(x, 1 + one["time"], 1).astype("int32" if one["tokens"] else "float32")
        for x, one in zip(values, inputs, strict=True)
    }
    return by_name, lengths, [np.stack(some, axis=1) for some in answers if some]


def _differing(one: tuple[int, ...], other: tuple[int, ...]) -> Any:
    return next((axis for axis, (a, b) in enumerate(zip(one, other, strict=True)) if a != b), None)


def _not_followed(module: Any, why: str) -> ConversionRefused:
    kind = type(module).__name__
    return ConversionRefused(
        f"The PyTorch model {kind} has a forward that cannot be followed.",
        layer=kind,
        reason=Obstacle.NO_GRAPH,
        cause=why if why.endswith(".") else why + ".",
        remedies=[f"Write the forward of {kind} without loops and choices that depend on the values of tensors."],
    )
