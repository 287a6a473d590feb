"""The nodes of a described `forward` as values: its calls one by one, with the layers made for its modules."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from processor.model.convert.pytorch.calls import called
from processor.model.convert.pytorch.constants import Constant
from processor.model.convert.pytorch.description import RECURRENT, Description
from processor.model.convert.pytorch.loops import named
from processor.model.convert.pytorch.modules import Built, module_of
from processor.model.convert.pytorch.sizes import SAMPLES
from processor.model.convert.pytorch.values import Unknown, Zeros

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Node = dict[str, Any]


@dataclass
class Evaluation:
    """made: the layers of each module: one that is called again is the same.

    nodes: those of the description, or of the body of a loop in it, which makes layers of its own.
    """

    description: Description
    nodes: list[Node] | None = None
    made: dict[str, Built] = field(default_factory=dict)

    def value(self, node: Mapping[str, Any], values: Sequence[Any]) -> Any:
        """What a node gives, `values` being what those before it gave.

        Raises:
            InTheWay: it has no counterpart here.
        """
        kind = node["op"]
        if kind == "lengths":
            return SAMPLES
        if kind == "weight":
            weight = self.description.weights.get(node["name"])
            return Zeros() if weight is None else Constant(weight)
        if kind in ("fixed", "output"):
            return None
        given = filled(node["args"], values)
        options = {name: filled(value, values) for name, value in node["kwargs"].items()}
        if kind == "module":
            return self._module(node["name"])(*given, **options)
        return called(node["name"], given, options)

    def fill(self) -> None:
        """Gives the layers their weights: they take them only once they were called."""
        for built in self.made.values():
            for layer, weights in built.weighted:
                layer.set_weights(weights)

    def _module(self, name: str) -> Any:
        if name not in self.made:
            told = self.description.modules[name]
            prefix = f"{name}." if name else ""
            weights = {
                key[len(prefix) :]: value for key, value in self.description.weights.items() if key.startswith(prefix)
            }
            label = plain(name or told["kind"].lower())
            self.made[name] = module_of(told["kind"], told["options"], weights, label, self._asks_states(name))
        return self.made[name].call

    def _asks_states(self, name: str) -> bool:
        """Whether anything but the output takes the states of a recurrent module."""
        nodes = self.description.nodes
        if self.nodes is not None:
            return True
        if self.description.modules[name]["kind"] not in RECURRENT:
            return False
        calls = {n for n, node in enumerate(nodes) if node["op"] == "module" and node["name"] == name}
        taken = {
            n
            for n, node in enumerate(nodes)
            if node.get("name") == "getitem" and _of(node) in calls and node["args"][1] == 1
        }
        return any(taken & set(named(node.get("args"))) for node in nodes if node["op"] != "output")


def _of(node: Node) -> Any:
    return node["args"][0].get("node") if isinstance(node["args"][0], dict) else None


def filled(value: Any, values: Sequence[Any]) -> Any:
    """An argument with the values of the nodes that it names."""
    if isinstance(value, list):
        return [filled(item, values) for item in value]
    if not isinstance(value, dict):
        return value
    if "node" in value:
        return values[value["node"]]
    if "slice" in value:
        return slice(*(filled(item, values) for item in value["slice"]))
    return Ellipsis if "ellipsis" in value else Unknown()


def plain(name: str) -> str:
    """A name that Keras takes."""
    return name.replace(".", "_").replace("/", "_")
