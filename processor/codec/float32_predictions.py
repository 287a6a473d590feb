"""Writing predictions as packed bytes: one table for all rows, cut into records."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from processor.codec.float32_layout import HEAD, WARM, joined, words

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from processor.types import BoolArray, Int64Array, TensorSpec


class Float32PredictionEncoder:
    """Encodes predictions of a model with these outputs; model_id is 8 hex digits, the field `model` as a number."""

    def __init__(self, outputs: Sequence[TensorSpec], model_id: str) -> None:
        self._outputs = tuple(outputs)
        self._layout = joined(HEAD, words(outputs))
        self._model = int(model_id, 16)

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
        """
        table = np.empty(len(step), self._layout)
        table["offset"], table["time"], table["step"] = offset, time, step
        table["partition"], table["model"] = partition, self._model
        table["flags"] = np.where(warm, WARM, 0)
        for rank, spec in enumerate(self._outputs):
            table[f"tensor_{rank}"] = outputs[spec.name].reshape(len(step), *spec.shape)
        records: list[bytes] = table.view(f"V{self._layout.itemsize}").tolist()
        return records
