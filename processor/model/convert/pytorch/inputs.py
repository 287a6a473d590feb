"""What a PyTorch model's `forward` takes: its arguments' shapes, types and meanings, by what it does with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from processor.errors import ConfigError
from processor.model.convert.pytorch.description import RECURRENT

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

    Shape = tuple[int | None, ...]

_SAME: Final = {"contiguous", "float", "long", "int", "to", "double", "clone", "detach", "cpu", "cuda", "dropout",
                "clamp", "squeeze", "unsqueeze", "requires_grad_", "flatten_parameters"}  # fmt: skip
_TURNING: Final = {"transpose", "permute", "swapaxes"}
_PICKING: Final = {"getitem", "select", "split", "unbind", "chunk", "pad"}
_WIDTHS: Final = ("input_size", "in_features", "in_channels")


@dataclass
class Argument:
    """One argument. shape: of one sequence, without the batch; time, batch: their axes, of `shape` and of the tensor;

    lengths: it is how many samples each row of a batch has, and no tensor of numbers.
    """

    name: str
    shape: Shape = ()
    time: int = 0
    batch: int = 0
    tokens: bool = False
    vocabulary: int | None = None
    lengths: bool = False

    def node(self) -> dict[str, Any]:
        """As it is described."""
        if self.lengths:
            return {"op": "lengths", "name": self.name}
        return {
            "op": "input", "name": self.name, "shape": list(self.shape), "time": self.time, "batch": self.batch,
            "tokens": self.tokens, "vocabulary": self.vocabulary,
        }  # fmt: skip

    def drawn(self, rng: Generator, rows: int, length: int) -> NDArray[Any]:
        """Random numbers [rows, *shape]; of lengths, that each row is whole."""
        if self.lengths:
            return np.full(rows, length, np.int64)
        shape = [rows, *(length if axis == self.time else int(size or 0) for axis, size in enumerate(self.shape))]
        numbers = rng.integers(0, self.vocabulary or 2, shape) if self.tokens else rng.standard_normal(shape)
        return numbers.astype(np.int64 if self.tokens else np.float32)

    def placed(self, values: NDArray[Any]) -> NDArray[Any]:
        """The numbers as `forward` takes them."""
        return np.ascontiguousarray(np.moveaxis(values, 0, self.batch))


def arguments_of(
    names: list[str], graph: Any, module: Any, shape: Shape | Mapping[str, Shape] | None, batch_first: bool | None
) -> list[Argument]:
    """What is known of these arguments from the calls (torch.fx nodes) that they go into, as far as these are known.

    Raises:
        ConfigError: a shape is missing.
    """
    uses = list(_uses(graph, module))
    found = []
    for name in names:
        mine = [use for use in uses if use.name == name]
        given = shape.get(name) if isinstance(shape, Mapping) else shape
        if any(use.lengths for use in mine) and given is None:
            found.append(Argument(name, lengths=True))
            continue
        recurrent = next((use for use in mine if use.kind in RECURRENT), None)
        first = batch_first
        if first is None and recurrent is not None:
            first = recurrent.options.batch_first != recurrent.is_time_turned
        vocabularies = [use.options.num_embeddings for use in mine if use.kind == "Embedding"]
        given = (None,) if given is None and vocabularies else given or _shape(name, mine, module, len(names))
        time = given.index(None) if None in given else 0
        batch = 1 if first is False else 0
        found.append(Argument(name, given, time, batch, bool(vocabularies), min(vocabularies, default=None)))
    return found


@dataclass
class _Use:
    """A module that takes an argument, maybe turned round; or that it goes where lengths go."""

    name: str
    kind: str = ""
    options: Any = None
    turns: tuple[tuple[int, ...], ...] = ()
    lengths: bool = False

    @property
    def is_time_turned(self) -> bool:
        """Whether batch and time changed places on the way: what turns the last axis does not do that."""
        return sum(turn[:2] in ((0, 1), (1, 0)) and turn != (0, 1, 2) for turn in self.turns) % 2 == 1


def _shape(name: str, uses: list[_Use], module: Any, count: int) -> Shape:
    """Features behind time, but before a convolution that takes the argument as it is."""
    for use in uses:
        width = next((getattr(use.options, key) for key in _WIDTHS if hasattr(use.options, key)), None)
        if width is not None:
            return (width, None) if use.kind == "Conv1d" and not use.turns else (None, width)
    if count == 1:
        for some in module.modules():
            if hasattr(some, "num_embeddings"):
                break
            width = next((getattr(some, key) for key in _WIDTHS if hasattr(some, key)), None)
            if width is not None:
                return (None, width)
    raise ConfigError(
        f"The shape of the input {name!r} is missing.",
        "No layer takes it as it is.",
        "Pass shape=(None, features), or a dict of shapes by the names of forward's parameters.",
    )


def _uses(graph: Any, module: Any) -> Any:
    for node in graph.nodes:
        if node.op == "call_module" and node.args:
            name, turns = _source(node.args[0])
            some = module.get_submodule(node.target)
            kind = type(some).__name__.removeprefix("Parametrized")
            if name is not None:
                yield _Use(name, kind, some, tuple(turns))
        elif node.op == "call_function" and node.target.__name__ == "pack_padded_sequence":
            lengths = node.kwargs.get("lengths", node.args[1] if len(node.args) > 1 else None)
            name, _ = _source(lengths)
            if name is not None:
                yield _Use(name, lengths=True)


def _source(node: Any) -> tuple[str | None, list[tuple[int, ...]]]:
    """The argument that this is, and how it was turned round on the way."""
    turns: list[tuple[int, ...]] = []
    while hasattr(node, "op"):
        name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
        if node.op == "placeholder":
            return node.target.lstrip("*"), turns
        if node.op not in ("call_method", "call_function") or not node.args:
            break
        if name in _TURNING:
            dims = node.args[1] if isinstance(node.args[1], tuple | list) else node.args[1:]
            turns.append(tuple(int(dim) for dim in dims))
        elif name not in _SAME | _PICKING and name != "pack_padded_sequence":
            break
        node = node.args[0]
    return None, []
