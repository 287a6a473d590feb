"""Other modes for a model, each tried before it is offered: a mode that is advised and then fails helps nobody.

A trial builds the step of a mode, steps a few random sequences by it, and holds the answers against the model's own. It
is no certificate: it takes a second where that takes a minute, and finds what is in the way of the whole mode.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import tensorflow as tf

from processor.errors import ConfigError
from processor.model.convert.modes import PASSABLE, build, own_length
from processor.model.convert.reference import Reference, scaled_error
from processor.model.convert.refusal import ConversionRefused, Obstacle
from processor.model.convert.remedies import Again
from processor.model.convert.sequences import random_sequences
from processor.model.convert.stepgraph import flatbuffer, operations, plan, traced

if TYPE_CHECKING:
    from collections.abc import Sequence

    from processor.model.convert.interface import TimeAxis
    from processor.model.convert.modes import Built
    from processor.model.convert.sequences import Sequences
    from processor.model.convert.stepgraph import Step

_IN_ORDER: Final = ("carry", "tumbling", "window")
LONGEST_TRIAL: Final = 128
"""Samples of a window that is tried: its step holds the model once for each, and takes as long to build."""
_ANY_LENGTH: Final = 4
"""Samples that are tried where the model takes sequences of any length."""
_TOLERANCE: Final = 1e-4
"""What a step may err in a trial. (The certificate is stricter; a mode that is wrong is wrong by more.)"""
_IN_LITERT: Final = frozenset(
    {
        "AddV2", "All", "Any", "AvgPool", "BatchMatMulV2", "BiasAdd", "Cast", "ConcatV2", "Const", "Conv2D",
        "DepthwiseConv2dNative", "Equal", "Exp", "ExpandDims", "Fill", "GatherV2", "Greater", "GreaterEqual",
        "Identity", "LeakyRelu", "Less", "LessEqual", "LogicalAnd", "LogicalNot", "LogicalOr", "MatMul",
        "Max", "MaxPool", "Maximum", "Mean", "Min", "Minimum", "Mul", "Neg", "NoOp", "NotEqual", "Pack", "Pad", "PadV2",
        "Placeholder", "Range", "ReadVariableOp", "RealDiv", "Relu", "Reshape", "ResourceGather", "ReverseV2", "Rsqrt",
        "Select", "SelectV2", "Shape", "Sigmoid", "Softmax", "Split", "SplitV", "Sqrt", "Square",
        "SquaredDifference", "Squeeze", "StopGradient", "StridedSlice", "Sub", "Sum", "Tanh", "Tile", "Transpose",
        "Unpack", "ZerosLike",
    }
)  # fmt: skip
"""Operations that LiteRT was seen to have, in steps that were converted. With any other, a trial converts, too."""


def with_other_modes(
    refusal: ConversionRefused, model: Any, mode: str, length: int | None, time_axis: TimeAxis
) -> ConversionRefused:
    """The refusal of a mode with those of its calls that work, and then the other modes that work.

    What a layer's rule advises is prose, and stays.
    """
    if refusal.reason is Obstacle.NOT_EXACT and refusal.advice:  # what float32 costs the model, in any mode
        return refusal
    own = _own(model, time_axis)
    advice = [one for one in refusal.advice if isinstance(one, str) or _holds(one, model, own, time_axis)]
    if refusal.reason in PASSABLE or refusal.reason is Obstacle.MODE:
        # Where a step is not exact, the same step begun afresh now and then is not either.
        stepped = refusal.reason is Obstacle.NOT_EXACT and mode != "window"
        tried = ("window",) if stepped else _IN_ORDER
        found = other_modes(model, mode, own, length, time_axis, tried)
        advice += (one for one in found if one not in advice)
    return ConversionRefused(
        refusal.fact,
        layer=refusal.layer,
        reason=refusal.reason,
        cause=refusal.cause,
        remedies=advice,
        report=refusal.report,
    )


def other_modes(
    model: Any,
    mode: str,
    own: int | None,
    length: int | None,
    time_axis: TimeAxis,
    tried: Sequence[str] = _IN_ORDER,
) -> list[Again]:
    """The modes beside `mode` (auto: carry) that work for the model, as calls, of those that are to be tried.

    `own`: the T that the model is fixed to; `length`: what the user gave.
    """
    found = []
    for other in tried:
        if other == ("carry" if mode == "auto" else mode):
            continue
        options: dict[str, Any] = {"mode": other}
        if other == "carry":
            options["length"] = None  # where the user gave one
        elif own is None:
            options["length"] = length or "N"
        if works(model, other, None if other == "carry" else own or length or _ANY_LENGTH, time_axis):
            found.append(Again(options))
    return found


def _own(model: Any, time_axis: TimeAxis) -> int | None:
    try:
        return own_length(model, time_axis)
    except Exception:  # it cannot be walked in any mode: none will work
        return None


def _holds(again: Again, model: Any, own: int | None, time_axis: TimeAxis) -> bool:
    mode, length = again.options["mode"], again.options.get("length")
    return works(model, mode, length or (None if mode == "carry" else own), time_axis)


def works(model: Any, mode: str, length: int | None, time_axis: TimeAxis) -> bool:
    """Whether a trial of the mode succeeds. A window beyond LONGEST_TRIAL is not tried, and so not offered."""
    if mode == "window" and (length or 0) > LONGEST_TRIAL:
        return False
    try:
        built = build(model, mode, length, time_axis)
        step = plan(built.machine)
        function = traced(step, model.name)
        if not operations(function) <= _IN_LITERT:
            flatbuffer(step, model.name)
        return _says_the_same(built, step, function)
    except (ConversionRefused, ConfigError):
        return False
    except Exception:  # whatever code of the user's own raises: what cannot be tried is not offered
        return False


def _says_the_same(built: Built, step: Step, function: Any) -> bool:
    """The first answers of the trained model's own, against the step's: after one, two, three samples, or after T."""
    last = built.length if built.at_length and built.length else 3
    lengths = [last, *([last + 1] if built.mode == "window" else [])] if built.at_length else [1, 2, last]
    sequences = random_sequences(built.interface, max(lengths), 3)
    answers = _answers(step, function, sequences)
    truth = Reference(built.model, built.structure, built.interface, at_length=built.at_length)
    for t in lengths:
        if not built.at_length and built.length is not None and t > built.length:
            continue
        start = t - last if built.at_length else 0
        known = truth.newest(sequences.part(start, t))
        if max(scaled_error(a, b) for a, b in zip(answers[t - 1], known, strict=True)) > _TOLERANCE:
            return False
    return True


def _answers(step: Step, function: Any, sequences: Sequences) -> list[list[Any]]:
    """The step's outputs after each sample, run by TensorFlow."""
    floats = sum(slot.stop - slot.start for slot in step.layout if slot.dtype == "float32")
    words = {"float32": step.initial[:floats], "int32": step.initial[floats:].view(np.int32)}
    state = [np.repeat(words[kind][None], sequences.rows, axis=0) for kind in step.widths]
    answers = []
    for t in range(sequences.length):
        sample = sequences.at(t)
        given = [tf.constant(sample[spec.name]) for spec in step.interface.inputs]
        found = function(*given, *map(tf.constant, state))
        state = [np.asarray(found[name]) for name in step.following]
        answers.append([np.asarray(found[f"output_{rank}"]) for rank in range(len(step.interface.exits))])
    return answers
