"""What a PyTorch model is once it is described: the calls of its `forward`, its weights, and answers of its own.

One .npz file without code: `description` (JSON), `weight/<name>`, `input/<name>` [R, T, *sample shape] or
[R, *shape], and `answer/<n>` [R, len(lengths), ...]: the model's own predictions after the first `lengths` samples.
"""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    Arrays = dict[str, NDArray[Any]]

FORMAT: Final = 1
RECURRENT: Final = ("LSTM", "GRU", "RNN")
CELLS: Final = ("LSTMCell", "GRUCell", "RNNCell")
ENDING: Final = ".npz"
_MOST_BYTES: Final = 2 << 30
"""Unpacked. A file of a few kilobytes can claim to hold anything."""
_PARTS: Final = ("weight/", "input/", "answer/")


@dataclass(frozen=True, eq=False)
class Description:
    """nodes: what `forward` calls, in order; modules: name -> {kind, options}; version: of PyTorch.

    lengths: after how many samples the recorded answers were given.
    """

    nodes: list[dict[str, Any]]
    modules: dict[str, dict[str, Any]]
    version: str
    lengths: list[int]
    weights: Arrays = field(default_factory=dict)
    inputs: Arrays = field(default_factory=dict)
    answers: list[NDArray[Any]] = field(default_factory=list)

    def write(self, path: Path) -> None:
        """Writes the file."""
        told = {
            "format": FORMAT,
            "nodes": self.nodes,
            "modules": self.modules,
            "version": self.version,
            "lengths": self.lengths,
        }
        arrays: Arrays = {"description": np.frombuffer(json.dumps(told).encode(), np.uint8)}
        arrays |= {f"weight/{name}": values for name, values in self.weights.items()}
        arrays |= {f"input/{name}": values for name, values in self.inputs.items()}
        arrays |= {f"answer/{rank}": values for rank, values in enumerate(self.answers)}
        np.savez_compressed(path, **arrays)  # type: ignore[arg-type]

    @classmethod
    def read(cls, path: Path) -> Description:
        """Reads the file; nothing in it is run.

        Raises:
            ValueError, OSError, KeyError, zipfile.BadZipFile: it is no description, or one of another format.
        """
        with zipfile.ZipFile(path) as archive:
            if sum(item.file_size for item in archive.infolist()) > _MOST_BYTES:
                raise ValueError(f"it would take more than {_MOST_BYTES} bytes")
        with np.load(path, allow_pickle=False) as content:
            if "description" not in content:
                raise ValueError("it holds no description of a model")
            told = json.loads(content["description"].tobytes())
            arrays = {name: content[name] for name in content.files if name.startswith(_PARTS)}
        if not isinstance(told, dict) or told.get("format") != FORMAT:
            raise ValueError(f"its format is {told.get('format') if isinstance(told, dict) else None!r}, not {FORMAT}")
        if any(values.dtype.kind not in "fi" for values in arrays.values()):
            raise ValueError("not all of its arrays are numbers")
        answers = [arrays[f"answer/{rank}"] for rank in range(sum(name.startswith("answer/") for name in arrays))]
        return cls(
            list(told["nodes"]),
            dict(told["modules"]),
            str(told["version"]),
            [int(length) for length in told["lengths"]],
            {name[len("weight/") :]: values for name, values in arrays.items() if name.startswith("weight/")},
            {name[len("input/") :]: values for name, values in arrays.items() if name.startswith("input/")},
            answers,
        )


def outputs_of(nodes: list[dict[str, Any]], modules: dict[str, dict[str, Any]]) -> list[tuple[str, list[Any], int]]:
    """The outputs of `forward`: name, where each lies in what it returns, and its node. Recurrent states are none."""
    states = _states(nodes, modules)
    found: list[tuple[str, list[Any], int]] = []

    def visit(value: Any, place: list[Any], name: str) -> None:
        if isinstance(value, list):
            for rank, item in enumerate(value):
                visit(item, [*place, rank], f"output_{rank}" if rank else "output")
        elif isinstance(value, dict) and "dict" in value:
            for key in sorted(value["dict"]):
                visit(value["dict"][key], [*place, key], key)
        elif isinstance(value, dict) and "node" in value and value["node"] not in states:
            found.append((name, place, int(value["node"])))

    visit(next(node for node in nodes if node["op"] == "output")["args"][0], [], "output")
    return found


def _states(nodes: list[dict[str, Any]], modules: dict[str, dict[str, Any]]) -> set[int]:
    """The nodes that are all states of a recurrent layer, and not the one of its last."""
    pairs: set[int] = set()
    states: set[int] = set()
    recurrent = {n for n, node in enumerate(nodes) if node["op"] == "module" and _kind(node, modules) in RECURRENT}
    for number, node in enumerate(nodes):
        if node["op"] != "call" or node["name"] != "getitem" or not isinstance(node["args"][0], dict):
            continue
        taken, index = node["args"][0].get("node"), node["args"][1]
        if taken in recurrent and index == 1:
            (pairs if _kind(nodes[taken], modules) == "LSTM" else states).add(number)
        elif taken in pairs:
            states.add(number)
    return pairs | states


def _kind(node: dict[str, Any], modules: dict[str, dict[str, Any]]) -> str:
    return str(modules[node["name"]]["kind"])
