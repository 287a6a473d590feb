"""What comes after sample N, where a model's input is of N samples: each mode does something else.

In `carry` a sequence goes on beyond what the model was trained on, in `tumbling` it starts afresh, in `window` the last
N samples count. All three are the trained model's own answers, to different questions; only the user knows which one is
meant.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from processor.model.convert.modes import build, own_length
from processor.model.convert.reference import Reference
from processor.model.convert.refusal import ConversionRefused

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from processor.model.convert.interface import TimeAxis
    from processor.model.convert.modes import Built
    from processor.model.convert.sequences import Sequences

_PLACES: Final = 16
"""Steps beyond N at which the modes are compared: spread evenly, the last one among them."""
_FARTHEST: Final = 1000
"""Samples up to which they are compared, where N is less."""
_THRESHOLD: Final = 0.5


def trained_length(built: Built, time_axis: TimeAxis) -> int | None:
    """The number of samples that the model's input names; None where it takes any, and where it takes one at a time."""
    graph = built.graph
    length = graph.length if graph is not None and not built.at_length else own_length(built.model, time_axis)
    return length if length is not None and length > 1 else None


def apart(built: Built, trained: int | None, given: Sequences | None, time_axis: TimeAxis) -> dict[str, Any] | None:
    """How far the modes are apart on the user's sequences after sample N, by the trained model itself.

    Returns {output, sequences, samples: [first, last], pairs: [{modes, largest, labels}]}: `largest` is the greatest
    difference of two answers, `labels` the share of answers whose label differs (the greatest unit, or 0.5 for one).
    {sequences, samples: None} where no sequence is longer than N; None where there are none, or `carry` is not for it.
    """
    if trained is None or given is None:
        return None
    if given.length <= trained:
        return {"sequences": given.rows, "samples": None, "longest": given.length}
    if built.at_length or built.interface.length is None:
        try:
            built = build(built.model, "carry", None, time_axis)
        except ConversionRefused:
            return None
    truth = Reference(built.model, built.structure, built.interface)
    last = min(given.length, max(_FARTHEST, 2 * trained))
    places = sorted({int(t) for t in np.linspace(trained + 1, last, _PLACES)})
    answers: dict[str, list[NDArray[Any]]] = {"carry": [], "tumbling": [], "window": []}
    for t in places:
        for mode, start in (("carry", 0), ("tumbling", (t - 1) // trained * trained), ("window", t - trained)):
            answers[mode].append(truth.newest(given.part(start, t))[0])
    found = {mode: np.stack(values, axis=1).reshape(given.rows, len(places), -1) for mode, values in answers.items()}
    pairs = [("carry", "tumbling"), ("carry", "window"), ("tumbling", "window")]
    return {
        "output": built.interface.outputs[0].name,
        "sequences": given.rows,
        "samples": [places[0], places[-1]],
        "pairs": [{"modes": list(pair), **_difference(found[pair[0]], found[pair[1]])} for pair in pairs],
    }


def _difference(one: NDArray[Any], other: NDArray[Any]) -> dict[str, float]:
    """[rows, places, units] each."""
    differs = _labels(one) != _labels(other)
    with np.errstate(invalid="ignore"):
        return {"largest": float(np.nanmax(np.abs(one - other))), "labels": float(differs.mean())}


def _labels(answers: NDArray[Any]) -> NDArray[Any]:
    return answers.argmax(axis=2) if answers.shape[2] > 1 else answers[..., 0] > _THRESHOLD
