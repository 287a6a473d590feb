"""Python loops over time, rolled up again.

`torch.fx` runs a loop, so that a `forward` that calls a cell sample by sample is written down as many times as there
were samples. Where each round does the same with its own sample, and with what the round before left, that is one node:

    {"op": "loop", "over": [{"source", "dim", "kept"}], "begin": [...], "outer": [...], "body": [...],
     "next": [...], "gives": [...]}

over: which sample each round takes, along a dim of a source, which is kept with the size 1 or not; begin: what each
carried value is before the first round; outer: what all rounds take alike. The body counts its nodes behind these:
first the samples, then what is carried, then the outer ones. next: what is carried on; gives: what is taken from the
rounds, each as one tensor with the rounds as its first dim.
"""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass, field
from typing import Any, Final

Node = dict[str, Any]

_FREE: Final = {"zeros", "zeros_like", "new_zeros", "size", "getattr", "device"}
_OF_SIZES: Final = {"getitem", "add", "sub", "mul", "floordiv", "floor_divide", "to"}
_BODY: Final = "body"
"""Counts its nodes for itself."""
_FULL: Final = {"slice": [None, None, None]}


def rolled(nodes: list[Node], rounds: int) -> list[Node]:
    """The nodes of a forward that ran over `rounds` samples, each loop over them as one node."""
    skipped: set[str] = set()
    while True:
        samples = _samples(nodes, rounds)
        family = next((key for key in samples if key not in skipped), None)
        if family is None:
            return _used(nodes)
        loop = _Loop.found(nodes, samples, family, rounds)
        if loop is None:
            skipped.add(family)
        else:
            nodes = _used(loop.written())


def _samples(nodes: list[Node], rounds: int) -> dict[str, dict[int, int]]:
    """What takes single samples, all of them: where from -> the node -> which."""
    found: dict[str, dict[int, int]] = {}
    for number, node in enumerate(nodes):
        taken = _sample(nodes, node)
        if taken is not None:
            found.setdefault(json.dumps(taken[0]), {})[number] = taken[1]
    return {key: family for key, family in found.items() if set(family.values()) == set(range(rounds))}


def _sample(nodes: list[Node], node: Node) -> tuple[Node, int] | None:
    """Where a node takes one sample from, and which."""
    if node["op"] != "call" or node["name"] not in ("getitem", "select") or "node" not in _as_dict(node["args"][0]):
        return None
    source, args = node["args"][0]["node"], node["args"]
    if node["name"] == "select":
        return {"source": source, "dim": args[1], "kept": False}, args[2]
    above = nodes[source]
    if above["op"] == "call" and above["name"] in ("unbind", "split", "chunk") and type(args[1]) is int:
        rest = above["args"][1:] if above["name"] == "unbind" else above["args"][2:]
        dim = above["kwargs"].get("dim", rest[0] if rest else 0)
        kept = above["name"] != "unbind"
        return {"source": above["args"][0]["node"], "dim": dim, "kept": kept}, args[1]
    index = args[1] if isinstance(args[1], list) else [args[1]]
    places = [at for at, item in enumerate(index) if item != _FULL and item != {"ellipsis": True}]
    if len(places) != 1 or any(item == {"ellipsis": True} for item in index[: places[0]]):
        return None
    item = index[places[0]]
    if type(item) is int and item >= 0:
        return {"source": source, "dim": places[0], "kept": False}, item
    start, stop, step = _as_dict(item).get("slice", (None, None, None))
    if type(start) is int and type(stop) is int and stop == start + 1 and start >= 0 and step is None:
        return {"source": source, "dim": places[0], "kept": True}, start
    return None


def _as_dict(value: Any) -> Node:
    return value if isinstance(value, dict) else {}


def named(value: Any) -> list[int]:
    """The nodes that an argument names."""
    if isinstance(value, list):
        return [number for item in value for number in named(item)]
    if not isinstance(value, dict):
        return []
    own = [int(value["node"])] if "node" in value else []
    return own + [number for key, item in value.items() if key != _BODY for number in named(item)]


def replaced(value: Any, other: Any) -> Any:
    """An argument with another in the place of each node that it names: other(number)."""
    if isinstance(value, list):
        return [replaced(item, other) for item in value]
    if not isinstance(value, dict):
        return value
    if "node" in value:
        return other(value["node"])
    return {key: item if key == _BODY else replaced(item, other) for key, item in value.items()}


def _used(nodes: list[Node]) -> list[Node]:
    """The nodes that the output is made of, and the inputs."""
    wanted = {number for number, node in enumerate(nodes) if node["op"] in ("output", "input", "lengths", "fixed")}
    for number in reversed(range(len(nodes))):
        if number in wanted:
            wanted |= set(named(nodes[number]))
    numbers = {old: new for new, old in enumerate(sorted(wanted))}
    return [replaced(nodes[old], lambda n: {"node": numbers[n]}) for old in sorted(wanted)]


