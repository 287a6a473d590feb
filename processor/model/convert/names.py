"""Names of layers as Keras and TensorFlow want them, where a trained model has others.

A model may hold equal names (in nested models, or in a layer of one's own), and names that TensorFlow refuses as scopes
(`p(fail)`, spaces, letters beyond ASCII). People see the model's own names; the graphs that are made here need none of
them.
"""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING, Any, Final

import keras

from processor.model.convert.toggles import changed

if TYPE_CHECKING:
    import contextlib
    from collections.abc import Iterable, Sequence

_NOT_IN_A_SCOPE: Final = re.compile(r"[^A-Za-z0-9_.-]")


def unique(names: Sequence[str]) -> list[str]:
    """The names, all different: the first of equal ones stays, the others get the lowest free number from their rank
    on."""
    found: list[str] = []
    taken = set(names)
    for rank, name in enumerate(names):
        own = name if name not in found else _numbered(name, rank, taken)
        taken.add(own)
        found.append(own)
    return found


def plain(name: str) -> str:
    """A name that TensorFlow takes as a scope."""
    name = _NOT_IN_A_SCOPE.sub("_", name)
    return name if not name or name[0].isalnum() or name[0] == "." else f"n{name}"


def plain_scopes() -> contextlib._GeneratorContextManager[None]:
    """Inside, Keras opens its scopes with plain names, whatever its layers are called."""
    scope = keras.src.backend.name_scope

    class Plain(scope):  # type: ignore[misc, valid-type]
        def __init__(self, name: str, **options: Any) -> None:
            super().__init__(plain(name), **options)

    return changed((keras.src.backend, "name_scope", Plain))


def plain_variables(variables: Iterable[Any]) -> contextlib.AbstractContextManager[None]:
    """Inside, TensorFlow can write these variables of Keras' down: one whose name is no scope's has another."""
    values = [variable.value for variable in variables]
    wrong = [value for value in values if not _is_plain(value.name)]
    return changed(*((value, "_handle_name", f"weight_{rank}:0") for rank, value in enumerate(wrong)))


def functional(inputs: list[Any], outputs: list[Any]) -> Any:
    """A functional keras.Model of symbolic tensors. Equal names among its calls do not matter."""
    operations = list(_operations([*inputs, *outputs]))
    names = unique([str(operation.name) for operation in operations])
    with changed(*((operation, "name", name) for operation, name in zip(operations, names, strict=True))):
        return keras.Model(inputs, outputs)


def _is_plain(variable: str) -> bool:
    path = variable.rpartition(":")[0].split("/")
    return path == [plain(part) for part in path]


def _numbered(name: str, rank: int, taken: set[str]) -> str:
    return next(other for n in itertools.count(rank) if (other := f"{name}_{n}") not in taken)


def _operations(tensors: Iterable[Any]) -> Iterable[Any]:
    """What these symbolic tensors were made by, and what that was made from; each once."""
    known: dict[int, Any] = {}
    nodes, open_ones = set(), list(tensors)
    while open_ones:
        history = open_ones.pop()._keras_history
        node = history.operation._inbound_nodes[history.node_index]
        if id(node) not in nodes:
            nodes.add(id(node))
            known[id(history.operation)] = history.operation
            open_ones += node.input_tensors
    return known.values()
