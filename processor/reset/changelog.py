"""Reading the changelog for a reset: the keys of its states."""

from __future__ import annotations

from typing import TYPE_CHECKING

from processor.recovery.newest_checkpoints import read_slices
from processor.state.record import CHECKPOINT_KEY

if TYPE_CHECKING:
    from collections.abc import Callable

    from processor.recovery.changelog import ChangelogReader


def keys_of_states(
    reader: ChangelogReader, number: int, low: int, end: int, budget_seconds: float, tell: Callable[[float], None]
) -> list[bytes]:
    """The keys of all records that are there, but for the checkpoint's, in the order of the changelog.

    tell: called between slices with the part that is done, 0 to 1.

    Raises:
        As `read_slices`.
    """
    # A partition's keys are held at once: about 100 bytes each.
    there: dict[bytes, None] = {}
    for tail in read_slices(reader, number, low, end, budget_seconds):
        for key, value in tail.values.items():
            if value is None:
                there.pop(key, None)
            elif key != CHECKPOINT_KEY:
                there[key] = None
        tell(min(1.0, ((tail.next_offset or low) - low) / max(1, end - low)))
    return list(there)
