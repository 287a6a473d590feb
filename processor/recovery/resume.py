"""Where a partition goes on: the table of committed offset against checkpoint (docs/design), as one pure function."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from processor.errors import Incompatible
from processor.types import NO_TIME

if TYPE_CHECKING:
    from processor.state.checkpoint import Checkpoint


@dataclass(frozen=True, slots=True)
class ResumeFacts:
    """All that decides where a partition goes on."""

    partition: int
    committed: int | None  # the group's offset, stable
    checkpoint: Checkpoint | None  # of the restored store
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
class ResumePoint:
    """Where to replay from, with the stream time there, and from where on to publish."""

    replay_from: int
    stream_time: int
    publish_from: int
    is_new: bool = False  # neither offset nor checkpoint: both are to be committed before the first event
    missing: int = 0  # events of the replay that the input no longer holds
    under_former_rules: bool = False  # the former version's checks apply until nothing is left to replay


def resume_point(found: ResumeFacts) -> ResumePoint:
    """Where the partition goes on.

    Raises:
        Incompatible: group, store and input do not belong together; going on would lose, double or change predictions.
    """
    checkpoint, committed = found.checkpoint, found.committed
    if checkpoint is not None and checkpoint.resetting:
        raise _reset_unfinished(found)
    if checkpoint is None:
        if committed is not None:
            raise _no_state(found, committed)
        start = found.high if found.from_latest else found.low
        return ResumePoint(start, NO_TIME, start, is_new=True)
    _check_same_past(found, checkpoint)
    if committed is None:
        committed = checkpoint.committed  # the offsets have expired, or the very first commit was cut short
    if committed < checkpoint.committed:
        raise _rewound(found, committed, checkpoint)
    if committed > checkpoint.committed and found.exactly_once:
        raise _moved(found, committed, checkpoint)
    if committed > found.high:
        raise _recreated(found, f"The group stands at {committed}, and the topic ends at {found.high}.")
    is_former = _is_former(found, checkpoint, committed)
    if not is_former:
        _check_same_settings(found, checkpoint, committed)
    missing = max(0, found.low - checkpoint.replay_from)
    if missing and not found.accept_gap:
        raise _gap(found, checkpoint, committed)
    return ResumePoint(
        checkpoint.replay_from + missing,
        checkpoint.stream_time,
        max(committed, found.low),
        missing=missing,
        under_former_rules=is_former,
    )


def _check_same_past(found: ResumeFacts, checkpoint: Checkpoint) -> None:
    if checkpoint.topic_id != found.topic_id:
        raise _recreated(found, f"Its id is {found.topic_id}; the states were made from {checkpoint.topic_id}.")
    if checkpoint.partitions not in (0, found.partitions):
        raise _other_partitions(found, checkpoint)
    if checkpoint.fingerprint != found.fingerprint:
        raise Incompatible(
            f"The states of partition {found.partition} belong to the model {checkpoint.fingerprint:016x}, "
            f"and the artifact is {found.fingerprint:016x}.",
            "A state means something to the model that made it, and to no other.",
            "Run with the former artifact; or make the new model's states from all of the input "
            "(`processor reset --rebuild`), or begin with empty ones (`processor reset --here`).",
        )


def _is_former(found: ResumeFacts, checkpoint: Checkpoint, committed: int) -> bool:
    """Whether the former version, under the same settings, left something to replay."""
    return checkpoint.settings_hash == found.former_hash and checkpoint.replay_from < committed


def _check_same_settings(found: ResumeFacts, checkpoint: Checkpoint, committed: int) -> None:
    if checkpoint.settings_hash != found.settings_hash and checkpoint.replay_from < committed:
        raise Incompatible(
            f"The settings that decide states have changed while partition {found.partition} has "
            f"{committed - checkpoint.replay_from} offsets to replay.",
            "[sequence] and the artifact's mode decide what a replay does: under others it is another past.",
            "Start with the former settings, stop with SIGTERM (nothing is left to replay then), and change them; "
            "or rebuild the states under the new ones: `processor reset --rebuild`.",
        )


def _no_state(found: ResumeFacts, committed: int) -> Incompatible:
    return Incompatible(
        f"The group has the offset {committed} for partition {found.partition}, but there is no state for it.",
        "The changelog was lost, or somebody set offsets of a group that has never run.",
        "`processor reset --rebuild` makes the states from all of the input, and goes on from the group's offset; "
        "`processor reset --here` goes on from there with empty states.",
    )


def _rewound(found: ResumeFacts, committed: int, checkpoint: Checkpoint) -> Incompatible:
    return Incompatible(
        f"The group stands at {committed} in partition {found.partition}, its states at {checkpoint.committed}.",
        "Somebody moved the group back; states cannot be stepped backwards.",
        f"`processor reset --rebuild` makes the states that belong to {committed} from all of the input, and publishes "
        f"again from there; or set the group's offset to {checkpoint.committed} again.",
    )


def _moved(found: ResumeFacts, committed: int, checkpoint: Checkpoint) -> Incompatible:
    return Incompatible(
        f"The group stands at {committed} in partition {found.partition}, its states at {checkpoint.committed}.",
        "Somebody moved the group on; the events between would be missing in the states.",
        f"`processor reset --rebuild` steps all of the input up to {committed} without publishing, and publishes from "
        "there; `processor reset --here` begins there with empty states; or set the group's offset to "
        f"{checkpoint.committed} again.",
    )


def _recreated(found: ResumeFacts, cause: str) -> Incompatible:
    return Incompatible(
        f"The input topic is not the one that the states of partition {found.partition} were made from.",
        f"It was deleted and recreated. {cause}",
        "`processor reset --to-start` empties the states and begins at the new topic's beginning, "
        "`processor reset --to-end` at its end.",
    )


def _other_partitions(found: ResumeFacts, checkpoint: Checkpoint) -> Incompatible:
    return Incompatible(
        f"The input has {found.partitions} partitions; it had {checkpoint.partitions} when the states of partition "
        f"{found.partition} were made.",
        "Keys lie in other partitions than before, and their states do not follow them.",
        "`processor reset --rebuild` rebuilds the states from all of the input: a key that has moved begins afresh "
        "in its new partition. For whole sequences, copy the input to a new topic and take a new kafka.group_id.",
    )


def _gap(found: ResumeFacts, checkpoint: Checkpoint, committed: int) -> Incompatible:
    if checkpoint.replay_from >= committed:
        return Incompatible(
            f"Partition {found.partition} stands at {committed}, but the input begins at {found.low}.",
            "The processor was away for longer than the input's retention: the events between got no prediction. The "
            "states are complete up to there.",
            "Set processing.accept_gap = true to go on without these offsets (they are counted; markers of "
            "transactions are among them), and raise the retention.",
        )
    return Incompatible(
        f"Partition {found.partition} must replay from {checkpoint.replay_from}, but the input begins at {found.low}.",
        "The input's retention is shorter than the snapshot interval, or the processor was away for longer.",
        "Set processing.accept_gap = true to go on without these events (they are counted), or rebuild the states "
        "from what is left of the input (`processor reset --rebuild`); and raise the retention.",
    )


def _reset_unfinished(found: ResumeFacts) -> Incompatible:
    return Incompatible(
        f"A reset was begun and has not ended: partition {found.partition} may lack some of its states.",
        "`processor reset` was cut short, or is at work now.",
        "Type the same `processor reset` again: it starts over.",
    )
