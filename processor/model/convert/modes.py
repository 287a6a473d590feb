"""The modes: when a state lives on, when it starts afresh, and which machine answers in each."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import keras

from processor.errors import ConfigError
from processor.model.artifact import HELD, STEPS, static_slot
from processor.model.convert.declared import Declared, declares
from processor.model.convert.flat import flatten
from processor.model.convert.graph import Graph, walk
from processor.model.convert.interface import Exit, Interface, output_times, symbolic
from processor.model.convert.machine import Stepped, Tumbling, WholeModel, keeping
from processor.model.convert.refusal import ConversionRefused, Obstacle
from processor.model.convert.remedies import Again
from processor.model.convert.rules import Collect
from processor.model.convert.toggles import free
from processor.model.convert.twins import precisions, twin
from processor.types import TensorSpec

if TYPE_CHECKING:
    from processor.model.artifact import Mode
    from processor.model.convert.interface import TimeAxis
    from processor.model.convert.machine import Machine

_MAKE_MASKS: Final = (keras.layers.Masking, keras.layers.Embedding)
MODES: Final = ("auto", "carry", "tumbling", "window")
_MOST_STEPS: Final = 2**31 - 1
_MOST_ROWS: Final = 4096
"""Samples that a state may hold: the model runs over all of them at every one."""


@dataclass(frozen=True, eq=False)
class Built:
    """A model as it will be stepped.

    length: the N of tumbling, the T of window; exact_prefix: whether every answer is the trained model's own, and not
    only that after the last sample of a sequence; graph: the calls that are stepped, None where the model runs whole.
    """

    model: Any
    structure: Any
    machine: Machine
    mode: Mode
    length: int | None
    exact_prefix: bool
    graph: Graph | None

    @property
    def interface(self) -> Interface:
        return self.machine.interface

    @property
    def at_length(self) -> bool:
        """Whether the truth is known for sequences of the length alone."""
        return self.mode == "window" or not self.exact_prefix


def check_mode(mode: str, length: int | None) -> None:
    """Raises ConfigError for a mode or a length that no model has. (Asked before seconds are spent on loading.)"""
    if mode not in MODES:
        raise ConfigError(f"There is no mode {mode!r}.", "", f"The modes are {', '.join(MODES)}.")
    if length is not None and (isinstance(length, bool) or not 1 <= length <= _MOST_STEPS):
        raise ConfigError(
            f"The length {length} is out of range.", "", "A length is the number of samples of a sequence."
        )
    if length is not None and mode in ("auto", "carry"):
        raise ConfigError(
            f"A length means nothing in the mode {mode}.",
            "There, a key's state lives until something resets it.",
            f"To start afresh after every {length} samples: --mode tumbling --length {length}",
        )


def build(model: Any, mode: str, length: int | None, time_axis: TimeAxis) -> Built:
    """The machine of a model in a mode.

    Raises:
        ConversionRefused: the mode is not for this model, or a layer is in the way.
        ConfigError: the mode has no length.
    """
    if declares(model):
        return _declared(model, mode, length, time_axis)
    if mode == "window":
        return _window(model, length, time_axis)
    try:
        graph = walk(model, time_axis)
    except ConversionRefused as refusal:
        if mode == "tumbling" and refusal.reason in PASSABLE:
            return _inexact_tumbling(model, length, time_axis, refusal)
        raise
    stepped = graph if precisions(model) == {"float32"} else walk(model, time_axis, dtype="float32")
    machine = keeping(Stepped(stepped))
    if mode != "tumbling":
        return Built(model, graph.structure, machine, "carry", None, True, stepped)
    steps = _needed(length or graph.length, model, mode)
    return Built(model, graph.structure, Tumbling(machine, steps), "tumbling", steps, True, stepped)


PASSABLE: Final = {
    Obstacle.COLLECTS_TIME,
    Obstacle.NEEDS_FUTURE,
    Obstacle.DEPENDS_ON_POSITION,
    Obstacle.MASK,
    Obstacle.INITIAL_STATE,
    Obstacle.NO_TIME_AXIS,
    Obstacle.NO_RULE,
    Obstacle.CUSTOM_CODE,
    Obstacle.NO_GRAPH,
    Obstacle.FAILS,
    Obstacle.NOT_EXACT,
}
"""What stands in the way of steps, and not of running the whole model."""


def _declared(model: Any, mode: str, length: int | None, time_axis: TimeAxis) -> Built:
    machine = Declared(model, time_axis)
    if mode == "window":
        raise ConversionRefused(
            f"The model {model.name!r} declares its step, and is not run whole.",
            layer=model.name,
            reason=Obstacle.MODE,
            remedies=[Again({"mode": "carry"})],
        )
    if mode != "tumbling":
        return Built(model, machine.structure, keeping(machine), "carry", None, True, None)
    steps = _needed(length or machine.interface.length, model, mode)
    return Built(model, machine.structure, Tumbling(keeping(machine), steps), "tumbling", steps, True, None)


def _inexact_tumbling(model: Any, length: int | None, time_axis: TimeAxis, refusal: ConversionRefused) -> Built:
    """`tumbling` of a model that has no answer before its last sample: exact there, with zeros for what is missing."""
    graph, interface, structure = _whole(model, length, time_axis, "tumbling")
    steps = _fitting(length, interface, model, "tumbling")
    if refusal.reason is Obstacle.COLLECTS_TIME and graph is not None and precisions(model) == {"float32"}:
        return Built(model, structure, Tumbling(keeping(Stepped(graph)), steps), "tumbling", steps, False, graph)
    machine = keeping(WholeModel(_in_float32(model, structure, interface), structure, interface, steps, slides=False))
    return Built(model, structure, Tumbling(machine, steps), "tumbling", steps, False, None)


def _window(model: Any, length: int | None, time_axis: TimeAxis) -> Built:
    _, interface, structure = _whole(model, length, time_axis, "window")
    steps = _fitting(length, interface, model, "window")
    machine = keeping(WholeModel(_in_float32(model, structure, interface), structure, interface, steps, slides=True))
    return Built(model, structure, machine, "window", steps, True, None)


def _whole(model: Any, length: int | None, time_axis: TimeAxis, mode: str) -> tuple[Graph | None, Interface, Any]:
    """The model's graph with what it collects, and the interface of the model run whole, at its length."""
    own = own_length(model, time_axis)
    steps = _needed(length or own, model, mode)
    if steps > _MOST_ROWS:
        raise ConfigError(
            f"A window of {steps} samples is more than a key's state holds.",
            f"The model would run over all of them at every sample; {_MOST_ROWS} are the most.",
            "",
        )
    graph = walk(model, time_axis, collect=steps)
    entries = tuple(
        replace(entry, batch_shape=tuple(steps if a == entry.time else s for a, s in enumerate(entry.batch_shape)))
        if entry.time is not None and own is None
        else entry
        for entry in graph.interface.entries
    )
    with free(model):
        flat = flatten(model, symbolic(graph.structure, list(entries)))
    times = output_times(model, graph.structure, list(graph.interface.entries))
    exits = tuple(
        Exit(TensorSpec(leave.spec.name, tuple(s for a, s in enumerate(y.shape) if a not in (0, time))), time)
        for leave, y, time in zip(graph.interface.exits, flat.outputs, times, strict=True)
    )
    return graph, Interface(entries, exits), graph.structure


