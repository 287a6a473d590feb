"""Small frozen values and the columns that travel between the parts.

Arrays of one batch are aligned: row i of each column belongs to event i.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    BoolArray = NDArray[np.bool_]
    Int32Array = NDArray[np.int32]
    Int64Array = NDArray[np.int64]
    Float32Array = NDArray[np.float32]
    Rows = NDArray[np.intp]  # indices of rows
    Features = Mapping[str, NDArray[np.float32] | NDArray[np.int32]]

NO_TIME: Final = -(2**63)
"""The time of a key (and of a stream) of which no event was seen: below every legal time."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where in the input a partition stands, in memory: the next offset to step, and the stream time before it (ms)."""

    offset: int
    stream_time: int = NO_TIME


class Reason(StrEnum):
    """Why an event went to the dead-letter topic: the closed list of `processor.reason`."""

    NO_KEY = "no_key"
    UNDECODABLE = "undecodable"
    WRONG_TYPE = "wrong_type"
    MISSING_FEATURES = "missing_features"
    UNKNOWN_INPUT = "unknown_input"
    WRONG_SHAPE = "wrong_shape"
    NOT_FINITE = "not_finite"
    WRONG_STATIC = "wrong_static"
    TIME_AHEAD = "time_ahead"
    TIME_BEHIND = "time_behind"
    LATE = "late"
    TOO_LARGE = "too_large"


class BadEvent(NamedTuple):
    """Why one event is bad: its reason, and a detail for the human who looks at it."""

    reason: Reason
    detail: str


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One input or output of a step: `shape` is one sample's, without batch and time."""

    name: str
    shape: tuple[int, ...]
    dtype: str = "float32"  # or "int32"
    static: bool = False


@dataclass(frozen=True, slots=True)
class Batch:
    """What one poll returned, as columns, partition by partition and by rising offset inside each."""

    partitions: Int32Array
    offsets: Int64Array
    timestamps: Int64Array  # of the Kafka records, ms
    keys: list[bytes | None]
    values: list[bytes | None]

    def __len__(self) -> int:
        return len(self.keys)

    def range(self, start: int, stop: int) -> Batch:
        """The rows from `start` up to `stop`, as views."""
        rows = slice(start, stop)
        return Batch(
            self.partitions[rows], self.offsets[rows], self.timestamps[rows], self.keys[rows], self.values[rows]
        )

    def take(self, rows: Rows) -> Batch:
        """These rows alone, in the order given."""
        return Batch(
            self.partitions[rows],
            self.offsets[rows],
            self.timestamps[rows],
            [self.keys[row] for row in rows.tolist()],
            [self.values[row] for row in rows.tolist()],
        )


class Kind(IntEnum):
    """What an input record asks for."""

    SAMPLE = 0
    FORGET = 1  # null value
    BAD = 2


@dataclass(frozen=True, slots=True)
class Events:
    """A decoded batch, aligned with it. Rows that are no samples hold zeros (and False) in every other column."""

    kind: NDArray[np.uint8]  # of Kind
    features: Features  # input name -> [n, *sample shape]
    time: Int64Array  # event time, ms since the epoch
    sequence: Int64Array  # meaningful where has_sequence
    has_sequence: BoolArray
    start: BoolArray
    end: BoolArray
    bad: dict[int, BadEvent]  # row -> why
    given: Mapping[str, BoolArray]  # static input -> which samples bring it; where they don't, its column holds zeros

    def range(self, start: int, stop: int) -> Events:
        """The rows from `start` up to `stop`, as views."""
        rows = slice(start, stop)
        return Events(
            kind=self.kind[rows],
            features={name: column[rows] for name, column in self.features.items()},
            time=self.time[rows],
            sequence=self.sequence[rows],
            has_sequence=self.has_sequence[rows],
            start=self.start[rows],
            end=self.end[rows],
            bad={row - start: why for row, why in self.bad.items() if start <= row < stop},
            given={name: column[rows] for name, column in self.given.items()},
        )
