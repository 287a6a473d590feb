"""Reading events from packed float32: a batch is joined and looked at as one table, without a loop over events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from processor.codec.events import Values
from processor.codec.float32_layout import END, EXTRAS, HAS_SEQUENCE, HAS_TIME, KNOWN_FLAGS, START, joined, words
from processor.codec.framing import foreign
from processor.codec.times import GREATEST_TIME, other_unit
from processor.types import BadEvent, Reason

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from processor.types import BoolArray, Features, TensorSpec


class Float32ValueDecoder:
    """Decodes packed values for a model with these inputs. Pure: it keeps nothing of a batch."""

    def __init__(self, inputs: Sequence[TensorSpec]) -> None:
        self._inputs = tuple(inputs)
        self._bare = words(inputs)
        self._full = joined(self._bare, EXTRAS)

    def decode(self, values: Sequence[bytes]) -> Values:
        """The columns of `values`, aligned with them."""
        sizes = np.fromiter(map(len, values), np.int64, len(values))
        bare, full = sizes == self._bare.itemsize, sizes == self._full.itemsize
        columns = self._blank(len(values))
        bad = self._wrong_sizes(values, ~(bare | full))
        for rows, layout in ((bare, self._bare), (full, self._full)):
            if rows.any():
                self._fill(columns, values, rows, layout)
        flags = columns["flags"]
        unknown = (flags & ~np.uint32(KNOWN_FLAGS)) != 0
        for row in np.flatnonzero(unknown).tolist():
            detail = f"the flags are {int(flags[row]):#x}, and only the bits of {KNOWN_FLAGS:#x} have a meaning"
            bad[row] = BadEvent(Reason.UNDECODABLE, detail)
        bad |= {row: why for row, why in self._unfit(columns).items() if row not in bad}
        if bad:
            for column in columns.values():
                column[list(bad)] = 0
        good = np.ones(len(values), np.bool_)
        good[list(bad)] = False
        has_time, has_sequence = (flags & HAS_TIME) != 0, (flags & HAS_SEQUENCE) != 0
        return Values(
            features={spec.name: columns[f"tensor_{rank}"] for rank, spec in enumerate(self._inputs)},
            time=np.where(has_time, columns["time"], 0),
            has_time=has_time,
            sequence=np.where(has_sequence, columns["sequence"], 0),
            has_sequence=has_sequence,
            start=(flags & START) != 0,
            end=(flags & END) != 0,
            bad=bad,
            given={spec.name: good.copy() for spec in self._inputs if spec.static},
        )

    def _blank(self, n: int) -> dict[str, NDArray[Any]]:
        """Zeros for every field, in this machine's byte order."""
        table = np.zeros(n, self._full.newbyteorder("="))
        return {name: np.ascontiguousarray(table[name]) for name in self._full.names or ()}

    def _fill(
        self, columns: dict[str, NDArray[Any]], values: Sequence[bytes], rows: BoolArray, layout: np.dtype[Any]
    ) -> None:
        chosen = values if rows.all() else [values[row] for row in np.flatnonzero(rows).tolist()]
        table = np.frombuffer(b"".join(chosen), layout)
        for name in layout.names or ():
            columns[name][rows] = table[name]

    def _wrong_sizes(self, values: Sequence[bytes], wrong: BoolArray) -> dict[int, BadEvent]:
        expected = f"{self._bare.itemsize} or {self._full.itemsize}"
        return {
            row: BadEvent(
                Reason.UNDECODABLE,
                f"the value has {len(values[row])} bytes, expected are {expected}{_seen(values[row])}",
            )
            for row in np.flatnonzero(wrong).tolist()
        }

    def _unfit(self, columns: dict[str, NDArray[Any]]) -> dict[int, BadEvent]:
        """Numbers that are not finite, then times out of range: the first fault found is the reason."""
        features: Features = {spec.name: columns[f"tensor_{rank}"] for rank, spec in enumerate(self._inputs)}
        unfit: dict[int, BadEvent] = {}
        for name, column in features.items():
            if column.dtype == np.float32 and not np.isfinite(column).all():
                finite = np.isfinite(column).reshape(len(column), -1).all(axis=1)
                detail = f"the input {name!r} has a number that is not finite"
                for row in np.flatnonzero(~finite).tolist():
                    unfit.setdefault(row, BadEvent(Reason.NOT_FINITE, detail))
        time = columns["time"]
        beyond = ((columns["flags"] & HAS_TIME) != 0) & ((time > GREATEST_TIME) | (time < -GREATEST_TIME))
        for row in np.flatnonzero(beyond).tolist():
            detail = f"time {time[row]} is beyond +-{GREATEST_TIME} ms{other_unit(int(time[row]))}"
            unfit.setdefault(row, BadEvent(Reason.WRONG_TYPE, detail))
        return unfit


def _seen(value: bytes) -> str:
    """What a value of the wrong length looks like, where that is plain."""
    if value.lstrip(b" \t\r\n")[:1] == b"{":
        return ": it looks like JSON, and input.format is float32"
    known = foreign(value)
    return f": it looks like {known.partition(';')[0]}" if known and not known.startswith("binary") else ""
