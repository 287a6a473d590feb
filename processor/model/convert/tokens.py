"""What the calls on an input say about its values: which are tokens, how many there are, which number means missing."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import keras

from processor.model.convert.rules import only_passes, vocabulary_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from processor.model.convert.interface import ModelInput
    from processor.model.convert.rules import Call

_COMPARISONS: Final = frozenset(
    getattr(keras.src.ops.numpy, name) for name in ("Equal", "NotEqual", "Greater", "GreaterEqual", "Less", "LessEqual")
)


def known_values(entry: ModelInput, number: int, calls: Sequence[Call]) -> ModelInput:
    """An input with what is known of its values. A float input that is only ever looked up has tokens.

    number: of the input's tensor; calls: all of the graph.
    """
    takers = list(_takers(number, calls))
    sizes = [size for call in takers if (size := vocabulary_of(call)) is not None]
    compared = [call for call in takers if type(call.layer) in _COMPARISONS]
    others = [c.arguments.get("x2") for c in compared if type(c.layer) is keras.src.ops.numpy.NotEqual]
    missing = next((float(value) for value in others if isinstance(value, int | float)), None)
    if sizes and len(sizes) + len(compared) == len(takers):
        entry = replace(entry, spec=replace(entry.spec, dtype="int32"))
    return replace(entry, vocabulary=min(sizes, default=None), missing=missing)


def _takers(number: int, calls: Sequence[Call]) -> Iterator[Call]:
    """The calls that do something with the numbers of a tensor, wherever they went to."""
    for call in calls:
        if number in call.sources and not only_passes(call):
            yield call
        elif number in call.sources:
            for target in call.targets:
                yield from _takers(target, calls)
