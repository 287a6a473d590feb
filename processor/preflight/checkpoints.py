"""Where the group stands, as `run` would find it once its partitions are restored; asked without joining the group.

The same table decides (`resume_point`), with the same messages. While the group has members, its offsets and
checkpoints move. Then only what holds at any time is compared: model, topic, settings, reset.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from processor.config import reader_properties
from processor.errors import Incompatible, ProcessorError
from processor.kafka.group import committed_offsets
from processor.preflight.findings import Finding
from processor.recovery.changelog import ChangelogReader
from processor.recovery.identity import identity_of
from processor.recovery.newest_checkpoints import newest_checkpoints
from processor.recovery.resume import ResumeFacts, resume_point
from processor.state.checkpoint import Checkpoint

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from processor.config import Settings
    from processor.kafka.admin import Admin
    from processor.model.artifact import Artifact
    from processor.preflight import Topology


def states_finding(
    settings: Settings, artifact: Artifact, facts: Topology, admin: Admin, budget_seconds: float, *, is_running: bool
) -> Finding:
    """Whether `run` could go on from where the group stands. is_running: the group has members."""
    try:
        found = _look(settings, artifact, facts, admin, budget_seconds, is_running=is_running)
    except ProcessorError as refused:
        return Finding.of("states", refused)
    refusals, replayed = [], 0
    for one in found:
        try:
            entry = resume_point(one)
        except Incompatible as refused:
            refusals.append((one.partition, refused))
        else:
            replayed += entry.publish_from - entry.replay_from
    if refusals:
        return _refused(refusals)
    is_new = all(one.checkpoint is None for one in found)
    if is_running:
        whose = "There are none yet" if is_new else "They are this model's"
        return Finding("states", "ok", f"{whose}. The group runs: where it stands was not compared.")
    if is_new:
        return Finding("states", "ok", f"A new group: it begins at the {settings.input.start} event.")
    return Finding("states", "ok", f"They are this model's, and {replayed} offsets are left to replay.")


def _refused(refusals: Sequence[tuple[int, Incompatible]]) -> Finding:
    """The first, as `run` would tell it; the others are of the same kind, nearly always."""
    others = ", ".join(str(partition) for partition, _ in refusals[1:])
    first = refusals[0][1]
    cause = f"{first.cause} Partitions {others} are refused, too." if others else first.cause
    return Finding("states", "error", first.fact, cause, first.hint, type(first))


def _look(
    settings: Settings, artifact: Artifact, facts: Topology, admin: Admin, budget_seconds: float, *, is_running: bool
) -> list[ResumeFacts]:
    numbers = range(facts.input.partitions)
    nothing: Mapping[int, int | None] = dict.fromkeys(numbers)
    committed = nothing if is_running else committed_offsets(settings, facts.input.name, numbers, budget_seconds)
    checkpoints = _checkpoints(settings, facts, admin, budget_seconds)
    lows = admin.low_watermarks(facts.input.name, numbers)
    highs = admin.high_watermarks(facts.input.name, numbers)
    identity = identity_of(settings, artifact, facts)
    return [
        ResumeFacts(
            partition=number,
            committed=committed[number],
            checkpoint=checkpoints.get(number),
            low=lows[number],
            high=highs[number],
            topic_id=identity.topic_id,
            partitions=identity.partitions,
            settings_hash=identity.settings_hash,
            former_hash=identity.former_hash,
            fingerprint=identity.fingerprint,
            exactly_once=settings.exactly_once,
            from_latest=settings.input.start == "latest",
            accept_gap=settings.processing.accept_gap,
        )
        for number in numbers
    ]


def _checkpoints(settings: Settings, facts: Topology, admin: Admin, budget_seconds: float) -> dict[int, Checkpoint]:
    numbers = range(facts.changelog.partitions)
    lows = admin.low_watermarks(facts.changelog.name, numbers)
    ends = admin.high_watermarks(facts.changelog.name, numbers)
    reader = ChangelogReader(reader_properties(settings), facts.changelog.name, facts.changelog.topic_id)
    try:
        records = newest_checkpoints(reader, lows, ends, budget_seconds)
    finally:
        reader.close()
    return {number: Checkpoint.from_bytes(record) for number, record in records.items()}
