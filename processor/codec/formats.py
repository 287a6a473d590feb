"""The one list of formats: what `input.format` and `output.format` may say, and the code behind each name.

A new format is a module with a `ValueDecoder` (events.py), a `PredictionEncoder` (below), or both, and a line here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from processor.codec.events import EventDecoder, ValueDecoder
from processor.codec.float32_events import Float32ValueDecoder
from processor.codec.float32_predictions import Float32PredictionEncoder
from processor.codec.json_events import JsonValueDecoder
from processor.codec.json_predictions import JsonPredictionEncoder
from processor.codec.times import TimeLimits
from processor.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from processor.types import BoolArray, Int64Array, TensorSpec


class PredictionEncoder(Protocol):
    """What a format must bring to write predictions."""

    def encode(
        self,
        outputs: Mapping[str, NDArray[Any]],
        step: NDArray[np.integer[Any]],
        time: Int64Array,
        partition: int,
        offset: Int64Array,
        warm: BoolArray,
    ) -> list[bytes]:
        """One record's value for each row: outputs name -> float32[n, *shape], the other columns [n], time in ms."""


@dataclass(frozen=True, slots=True)
class EventFormat:
    """One format: how its values are read, and how its predictions are written (None: it can't be used there)."""

    values: Callable[[Sequence[TensorSpec]], ValueDecoder] | None
    predictions: Callable[[Sequence[TensorSpec], str], PredictionEncoder] | None


FORMATS: Final[Mapping[str, EventFormat]] = {
    "json": EventFormat(values=JsonValueDecoder, predictions=JsonPredictionEncoder),
    "float32": EventFormat(values=Float32ValueDecoder, predictions=Float32PredictionEncoder),
}


def event_decoder(
    format: str,  # the setting's own name
    inputs: Sequence[TensorSpec],
    *,
    max_ahead_ms: int,
    max_behind_ms: int = 0,
    largest_key: int | None = None,
) -> EventDecoder:
    """The decoder of an input topic in `format`, for a model with these inputs.

    max_ahead_ms, max_behind_ms: an event whose time is later, or earlier, than its record's timestamp by more is bad;
    0: off. largest_key: the most bytes that a key may have. Raises ConfigError for a format that is none, or a model
    without inputs.
    """
    make = FORMATS[format].values if format in FORMATS else None
    if make is None:
        raise _no_such_format("input.format", format, [name for name, known in FORMATS.items() if known.values])
    if not inputs:
        raise ConfigError("The model's inputs can't be read from events: it has none", "", "Convert a model that has.")
    return EventDecoder(make(inputs), times=TimeLimits(max_ahead_ms, max_behind_ms), largest_key=largest_key)


def prediction_encoder(format: str, outputs: Sequence[TensorSpec], model_id: str) -> PredictionEncoder:
    """The encoder of an output topic in `format`; model_id is the first 8 hex digits of the artifact's fingerprint.

    Raises ConfigError for a format that is none.
    """
    make = FORMATS[format].predictions if format in FORMATS else None
    if make is None:
        raise _no_such_format("output.format", format, [name for name, known in FORMATS.items() if known.predictions])
    return make(outputs, model_id)


def _no_such_format(setting: str, given: str, known: Sequence[str]) -> ConfigError:
    return ConfigError(f"{setting} = {given!r} is no format", hint=f"Known formats: {', '.join(known)}.")
