"""From a batch of records to events: everything about an event that does not depend on the format of its value.

Keys, null values and times are checked here, once for all formats; a format brings a
`ValueDecoder`, which turns the bytes of values into columns.

Invariants
- A batch's result is its rows' results: decoding it row by row gives the same.
- A row that is no sample holds zeros in every column.
- A row is checked in one order: its key, a null value, its value, its time. The first fault found is the reason.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from processor.types import BadEvent, Events, Kind, Reason

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from processor.codec.times import TimeLimits
    from processor.types import Batch, BoolArray, Features, Int64Array


@dataclass(frozen=True, slots=True)
class Values:
    """The columns of decoded values. Rows in `bad`, and fields that a value does not have, hold zeros (and False)."""

    features: Features  # input name -> [n, *sample shape]
    time: Int64Array
    has_time: BoolArray
    sequence: Int64Array
    has_sequence: BoolArray
    start: BoolArray
    end: BoolArray
    bad: dict[int, BadEvent]
    given: dict[str, BoolArray]  # static input -> which values have it


class ValueDecoder(Protocol):
    """What a format must bring to read events: a pure function from values (none of them null) to columns."""

    def decode(self, values: Sequence[bytes]) -> Values: ...


class EventDecoder:
    """Decodes batches of one input topic.

    values: the format's decoder. times: how far an event's time may lie from its record's timestamp.
    largest_key: events whose key is longer, in bytes, are bad (None: any length goes).
    """

    def __init__(self, values: ValueDecoder, *, times: TimeLimits, largest_key: int | None) -> None:
        self._values = values
        self._times = times
        self._largest_key = largest_key

    def decode(self, batch: Batch, without_behind: frozenset[int] = frozenset()) -> Events:
        """The events of a batch, aligned with it. Never raises for what a record holds: a bad row has its reason.

        without_behind: partitions in which an event's time may be any distance behind its record's timestamp.
        """
        if all(batch.keys) and all(batch.values) and not self._any_key_too_large(batch.keys):
            # The usual batch: every row has a key and a value, and nothing needs to be moved around.
            kind = np.zeros(len(batch), np.uint8)
            return self._finish(batch, kind, self._values.decode(batch.values), {}, without_behind)  # type: ignore[arg-type]
        kind, bad = self._check_records(batch)
        rows = np.flatnonzero(kind == Kind.SAMPLE)
        values = self._values.decode([batch.values[row] for row in rows.tolist()])  # type: ignore[misc]
        return self._finish(batch, kind, _spread(values, rows, len(batch)), bad, without_behind)

    def _any_key_too_large(self, keys: list[bytes | None]) -> bool:
        return self._largest_key is not None and max(map(len, keys), default=0) > self._largest_key  # type: ignore[arg-type]

    def _check_records(self, batch: Batch) -> tuple[NDArray[np.uint8], dict[int, BadEvent]]:
        """The kind of each row, as far as its key and the presence of a value tell."""
        kinds, bad = [], {}
        limit = self._largest_key
        for row, (key, value) in enumerate(zip(batch.keys, batch.values, strict=True)):
            if key is None:
                bad[row] = BadEvent(Reason.NO_KEY, "the record has no key")
            elif limit is not None and len(key) > limit:
                detail = (
                    f"the key has {len(key)} bytes, and the largest key that a state can be stored under has {limit}"
                )
                bad[row] = BadEvent(Reason.TOO_LARGE, detail)
            elif value is None:
                kinds.append(Kind.FORGET)
                continue
            else:
                kinds.append(Kind.SAMPLE)
                continue
            kinds.append(Kind.BAD)
        return np.array(kinds, np.uint8), bad

    def _finish(
        self,
        batch: Batch,
        kind: NDArray[np.uint8],
        values: Values,
        bad: dict[int, BadEvent],
        without_behind: frozenset[int],
    ) -> Events:
        """Default the times, check them, and blank the rows that are no samples."""
        if values.bad:
            bad.update(values.bad)
            kind[list(values.bad)] = Kind.BAD
        sample = kind == Kind.SAMPLE
        time = values.time
        if not values.has_time.all():
            time = np.where(values.has_time, time, batch.timestamps)
            time[~sample] = 0
        unfit = self._times.unfit(batch, time, sample, without_behind)
        if unfit:
            rows = list(unfit)
            flags = (values.has_sequence, values.start, values.end, *values.given.values())
            for column in (time, values.sequence, *flags, *values.features.values()):
                column[rows] = 0
            bad.update(unfit)
            kind[rows] = Kind.BAD
        return Events(
            kind=kind,
            features=values.features,
            time=time,
            sequence=values.sequence,
            has_sequence=values.has_sequence,
            start=values.start,
            end=values.end,
            bad=dict(sorted(bad.items())),
            given=values.given,
        )


def _spread(values: Values, rows: NDArray[np.intp], n: int) -> Values:
    """The columns of `values` put at `rows` of columns of length n, zeros elsewhere."""

    def spread(column: NDArray[Any]) -> NDArray[Any]:
        wide: NDArray[Any] = np.zeros((n, *column.shape[1:]), column.dtype)
        wide[rows] = column
        return wide

    return Values(
        features={name: spread(column) for name, column in values.features.items()},
        time=spread(values.time),
        has_time=spread(values.has_time),
        sequence=spread(values.sequence),
        has_sequence=spread(values.has_sequence),
        start=spread(values.start),
        end=spread(values.end),
        bad={int(rows[row]): why for row, why in values.bad.items()},
        given={name: spread(column) for name, column in values.given.items()},
    )
