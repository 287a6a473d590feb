"""The table of committed offset against checkpoint, row by row; each refusal with what a human can do."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from processor.errors import Incompatible
from processor.recovery.resume import ResumeFacts, ResumePoint, resume_point
from processor.state.checkpoint import Checkpoint
from processor.types import NO_TIME

CHECKPOINT = Checkpoint(
    replay_from=80, stream_time=5000, committed=100, topic_id="id-1", fingerprint=0xAB, settings_hash=0xCD, partitions=4
)
FOUND = ResumeFacts(
    partition=2,
    committed=100,
    checkpoint=CHECKPOINT,
    low=0,
    high=200,
    topic_id="id-1",
    partitions=4,
    settings_hash=0xCD,
    former_hash=0xCE,
    fingerprint=0xAB,
    exactly_once=True,
    from_latest=False,
    accept_gap=False,
)


def test_a_new_group_begins_at_the_inputs_beginning_or_end_and_that_is_committed_first() -> None:
    new = replace(FOUND, committed=None, checkpoint=None, low=7)
    assert resume_point(new) == ResumePoint(7, NO_TIME, 7, is_new=True)
    assert resume_point(replace(new, from_latest=True)) == ResumePoint(200, NO_TIME, 200, is_new=True)


def test_a_known_group_replays_from_its_position_and_publishes_from_its_offset() -> None:
    assert resume_point(FOUND) == ResumePoint(80, 5000, 100)


def test_expired_offsets_are_the_positions() -> None:
    assert resume_point(replace(FOUND, committed=None)) == ResumePoint(80, 5000, 100)


def test_at_least_once_may_stand_beyond_its_position() -> None:
    assert resume_point(replace(FOUND, committed=120, exactly_once=False)) == ResumePoint(80, 5000, 120)


def test_settings_may_change_when_nothing_is_left_to_replay() -> None:
    clean = replace(CHECKPOINT, replay_from=100)
    assert resume_point(replace(FOUND, checkpoint=clean, settings_hash=0xEE)) == ResumePoint(100, 5000, 100)


def test_what_the_former_version_left_is_replayed_by_its_rules_and_then_the_new_ones_hold() -> None:
    by_former = replace(CHECKPOINT, settings_hash=0xCE)
    assert resume_point(replace(FOUND, checkpoint=by_former)) == ResumePoint(80, 5000, 100, under_former_rules=True)
    assert resume_point(replace(FOUND, checkpoint=replace(by_former, replay_from=100))) == ResumePoint(100, 5000, 100)
    with pytest.raises(Incompatible, match="settings that decide states have changed"):
        resume_point(replace(FOUND, checkpoint=by_former, former_hash=0xCF))


def test_an_accepted_gap_is_counted() -> None:
    assert resume_point(replace(FOUND, low=90, accept_gap=True)) == ResumePoint(90, 5000, 100, missing=10)
    assert resume_point(replace(FOUND, low=150, accept_gap=True)) == ResumePoint(150, 5000, 150, missing=70)


def test_a_checkpoint_that_knows_no_partition_count_belongs_to_any() -> None:
    assert resume_point(replace(FOUND, checkpoint=replace(CHECKPOINT, partitions=0))) == ResumePoint(80, 5000, 100)


@pytest.mark.parametrize("committed", [None, 99, 100, 101])
def test_while_a_reset_has_not_ended_nobody_goes_on(committed: int | None) -> None:
    found = replace(FOUND, checkpoint=replace(CHECKPOINT, resetting=True), committed=committed)
    with pytest.raises(Incompatible, match="A reset was begun and has not ended") as refusal:
        resume_point(found)
    assert "the same `processor reset` again" in refusal.value.hint


def test_states_that_are_complete_are_not_rebuilt_from_what_retention_has_left() -> None:
    """The group was away for too long, but there is nothing to replay."""
    found = replace(FOUND, checkpoint=replace(CHECKPOINT, replay_from=100), low=120)
    with pytest.raises(Incompatible, match="stands at 100, but the input begins at 120") as refusal:
        resume_point(found)
    assert "processing.accept_gap" in refusal.value.hint
    assert "reset" not in refusal.value.hint
    assert resume_point(replace(found, accept_gap=True)) == ResumePoint(120, 5000, 120, missing=20)


@pytest.mark.parametrize(
    ("changed", "fact", "ways"),
    [
        ({"checkpoint": None}, "there is no state for it", ["rebuild", "here"]),
        ({"committed": 99}, "its states at 100", ["rebuild"]),
        ({"committed": 101}, "its states at 100", ["rebuild", "here"]),
        ({"committed": 99, "exactly_once": False}, "its states at 100", ["rebuild"]),
        ({"committed": 300, "exactly_once": False}, "not the one that the states", ["to-start", "to-end"]),
        ({"topic_id": "id-2"}, "not the one that the states", ["to-start", "to-end"]),
        ({"topic_id": "id-2", "committed": None}, "not the one that the states", ["to-start", "to-end"]),
        ({"partitions": 6}, "has 6 partitions; it had 4", ["rebuild"]),
        ({"fingerprint": 0xAC}, "belong to the model", ["rebuild", "here"]),
        ({"settings_hash": 0xEE}, "settings that decide states have changed", ["rebuild"]),
        ({"low": 81}, "must replay from 80, but the input begins at 81", ["rebuild"]),
    ],
)
def test_what_does_not_belong_together_is_refused_and_the_hint_names_the_reset(
    changed: dict[str, Any], fact: str, ways: list[str]
) -> None:
    with pytest.raises(Incompatible, match=fact) as refusal:
        resume_point(replace(FOUND, **changed))
    assert "artition 2" in str(refusal.value) or "partition 2" in refusal.value.fact
    assert refusal.value.cause
    assert re.findall(r"`processor reset --([a-z-]+)`", refusal.value.hint) == ways
