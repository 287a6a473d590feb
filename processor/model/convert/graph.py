"""The walk over a trained model's flat graph: every call gets a rule, or the layer in the way is named.

A tensor goes to whatever takes it, a layer may be called more than once, and each call has a state of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import keras

from processor.model.convert.along import along
from processor.model.convert.flat import Flat, flatten
from processor.model.convert.interface import Interface, ModelInput, candidates, inputs_of, outputs_of, shown, symbolic
from processor.model.convert.refusal import ConversionRefused, Obstacle
from processor.model.convert.rules import (
    RULES,
    Call,
    Collect,
    Collected,
    Flow,
    Hole,
    InTheWay,
    Piece,
    Whole,
    kind_of,
    refuse,
)
from processor.model.convert.rules.whole import arguments_by_name
from processor.model.convert.toggles import free
from processor.model.convert.tokens import known_values
from processor.model.convert.twins import Copies

if TYPE_CHECKING:
    from collections.abc import Iterator

    from processor.model.convert.interface import TimeAxis
    from processor.model.convert.rules import Rule

layers = keras.layers


@dataclass(frozen=True, eq=False)
class Graph:
    """A model whose every call has a rule.

    inputs and outputs: the numbers of their tensors, in the order of the interface; flows and tensors (Keras' symbolic
    ones): by number; collected: whether a layer had to be given all samples at once; variables: all that a step reads;
    structure: of the model's inputs.
    """

    model: Any
    interface: Interface
    calls: tuple[Call, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    flows: dict[int, Flow]
    tensors: dict[int, Any]
    collected: bool
    variables: tuple[Any, ...]
    structure: Any

    @property
    def length(self) -> int | None:
        return self.interface.length

    def pieces(self) -> Iterator[tuple[Call, Piece]]:
        """All that is remembered between two samples, in the order of the graph."""
        for call in self.calls:
            for piece in call.pieces:
                yield call, piece


def walk(
    model: Any,
    time_axis: TimeAxis = None,
    *,
    collect: int | None = None,
    dtype: str | None = None,
    interface: Interface | None = None,
) -> Graph:
    """The calls of a model, each with its rule.

    time_axis: where time lies in the inputs, where it is given; collect: how many samples a layer is given at
    once that needs them all (None: it is in the way); dtype: of copies of the layers that compute in it, in their
    place; interface: that of an earlier walk, whose decisions stand and whose length does not.

    Raises:
        ConversionRefused: something in it cannot be stepped; the error names the first such layer.
    """
    structure, entries = inputs_of(model)
    copies = Copies(dtype) if dtype else None
    ways = candidates(entries, time_axis) if interface is None else iter([list(interface.entries)])
    refusal, is_timeless, found, flat = None, False, [], None
    for way in ways:
        # The same for all ways, but for what depends on where time lies.
        if flat is None or any(entry.any_length for entry in way) or flat.repeats:
            with free(model):
                inputs = symbolic(structure, way, -1 if interface is None else None, dtype)
                flat = flatten(model, inputs, copies, along(inputs, way))
            if copies:
                copies.fill()
        steps = _Walk(model, structure, flat, way, collect)
        try:
            graph = steps.run()
        except ConversionRefused as refused:
            # Where no time at all comes first, an axis that at least one layer took explains more.
            if refusal is None or (is_timeless and steps.calls):
                refusal, is_timeless = refused, all(entry.time is None for entry in way)
            continue
        if not graph.collected:
            return graph
        found.append(graph)
    if found:  # the least collecting way is the one that was meant
        return min(found, key=lambda graph: sum(isinstance(call.rule, Collect) for call in graph.calls))
    raise refusal or ConversionRefused(
        f"No axis of time fits all inputs of the model {model.name!r}.",
        layer=model.name,
        reason=Obstacle.NO_TIME_AXIS,
    )


@dataclass
class _Walk:
    """The numbers of the tensors, and what flows in each, as far as the walk has come."""

    model: Any
    structure: Any
    flat: Flat
    entries: list[ModelInput]
    collect: int | None
    numbers: dict[int, int] = field(default_factory=dict)
    tensors: dict[int, Any] = field(default_factory=dict)
    flows: dict[int, Flow | ConversionRefused] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)
    whole: dict[int, int] = field(default_factory=dict)  # the number of a tensor -> of the same, collected

    def run(self) -> Graph:
        self._refuse_no_time()
        inputs = tuple(
            self._number(tensor, Flow(self._sized(entry.spec.shape, entry), entry.time, constant=entry.time is None))
            for tensor, entry in zip(self.flat.inputs, self.entries, strict=True)
        )
        for node in self.flat.nodes():
            if not node.is_input:
                self._visit(node)
        outputs = tuple(self.numbers[id(tensor)] for tensor in self.flat.outputs)
        flows = [self._known(number) for number in outputs]
        known = {number: flow for number, flow in self.flows.items() if isinstance(flow, Flow)}
        exits = outputs_of(self.model, self.flat, [flow.shape for flow in flows], [flow.time for flow in flows])
        interface = Interface(
            tuple(known_values(entry, number, self.calls) for entry, number in zip(self.entries, inputs, strict=True)),
            exits,
        )
        return Graph(
            self.model,
            interface,
            tuple(self.calls),
            inputs,
            outputs,
            known,
            self.tensors,
            bool(self.whole),
            tuple({id(v): v for v in [*self.model.variables, *self.flat.graph.variables]}.values()),
            self.structure,
        )

    def _refuse_no_time(self) -> None:
        if any(entry.time is not None for entry in self.entries):
            return
        entry = self.entries[0]
        raise ConversionRefused(
            f"The input {entry.spec.name!r} of the model {self.model.name!r} has no axis of time.",
            layer=entry.spec.name,
            reason=Obstacle.NO_TIME_AXIS,
            cause=f"Its shape {shown(entry.batch_shape)} is that of a batch of single samples.",
            remedies=["Give the model an input of the shape (batch, time, features)."],
        )

    def _sized(self, shape: tuple[int | None, ...], entry: ModelInput) -> tuple[int, ...]:
        if None in shape:
            raise ConversionRefused(
                f"The input {entry.spec.name!r} of the model {self.model.name!r} is not converted.",
                layer=entry.spec.name,
                reason=Obstacle.INPUT_TYPE,
                cause=f"It takes {entry.dtype} of the shape {shown(entry.batch_shape)}: samples of any size.",
            )
        return tuple(size for size in shape if size is not None)

    def _number(self, tensor: Any, flow: Flow | ConversionRefused) -> int:
        number = self.numbers.setdefault(id(tensor), len(self.tensors))
        self.flows[number], self.tensors[number] = flow, tensor
        return number

    def _known(self, number: int) -> Flow:
        flow = self.flows[number]
        if isinstance(flow, ConversionRefused):
            raise flow
        return flow

    def _visit(self, node: Any) -> None:
        path = self.flat.path(node)
        try:
            call = self._call(node, path)
            try:
                call = self._ruled(call)
                times, lead = call.rule.times(call), call.rule.lead(call)
                pieces = call.rule.pieces(call)
            except InTheWay:
                if self.collect is None or not any(flow.time is not None for flow in call.flows):
                    raise
                call, times, lead, pieces = replace(self._collected(call), rule=RULES_WHOLE), (None,), 0, ()
        except InTheWay as obstacle:
            refusal = _refused(node.operation, path, obstacle)
            if isinstance(node.operation, keras.layers.Layer):
                raise refusal from None
            # An operation may only make a mask that nothing uses: it is refused where its result is used.
            for tensor in node.outputs:
                self._number(tensor, refusal)
            return
        if len(times) != len(node.outputs):
            times = (times[0],) * len(node.outputs)
        constant = all(flow.constant for flow in call.flows)
        targets = tuple(
            self._number(tensor, Flow(self._sample_shape(path, tensor, time), time, constant, lead))
            for tensor, time in zip(node.outputs, times, strict=True)
        )
        self.calls.append(replace(call, targets=targets, pieces=pieces))

    def _call(self, node: Any, path: str) -> Call:
        """The call as it was recorded: its arguments by name, its tensors by number."""
        layer = node.operation
        policy = getattr(layer, "dtype_policy", None)
        if getattr(policy, "quantization_mode", None) is not None:
            raise InTheWay(Obstacle.PRECISION, "", ["Convert the model as it was before it was quantized."])
        sources: list[int] = []

        def hole(value: Any) -> Any:
            if not isinstance(value, keras.KerasTensor):
                return value
            sources.append(self.numbers[id(value)])
            return Hole(len(sources) - 1)

        given = arguments_by_name(layer, node.arguments.args, node.arguments.kwargs)
        if given.get("training"):
            raise InTheWay(Obstacle.TRAINING, "", ["Call {layer} without training=True, as Keras' own predict does."])
        given.pop("training", None)
        arguments = {name: keras.tree.map_structure(hole, value) for name, value in given.items() if value is not None}
        flows = tuple(self._known(number) for number in sources)
        rank = sum(call.path == path for call in self.calls)
        return Call(layer, path, rank, tuple(sources), flows, arguments)

    def _ruled(self, call: Call) -> Call:
        """The call with its rule."""
        timed = [flow for flow in call.flows if flow.time is not None]
        kind = kind_of(call.layer)
        # The engine would stop at a token outside of the vocabulary, so an Embedding has its rule without time, too.
        is_own = kind in RULES and (kind is layers.Embedding or not kind.__module__.startswith("keras."))
        if not timed and not is_own:
            return replace(call, rule=RULES_WHOLE)
        closed = self.flat.closed.get(id(call.layer))
        if closed is not None:
            raise InTheWay(closed.reason, closed.cause, closed.remedies)
        if kind not in RULES:
            refuse(call.layer, call.flows[0] if call.flows else None)
        rule = RULES[kind].on(call)
        if timed and any(flow.time is None and not flow.constant for flow in call.flows):
            raise InTheWay(
                Obstacle.INITIAL_STATE if "initial_state" in call.arguments else Obstacle.NEEDS_FUTURE,
                "It mixes each sample with what is known only after the last one.",
                ["Let {layer} take sequences alone, or answers alone."],
            )
        if any(flow.lead for flow in call.flows) and not rule.takes_lead:
            raise InTheWay(
                Obstacle.NO_RULE,
                "Rows of zeros lie before the first sample, and only a convolution or a pooling window that is as long "
                "as they are knows what to do with them.",
                ["Use Conv1D with padding='causal' in place of the padding and {layer}."],
            )
        return replace(call, rule=rule)

    def _collected(self, call: Call) -> Call:
        """The same call, given all rows of time at once."""
        assert self.collect is not None
        sources, flows = list(call.sources), list(call.flows)
        for place, (number, flow) in enumerate(zip(call.sources, call.flows, strict=True)):
            if flow.time is None:
                continue
            if flow.lead:
                raise InTheWay(Obstacle.NO_RULE, "Rows of zeros lie before the first sample.")
            if number not in self.whole:
                self.whole[number] = self._collect(call, number, flow)
            sources[place] = self.whole[number]
            flows[place] = self._known(sources[place])
        return replace(call, sources=tuple(sources), flows=tuple(flows))

    def _collect(self, call: Call, number: int, flow: Flow) -> int:
        assert self.collect is not None
        assert flow.time is not None
        shape = (*flow.shape[: flow.time - 1], self.collect, *flow.shape[flow.time - 1 :])
        target = len(self.tensors)
        self.flows[target], self.tensors[target] = Flow(shape, None), self.tensors[number]
        taker = Collected(f"{call.path}.rows", self.collect, "float" in str(self.tensors[number].dtype))
        path, rank = f"{call.path}.rows", sum(other.path == f"{call.path}.rows" for other in self.calls)
        one = Call(taker, path, rank, (number,), (flow,), {}, (target,), (), RULES_COLLECT)
        self.calls.append(replace(one, pieces=RULES_COLLECT.pieces(one)))
        return target

    def _sample_shape(self, path: str, tensor: Any, time: int | None) -> tuple[int, ...]:
        shape = [size for axis, size in enumerate(tensor.shape) if axis not in (0, time)]
        if self.collect is not None:
            shape = [self.collect if size is None else size for size in shape]
        if None in shape:
            raise ConversionRefused(
                f"The layer {path!r} cannot be stepped one sample at a time.",
                layer=path,
                reason=Obstacle.NO_RULE,
                cause=f"It gives the shape {shown(tensor.shape)}, in which not only time is of any size.",
            )
        return tuple(shape)


RULES_WHOLE: Rule = Whole()
RULES_COLLECT: Rule = Collect()


def _refused(layer: Any, path: str, obstacle: InTheWay) -> ConversionRefused:
    what = "layer" if isinstance(layer, keras.layers.Layer) else "operation"
    return ConversionRefused(
        f"The {what} {path!r} ({type(layer).__name__}) cannot be stepped one sample at a time.",
        layer=path,
        reason=obstacle.obstacle,
        cause=obstacle.cause,
        remedies=[remedy.replace("{layer}", repr(path)) for remedy in obstacle.remedies],
    )
