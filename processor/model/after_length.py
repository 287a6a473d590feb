"""What a mode does after sample N, where the model's input is of N samples: in words, for the report and for `info`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from processor.model.artifact import Mode

_OFFERS: Final[dict[Mode, str]] = {
    "carry": "go on beyond sample {n}",
    "tumbling": "start afresh after sample {n}",
    "window": "predict from the last {n} samples",
}


def after_length(mode: Mode, length: int | None, trained: int) -> str:
    """One sentence or two. `length`: the artifact's; `trained`: the number of samples that the model's input names."""
    named = f"The model's input is of {trained:,} samples."
    if mode == "carry":
        return f"{named} After sample {trained:,}, a key's sequence goes on: the model was not trained on so many."
    if mode == "tumbling":
        return f"{named} After sample {length:,}, a key's sequence starts afresh."
    return f"{named} Each prediction is for a key's last {length:,} samples."


def offer(mode: Mode, trained: int) -> str:
    """What another mode would do, in a few words."""
    return _OFFERS[mode].format(n=f"{trained:,}")
