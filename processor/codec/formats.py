"""The one list of formats: the values of `input.format` and `output.format`, and the code behind each.

A new format is a module with a `ValueDecoder` (events.py), a `PredictionEncoder` (below), or both, and an entry here.
The settings validate against this list, so it imports a format's module only where the format is used.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from processor.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from processor.codec.events import EventDecoder, ValueDecoder
    from processor.config.settings import InputSettings, OutputSettings
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
class Format:
    """One format, by what makes its two sides; None: it has no such side.

    reader: from the model's inputs and the section [input]. writer: from the model's outputs, the first 8 hex digits of
    the artifact's fingerprint, and the section [output]. A format that needs more (a schema, say) finds it there.
    """

    reader: Callable[[Sequence[TensorSpec], InputSettings], ValueDecoder] | None
    writer: Callable[[Sequence[TensorSpec], str, OutputSettings], PredictionEncoder] | None


def _json_reader(inputs: Sequence[TensorSpec], _: InputSettings) -> ValueDecoder:
    from processor.codec.json_events import JsonValueDecoder

    return JsonValueDecoder(inputs)


def _json_writer(outputs: Sequence[TensorSpec], model_id: str, _: OutputSettings) -> PredictionEncoder:
    from processor.codec.json_predictions import JsonPredictionEncoder

    return JsonPredictionEncoder(outputs, model_id)


def _float32_reader(inputs: Sequence[TensorSpec], _: InputSettings) -> ValueDecoder:
    from processor.codec.float32_events import Float32ValueDecoder

    return Float32ValueDecoder(inputs)


def _float32_writer(outputs: Sequence[TensorSpec], model_id: str, _: OutputSettings) -> PredictionEncoder:
    from processor.codec.float32_predictions import Float32PredictionEncoder

    return Float32PredictionEncoder(outputs, model_id)


FORMATS: Final[Mapping[str, Format]] = {
    "json": Format(_json_reader, _json_writer),
    "float32": Format(_float32_reader, _float32_writer),
}

READABLE: Final = {name: known.reader for name, known in FORMATS.items() if known.reader}
WRITABLE: Final = {name: known.writer for name, known in FORMATS.items() if known.writer}


def event_decoder(
    settings: InputSettings,
    inputs: Sequence[TensorSpec],
    *,
    max_ahead_ms: int,
    max_behind_ms: int = 0,
    largest_key: int | None = None,
) -> EventDecoder:
    """The decoder of the input topic, for a model with these inputs.

    max_ahead_ms, max_behind_ms: an event whose time is later, or earlier, than its record's timestamp by more is bad;
    0: off. largest_key: the most bytes that a key may have. Raises ConfigError for a model without inputs.
    """
    from processor.codec.events import EventDecoder
    from processor.codec.times import TimeLimits

    if not inputs:
        raise ConfigError("The model's inputs can't be read from events: it has none", "", "Convert a model that has.")
    values = READABLE[settings.format](inputs, settings)
    return EventDecoder(values, times=TimeLimits(max_ahead_ms, max_behind_ms), largest_key=largest_key)


def prediction_encoder(settings: OutputSettings, outputs: Sequence[TensorSpec], model_id: str) -> PredictionEncoder:
    """The encoder of the output topic; model_id is the first 8 hex digits of the artifact's fingerprint."""
    return WRITABLE[settings.format](outputs, model_id, settings)
