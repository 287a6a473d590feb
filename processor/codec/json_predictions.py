"""Writing predictions as JSON: whole columns are printed at once, then threaded between constants.

orjson prints a float32 array with the shortest digits that read back to the same float32, and the integers' columns
just as fast; all that is left per prediction is one `bytes.join`.
"""

from __future__ import annotations

from itertools import repeat
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import orjson

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from processor.types import BoolArray, Int64Array, TensorSpec

_ROUNDED_TWICE: Final = (b"7.038531e-26", b"7.0385307e-26")
"""The only float32 (and its negative) whose shortest digits do not survive a reader that goes by way of a double, as
most JSON readers do: that double lies halfway between two float32. All 2^32 were tried. It gets one digit more."""

_ROWS_AT_ONCE: Final = 2048  # the pieces of so many predictions stay in the processor's cache


class JsonPredictionEncoder:
    """Encodes predictions of a model with these outputs; model_id is 8 hex digits, the field `model`."""

    def __init__(self, outputs: Sequence[TensorSpec], model_id: str) -> None:
        self._outputs = tuple(outputs)
        if len(self._outputs) == 1:
            self._before = [b'{"probability":']
            closing = b""
        else:
            names = [orjson.dumps(spec.name) for spec in self._outputs]
            self._before = [b'{"probability":{' + names[0] + b":", *(b"," + name + b":" for name in names[1:])]
            closing = b"}"
        self._before_step = closing + b',"step":'
        model = orjson.dumps(model_id)
        self._tails = (b',"warm":false,"model":' + model + b"}", b',"warm":true,"model":' + model + b"}")

    def encode(
        self,
        outputs: Mapping[str, NDArray[Any]],
        step: NDArray[np.integer[Any]],
        time: Int64Array,
        partition: int,
        offset: Int64Array,
        warm: BoolArray,
    ) -> list[bytes]:
        """One record's value for each row.

        outputs: name -> float32[n, *shape]; step, time (ms), offset, warm: [n]; partition: of all rows.
        Raises ValueError where an output is not finite (JSON has no such number, and its event is bad anyway) or lacks
        rows.
        """
        n = len(step)
        tensors = [_tensor(outputs[spec.name], spec, n) for spec in self._outputs]
        if 0 < n <= _ROWS_AT_ONCE:
            return list(self._encode(tensors, step, time, partition, offset, warm))
        predictions: list[bytes] = []
        for first in range(0, n, _ROWS_AT_ONCE):
            rows = slice(first, first + _ROWS_AT_ONCE)
            some = [tensor[rows] for tensor in tensors]
            predictions += self._encode(some, step[rows], time[rows], partition, offset[rows], warm[rows])
        return predictions

    def _encode(
        self,
        tensors: Sequence[NDArray[Any]],
        step: NDArray[np.integer[Any]],
        time: Int64Array,
        partition: int,
        offset: Int64Array,
        warm: BoolArray,
    ) -> Iterable[bytes]:
        pieces: list[Iterable[bytes]] = []
        for before, tensor in zip(self._before, tensors, strict=True):
            pieces += repeat(before), _printed(tensor)
        pieces += repeat(self._before_step), _printed(step)
        pieces += repeat(b',"time":'), _printed(time)
        pieces += repeat(b',"partition":%d,"offset":' % partition), _printed(offset)
        pieces.append(map(self._tails.__getitem__, warm.tolist()))
        return map(b"".join, zip(*pieces, strict=False))  # the constants have no end


def _tensor(given: NDArray[Any], spec: TensorSpec, n: int) -> NDArray[Any]:
    """An output in the shape in which it is printed: a single unit is a bare number."""
    tensor = given.astype(spec.dtype, copy=False)
    return tensor.reshape(n) if spec.shape in ((), (1,)) else tensor.reshape(n, *spec.shape)


def _printed(column: NDArray[Any]) -> list[bytes]:
    """The JSON of each row of an array [n, ...], n > 0."""
    text = orjson.dumps(np.ascontiguousarray(column), option=orjson.OPT_SERIALIZE_NUMPY)
    if b"n" in text:  # orjson prints null for what JSON has no number for
        raise ValueError("an output is not finite")
    if column.dtype == np.float32:
        text = text.replace(*_ROUNDED_TWICE)
    levels = column.ndim - 1
    if not levels:
        return text[1:-1].split(b",")
    # Only between two rows are so many brackets closed and opened at once.
    closing, opening = b"]" * levels, b"[" * levels
    rows = text[1 + levels : -1 - levels].split(closing + b"," + opening)
    return [b"%b%b%b" % (opening, row, closing) for row in rows]