@dataclass
class _Loop:
    """blocks: the nodes of each round, the last one maybe cut short; over: the families of samples by their key."""

    nodes: list[Node]
    samples: dict[str, dict[int, int]]
    blocks: list[list[int]]
    rounds: int
    free: set[int]
    over: list[str] = field(default_factory=list)
    outer: list[int] = field(default_factory=list)
    carried: dict[int, Any] = field(default_factory=dict)

    @classmethod
    def found(cls, nodes: list[Node], samples: dict[str, dict[int, int]], family: str, rounds: int) -> _Loop | None:
        """The loop over this family of samples, None where its rounds are not alike."""
        free = {number for each in samples.values() for number in each} | _free(nodes, samples)
        order = [number for number, node in enumerate(nodes) if number not in free and node["op"] in ("call", "module")]
        starts = []
        for one in range(rounds):
            mine = {number for number, sample in samples[family].items() if sample == one}
            starts.append(next((at for at, n in enumerate(order) if mine & set(named(nodes[n]))), None))
        if None in starts or starts != sorted(set(starts)):  # type: ignore[type-var]
            return None
        bounds = [*starts, starts[-1] + starts[-1] - starts[-2]]  # type: ignore[operator]
        blocks = [order[one:other] for one, other in itertools.pairwise(bounds)]
        loop = cls(nodes, samples, blocks, rounds, free)
        return loop if loop.alike() else None

    def alike(self) -> bool:
        """Whether each round does the same; finds what is carried, and what all take."""
        if len({len(block) for block in self.blocks[:-1]}) != 1:
            return False
        places = {number: (one, at) for one, block in enumerate(self.blocks) for at, number in enumerate(block)}
        pattern = [self._pattern(number, 1, places) for number in self.blocks[1]]
        for one in range(2, self.rounds):
            for at, number in enumerate(self.blocks[one]):
                if self._pattern(number, one, places) != pattern[at]:
                    if one < self.rounds - 1:
                        return False
                    del self.blocks[one][at:]  # what follows the loop
                    break
        if _marked(pattern, "beyond"):
            return False
        self.over = sorted({name for part in pattern for name in _marked(part, "sample")})
        self.outer = sorted({number for part in pattern for number in _marked(part, "outer")})
        return all(
            self._begins(self._pattern(number, 0, places), part)
            for number, part in zip(self.blocks[0], pattern, strict=True)
        )

    def _pattern(self, number: int, one: int, places: dict[int, tuple[int, int]]) -> Any:
        def marked(other: int) -> Node:
            family = next((key for key, each in self.samples.items() if each.get(other) == one), None)
            if family is not None:
                return {"sample": family}
            if other in places:
                block, at = places[other]
                return {"body": at} if block == one else {"carried": at} if block == one - 1 else {"beyond": other}
            return {"outer": other} if other in self.free or other < self.blocks[0][0] else {"beyond": other}

        node = self.nodes[number]
        return {key: replaced(value, marked) for key, value in node.items()}

    def _begins(self, first: Any, part: Any) -> bool:
        """Whether the first round is the same but for what is carried into it; notes what that is."""
        if isinstance(part, dict) and "carried" in part:
            if any(_marked(first, mark) for mark in ("body", "sample", "beyond")):
                return False
            begin = _unmarked(first, lambda mark: {"node": mark["outer"]})
            return bool(self.carried.setdefault(part["carried"], begin) == begin)
        if isinstance(part, list) and (first is None or isinstance(first, list)):
            first = [*(first or []), *[None] * (len(part) - len(first or []))]
            return len(first) == len(part) and all(map(self._begins, first, part))
        if isinstance(part, dict) and isinstance(first, dict):
            keys = set(part) | set(first)
            return all(self._begins(first.get(key), part.get(key)) for key in keys)
        return bool(first == part)

    def written(self) -> list[Node]:
        """The nodes with the loop as one of them."""
        inside = {number: (one, at) for one, block in enumerate(self.blocks) for at, number in enumerate(block)}
        outside = [node for number, node in enumerate(self.nodes) if number not in inside]
        gives = sorted({inside[n][1] for node in outside for n in named(node) if n in inside})
        carried = sorted(self.carried)
        ahead = len(self.over) + len(carried) + len(self.outer)

        def local(mark: Node) -> Node:
            if "sample" in mark:
                return {"node": self.over.index(mark["sample"])}
            if "carried" in mark:
                return {"node": len(self.over) + carried.index(mark["carried"])}
            if "outer" in mark:
                return {"node": len(self.over) + len(carried) + self.outer.index(mark["outer"])}
            return {"node": ahead + mark["body"]}

        body = [_unmarked(self._pattern(number, 1, inside), local) for number in self.blocks[1]]
        before = sum(node["op"] == "loop" for node in self.nodes)
        loop = {
            "op": "loop",
            "name": f"loop_{before}" if before else "loop",
            "over": [json.loads(key) for key in self.over],
            "begin": [self.carried[at] for at in carried],
            "outer": [{"node": number} for number in self.outer],
            "body": body,
            "next": [ahead + at for at in carried],
            "gives": [ahead + at for at in gives],
        }
        return self._placed(loop, gives, inside)

    def _placed(self, loop: Node, gives: list[int], inside: dict[int, tuple[int, int]]) -> list[Node]:
        numbers: dict[int, int] = {}
        written: list[Node] = []

        def put(node: Node) -> int:
            written.append(node)
            return len(written) - 1

        def mapped(value: Any) -> Any:
            return replaced(value, lambda n: {"node": numbers[n]})

        end = max(inside)
        first = [n for n in range(end + 1) if n not in inside and (n < self.blocks[0][0] or n in self.free)]
        for number in first:
            numbers[number] = put(mapped(self.nodes[number]))
        for over in loop["over"]:
            over["source"] = {"node": numbers[over["source"]]}
        whole = put(loop | {key: mapped(loop[key]) for key in ("begin", "outer")})
        given = {at: put(_call("getitem", [{"node": whole}, rank])) for rank, at in enumerate(gives)}
        singly = [inside[n][1] for n in {
            n for number, node in enumerate(self.nodes)
            if number not in inside and _all_rounds(node, inside, self.rounds) is None
            for n in named(node) if n in inside
        }]  # fmt: skip
        for number, node in enumerate(self.nodes):
            if number in numbers or number in inside:
                continue
            whole_of = _all_rounds(node, inside, self.rounds)
            if whole_of is not None:
                dim = node["kwargs"].get("dim", node["args"][1] if len(node["args"]) > 1 else 0)
                joined = node["name"] != "stack"
                dim -= joined and dim < 0
                numbers[number] = put(_call("movedim", [{"node": given[whole_of]}, 0, dim]))
                if joined:
                    numbers[number] = put(_call("flatten", [{"node": numbers[number]}, dim, dim + 1]))
                continue
            for other in named(node):
                if other in inside and other not in numbers:
                    one, at = inside[other]
                    last = one == self.rounds - 1 and singly.count(at) == 1
                    numbers[other] = put(_call("getitem", [{"node": given[at]}, -1 if last else one]))
            numbers[number] = put(mapped(node))
        return written


