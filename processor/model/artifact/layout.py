"""The layout of a state: which columns of its vector are what.

A state is a row of 4-byte words. Its layout is gapless from column 0: first all float32 slots, then all int32 slots,
whose words are float32 in name only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable

    from processor.types import TensorSpec

STEPS: Final = "steps"
"""The int32 slot in which `tumbling` and `window` count the samples of the running sequence."""

HELD: Final = "static"
"""The int32 slot that says whether the state holds static inputs: 0 before a sequence's first sample, then 1."""

Mode = Literal["carry", "tumbling", "window"]


@dataclass(frozen=True, slots=True)
class Slot:
    """One named piece of a state: the columns `start` to `stop` of the state's vector."""

    name: str
    shape: tuple[int, ...]
    dtype: str  # "float32" or "int32"
    start: int
    stop: int

    @property
    def columns(self) -> slice:
        return slice(self.start, self.stop)


def static_slot(name: str) -> str:
    """The name of the slot that keeps the static input `name` for as long as a sequence runs."""
    return f"{name}.{HELD}"


def static_slots(inputs: Iterable[TensorSpec], layout: Iterable[Slot]) -> dict[str, Slot]:
    """Static input -> the slot that keeps it, in the order of the inputs."""
    slots = {slot.name: slot for slot in layout}
    return {spec.name: slots[static_slot(spec.name)] for spec in inputs if spec.static}


def check_layout(layout: tuple[Slot, ...]) -> None:
    """Raises ValueError where the slots break the module's rules."""
    column, dtypes, names = 0, [slot.dtype for slot in layout], {slot.name for slot in layout}
    if set(dtypes) - {"float32", "int32"} or dtypes != sorted(dtypes) or len(names) != len(layout):
        raise ValueError("a layout has float32 slots, then int32 slots, each with its own name")
    for slot in layout:
        if slot.start != column or slot.stop - slot.start != math.prod(slot.shape):
            raise ValueError(f"slot {slot.name} of shape {slot.shape} lies in columns {slot.start} to {slot.stop}")
        column = slot.stop


def state_size(words: int) -> str:
    """How much a key's state is, in words for people. `words`: of 4 bytes each, as they lie in a state."""
    return f"{words:,} float32 values ({4 * words:,} bytes) per key" if words else "no state"
