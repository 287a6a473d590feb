"""Where a partition goes on: DESIGN's table of committed offset against position, as one pure function."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from processor.errors import Incompatible
from processor.types import NO_TIME

if TYPE_CHECKING:
    from processor.state.position import Position


@dataclass(frozen=True, slots=True)
class Found:
    """All that decides where a partition goes on."""

    partition: int
    committed: int | None  # the group's offset, stable
    position: Position | None  # of the restored store
    low: int  # the input's first offset
    high: int  # the input's end: its high watermark
    topic_id: str  # of the input as it is now
    partitions: int  # of the input as it is now
    settings_hash: int
    former_hash: int | None  # of the same settings, as the former version counted them
    fingerprint: int
    exactly_once: bool
    from_latest: bool  # where a group without offsets begins
    accept_gap: bool


@dataclass(frozen=True, slots=True)
class Entry:
    """Where to replay from, with the stream time there, and from where on to publish."""

    replay_from: int
    stream_time: int
    publish_from: int
    is_new: bool = False  # neither offset nor position: both are to be committed before the first event
    missing: int = 0  # events of the replay that the input no longer holds
    under_former_rules: bool = False  # the events are judged as the former version did, until nothing is left to replay


def locate(found: Found) -> Entry:
    """Where the partition goes on.

    Raises:
        Incompatible: group, store and input do not belong together; going on would lose, double or change predictions.
    """
    position, committed = found.position, found.committed
    if position is not None and position.resetting:
        raise _reset_unfinished(found)
    if position is None:
        if committed is not None:
            raise _no_state(found, committed)
        start = found.high if found.from_latest else found.low
        return Entry(start, NO_TIME, start, is_new=True)
    _check_same_past(found, position)
    if committed is None:
        committed = position.committed  # the offsets have expired, or the very first commit was cut short
    if committed < position.committed:
        raise _rewound(found, committed, position)
    if committed > position.committed and found.exactly_once:
        raise _moved(found, committed, position)
    if committed > found.high:
        raise _made_anew(found, f"The group stands at {committed}, and the topic ends at {found.high}.")
    is_former = _is_former(found, position, committed)
    if not is_former:
        _check_same_settings(found, position, committed)
    missing = max(0, found.low - position.replay_from)
    if missing and not found.accept_gap:
        raise _gap(found, position, committed)
    return Entry(
        position.replay_from + missing,
        position.stream_time,
        max(committed, found.low),
        missing=missing,
        under_former_rules=is_former,
    )


def _check_same_past(found: Found, position: Position) -> None:
    if position.topic_id != found.topic_id:
        raise _made_anew(found, f"Its id is {found.topic_id}; the states were made from {position.topic_id}.")
    if position.partitions not in (0, found.partitions):
        raise _other_partitions(found, position)
    if position.fingerprint != found.fingerprint:
        raise Incompatible(
            f"The states of partition {found.partition} belong to the model {position.fingerprint:016x}, "
            f"and the artifact is {found.fingerprint:016x}.",
            "A state means something to the model that made it, and to no other.",
            "Run with the former artifact; or make the new model's states from all of the input "
            "(`processor reset --rebuild`), or begin with empty ones (`processor reset --here`).",
        )


def _is_former(found: Found, position: Position, committed: int) -> bool:
    """Whether the former version, under the same settings, left something to replay."""
    return position.settings_hash == found.former_hash and position.replay_from < committed


def _check_same_settings(found: Found, position: Position, committed: int) -> None:
    if position.settings_hash != found.settings_hash and position.replay_from < committed:
        raise Incompatible(
            f"The settings that decide states have changed while partition {found.partition} has "
            f"{committed - position.replay_from} offsets to replay.",
            "[sequence] and the artifact's mode decide what a replay does: under others it is another past.",
            "Start with the former settings, stop with SIGTERM (nothing is left to replay then), and change them; "
            "or make the states anew under the new ones: `processor reset --rebuild`.",
        )


def _no_state(found: Found, committed: int) -> Incompatible:
    return Incompatible(
        f"The group has the offset {committed} for partition {found.partition}, but there is no state for it.",
        "The changelog was lost, or somebody set offsets of a group that has never run.",
        "`processor reset --rebuild` makes the states from all of the input, and goes on from the group's offset; "
        "`processor reset --here` goes on from there with empty states.",
    )


def _rewound(found: Found, committed: int, position: Position) -> Incompatible:
    return Incompatible(
        f"The group stands at {committed} in partition {found.partition}, its states at {position.committed}.",
        "Somebody moved the group back; states cannot be stepped backwards.",
        f"`processor reset --rebuild` makes the states that belong to {committed} from all of the input, and publishes "
        f"again from there; or set the group's offset to {position.committed} again.",
    )


def _moved(found: Found, committed: int, position: Position) -> Incompatible:
    return Incompatible(
        f"The group stands at {committed} in partition {found.partition}, its states at {position.committed}.",
        "Somebody moved the group on; the events between would be missing in the states.",
        f"`processor reset --rebuild` steps all of the input up to {committed} without publishing, and publishes from "
        "there; `processor reset --here` begins there with empty states; or set the group's offset to "
        f"{position.committed} again.",
    )


def _made_anew(found: Found, cause: str) -> Incompatible:
    return Incompatible(
        f"The input topic is not the one that the states of partition {found.partition} were made from.",
        f"It was deleted and recreated. {cause}",
        "`processor reset --to-start` empties the states and begins at the new topic's beginning, "
        "`processor reset --to-end` at its end.",
    )


def _other_partitions(found: Found, position: Position) -> Incompatible:
    return Incompatible(
        f"The input has {found.partitions} partitions; it had {position.partitions} when the states of partition "
        f"{found.partition} were made.",
        "Keys lie in other partitions than before, and their states do not follow them.",
        "`processor reset --rebuild` makes the states anew from all of the input: a key that has moved begins afresh "
        "in its new partition. For whole sequences, copy the input to a new topic and take a new kafka.group_id.",
    )


def _gap(found: Found, position: Position, committed: int) -> Incompatible:
    if position.replay_from >= committed:
        return Incompatible(
            f"Partition {found.partition} stands at {committed}, but the input begins at {found.low}.",
            "The processor was away for longer than the input's retention: what lay between was never answered. The "
            "states are complete up to there.",
            "Set processing.accept_gap = true to go on without these offsets (they are counted; markers of "
            "transactions are among them), and raise the retention.",
        )
    return Incompatible(
        f"Partition {found.partition} must replay from {position.replay_from}, but the input begins at {found.low}.",
        "The input's retention is shorter than the snapshot interval, or the processor was away for longer.",
        "Set processing.accept_gap = true to go on without these events (they are counted), or make the states anew "
        "from what is left of the input (`processor reset --rebuild`); and raise the retention.",
    )


def _reset_unfinished(found: Found) -> Incompatible:
    return Incompatible(
        f"A reset was begun and has not ended: partition {found.partition} may lack some of its states.",
        "`processor reset` was cut short, or is at work now.",
        "Type the same `processor reset` again: it does all of it anew.",
    )