def _call(name: str, args: list[Any]) -> Node:
    return {"op": "call", "name": name, "args": args, "kwargs": {}}


def _all_rounds(node: Node, inside: dict[int, tuple[int, int]], rounds: int) -> int | None:
    """Which node of the body is laid together over all rounds here, in their order."""
    if node["op"] != "call" or node["name"] not in ("stack", "cat", "concat", "concatenate"):
        return None
    parts = node["args"][0]
    if not isinstance(parts, list) or len(parts) != rounds or any(set(_as_dict(part)) != {"node"} for part in parts):
        return None
    places = [inside.get(part["node"], (None, None)) for part in parts]
    alike = [one for one, _ in places] == list(range(rounds)) and len({at for _, at in places}) == 1
    return places[0][1] if alike else None


def _free(nodes: list[Node], samples: dict[str, dict[int, int]]) -> set[int]:
    """Nodes that lie nowhere: zeros, sizes, and what is computed of sizes. They may come before any loop."""
    free = {number for number, node in enumerate(nodes) if node["op"] in ("weight", "fixed", "input", "lengths")}
    sizes: set[int] = set()
    early = {number for each in samples.values() for number in each} | free
    for number, node in enumerate(nodes):
        if node["op"] != "call":
            continue
        given = set(named(node))
        is_size = node["name"] in _FREE and all(n in early or n < number for n in given)
        if (is_size and given <= early | sizes) or (node["name"] in _OF_SIZES and given and given <= sizes):
            sizes.add(number)
    return free | sizes


def _marked(value: Any, key: str) -> list[Any]:
    if isinstance(value, list):
        return [name for item in value for name in _marked(item, key)]
    if not isinstance(value, dict):
        return []
    own = [value[key]] if set(value) == {key} else []
    return own + [name for item in value.values() for name in _marked(item, key)]


def _unmarked(value: Any, local: Any) -> Any:
    if isinstance(value, list):
        return [_unmarked(item, local) for item in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1 and set(value) <= {"sample", "carried", "outer", "body"}:
        return local(value)
    return {key: _unmarked(item, local) for key, item in value.items()}