def own_length(model: Any, time_axis: TimeAxis) -> int | None:
    """The T that a model is fixed to: that of its input."""
    if declares(model):
        return Declared(model, time_axis).interface.length
    return walk(model, time_axis, collect=2).length


def _in_float32(model: Any, structure: Any, interface: Interface) -> Any:
    """The model that is run whole: itself, or its twin where it computes in another precision."""
    if precisions(model) == {"float32"}:
        return model
    return twin(model, symbolic(structure, list(interface.entries), -1, "float32"), "float32")


def _fitting(length: int | None, interface: Interface, model: Any, mode: str) -> int:
    own = interface.length
    steps = _needed(length or own, model, mode)
    if own is not None and own != steps:
        raise ConversionRefused(
            f"The model {model.name!r} takes sequences of {own} samples, not of {steps}.",
            layer=model.name,
            reason=Obstacle.MODE,
            cause=f"It runs over all samples of a {mode} at once, and was built for {own}.",
            remedies=[Again({"mode": mode, "length": own})],
        )
    return steps


def _needed(length: int | None, model: Any, mode: str) -> int:
    if length is None:
        raise ConfigError(
            f"{mode} needs a length: the model {model.name!r} takes sequences of any.",
            "The state starts afresh after that many samples."
            if mode == "tumbling"
            else "The model runs over the last samples, that many.",
            f"Give the number of samples: --mode {mode} --length N (in Python, length=N).",
        )
    return length


def layers_of(built: Built) -> list[dict[str, Any]]:
    """For the manifest and the report: what is kept of static inputs, and every call with its rule and slots; the
    layers, where the model runs whole."""
    static = [entry.spec.name for entry in built.interface.entries if entry.spec.static]
    kept = [{"name": name, "class": "Input", "rule": "static", "slots": [static_slot(name)]} for name in static]
    return [*kept, *_calls_of(built, [HELD, STEPS, *map(static_slot, static)])]


def _calls_of(built: Built, others: list[str]) -> list[dict[str, Any]]:
    """`others`: the slots that are no call's own."""
    if declares(built.model):
        slots = [name for name, _ in built.machine.pieces if name not in others]
        kind = type(built.model).__name__
        return [{"name": built.model.name, "class": kind, "rule": "its own step", "slots": slots}]
    if built.graph is None:
        return [
            {"name": layer.name, "class": type(layer).__name__, "rule": "run whole", "slots": []}
            for layer in built.model.layers
        ]
    entries = zip(built.graph.inputs, built.interface.entries, strict=True)
    called = {number: entry.spec.name for number, entry in entries if entry.spec.static}
    shown = _names(built.graph)
    called |= {target: shown[call.targets] for call in built.graph.calls for target in call.targets}
    return [
        {
            "name": shown[call.targets],
            "class": "rows" if isinstance(call.rule, Collect) else type(call.layer).__name__,
            "rule": call.rule.kind,
            "slots": [f"{call.name}.{piece.name}" for piece in call.pieces],
            "from": [name for n in call.sources if (name := called.get(n)) not in (None, shown[call.targets])],
        }
        for call in built.graph.calls
    ]


def _names(graph: Graph) -> dict[tuple[int, ...], str]:
    """What the report calls each call, by its targets. Operations that only make a mask have names that stand in
    nobody's code (`not_equal_4`): they go by the layer that makes the mask."""
    names = {call.targets: call.name if call.rank else call.path for call in graph.calls}
    used = set(graph.outputs)  # by anything else than a mask
    inside = []
    for call in reversed(graph.calls):
        if isinstance(call.layer, keras.layers.Layer) or used & set(call.targets):
            used |= {number for place, number in enumerate(call.sources) if place != call.place("mask")}
        else:
            inside.append(call)
    makers = {n: call.path for call in graph.calls if isinstance(call.layer, _MAKE_MASKS) for n in call.sources}
    for call in reversed(inside):
        maker = next((makers[number] for number in call.sources if number in makers), None)
        names[call.targets] = f"inside {maker or 'a mask'}"
        makers |= dict.fromkeys(call.targets, maker) if maker else {}
    return names
