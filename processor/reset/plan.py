"""What a reset would do, as a value: the group's offsets now and then, and what is emptied. Changes nothing."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from rich.table import Table
from rich.text import Text

from processor.config import reader_properties
from processor.errors import ConfigError, Incompatible, StateCorrupt
from processor.kafka.group import committed_offsets
from processor.recovery.changelog import ChangelogReader
from processor.recovery.newest_checkpoints import newest_checkpoints
from processor.state.checkpoint import Checkpoint

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rich.console import Console

    from processor.config import Settings
    from processor.kafka.admin import Admin
    from processor.preflight import Topology


class Way(StrEnum):
    """From where all goes on once the states are empty."""

    TO_START = "to-start"
    TO_END = "to-end"
    HERE = "here"
    REBUILD = "rebuild"

    @property
    def keeps_the_offset(self) -> bool:
        return self in (Way.HERE, Way.REBUILD)


_WORDS: Final = {
    Way.TO_START: "Every key's state is emptied; the whole input is predicted again, from its beginning.",
    Way.TO_END: "Every key's state is emptied; events from now on are predicted, and none before.",
    Way.HERE: "Every key's state is emptied; predictions continue where the group stands.",
    Way.REBUILD: "Every key's state is recreated from the whole input, without publishing; predictions continue where "
    "the group stands.",
}


@dataclass(frozen=True, slots=True)
class PartitionReset:
    """One partition, as it is and as it will be."""

    partition: int
    committed: int | None  # the group's offset; None where it has none
    stands_at: int  # where the group stands: its offset, else its checkpoint's, else the partition's beginning
    stands_at_topic_id: str  # of the input topic that `stands_at` belongs to
    after: int  # the group's offset then: what lies at or above it is published
    replay_from: int  # what lies between here and `after` is stepped without publishing
    changelog_offsets: int  # the changelog holds at most so many records
    has_store: bool  # in this machine's state directory, to be wiped

    def to_dict(self) -> dict[str, Any]:
        return {
            "partition": self.partition,
            "committed": self.committed,
            "after": self.after,
            "replay_from": self.replay_from,
            "changelog_offsets": self.changelog_offsets,
            "has_store": self.has_store,
        }


@dataclass(frozen=True, slots=True)
class Reset:
    """What a reset does, or has done."""

    way: Way
    group_id: str
    input: str
    changelog: str
    partitions: tuple[PartitionReset, ...]
    remarks: tuple[str, ...]
    done: bool = False
    emptied: int = 0  # records of states that were deleted from the changelog

    def as_done(self, emptied: int) -> Reset:
        return replace(self, done=True, emptied=emptied)

    def to_dict(self) -> dict[str, Any]:
        return {
            "way": self.way.value,
            "group_id": self.group_id,
            "input": self.input,
            "changelog": self.changelog,
            "partitions": [part.to_dict() for part in self.partitions],
            "remarks": list(self.remarks),
            "done": self.done,
            "emptied": self.emptied,
        }

    def render(self, console: Console) -> None:
        """Prints a table of the partitions, and what is to be thought of."""
        table = Table(*self._columns())
        for part in self.partitions:
            now = "none" if part.committed is None else str(part.committed)
            silent = [str(part.after - part.replay_from)] if self.way is Way.REBUILD else []
            store = "wiped" if part.has_store else "none"
            cells = [str(part.partition), now, str(part.after), *silent, f"≤ {part.changelog_offsets}", store]
            table.add_row(*(Text(cell) for cell in cells))
        console.print(Text(f"Group {self.group_id}, input {self.input}, changelog {self.changelog}."))
        console.print(Text(_WORDS[self.way]))
        console.print(table)
        for remark in self.remarks:
            console.print(Text(remark, "yellow"))

    def _columns(self) -> list[str]:
        silent = ["replayed without publishing"] if self.way is Way.REBUILD else []
        return ["partition", "committed now", "after", *silent, "records in the changelog", "store here"]


def look(settings: Settings, way: Way, facts: Topology, admin: Admin) -> Reset:
    """What there is, and what a reset that goes `way` makes of it.

    Raises:
        ConfigError: there is no such group. Incompatible: this way cannot be gone from where the group stands.
        Unavailable: a transaction stays open, or the brokers were away, for longer than the budget.
    """
    numbers = range(facts.input.partitions)
    budget = settings.processing.unavailable_seconds
    committed = committed_offsets(settings, facts.input.name, numbers, budget)
    lows = admin.low_watermarks(facts.changelog.name, numbers)
    ends = admin.high_watermarks(facts.changelog.name, numbers)
    reader = ChangelogReader(reader_properties(settings), facts.changelog.name, facts.changelog.topic_id)
    try:
        records = newest_checkpoints(reader, lows, ends, budget)
    finally:
        reader.close()
    checkpoints = dict(_readable(records))
    first = admin.low_watermarks(facts.input.name, numbers)
    end = admin.high_watermarks(facts.input.name, numbers)
    has_store = {number: (settings.state.directory / f"partition-{number}").exists() for number in numbers}
    has_begun = bool(checkpoints) or any(offset is not None for offset in committed.values())
    if not has_begun and (way.keeps_the_offset or not any(has_store.values())):
        raise _unknown_group(settings, has_store=any(has_store.values()))
    parts = []
    for number in numbers:
        checkpoint = checkpoints.get(number)
        # A partition without offset and checkpoint came to the topic later than the others, or was about to be begun.
        stands_at = _stands_at(committed[number], checkpoint, first[number])
        if way.keeps_the_offset:
            _check_stands_at(number, stands_at, end[number], checkpoint, facts.input.topic_id)
        after = {Way.TO_START: first[number], Way.TO_END: end[number]}.get(way, max(stands_at, first[number]))
        part = PartitionReset(
            partition=number,
            committed=committed[number],
            stands_at=stands_at,
            stands_at_topic_id=checkpoint.topic_id if checkpoint else facts.input.topic_id,
            after=after,
            replay_from=first[number] if way is Way.REBUILD else after,
            changelog_offsets=ends[number] - lows[number],
            has_store=has_store[number],
        )
        parts.append(part)
    remarks = tuple(_remarks(settings, way, facts, parts, first))
    return Reset(way, settings.kafka.group_id, facts.input.name, facts.changelog.name, tuple(parts), remarks)


def _readable(records: Mapping[int, bytes]) -> Iterator[tuple[int, Checkpoint]]:
    """The checkpoints that this version can read: a reset is the remedy for the others, and must not fail by them."""
    for number, record in records.items():
        with suppress(StateCorrupt, Incompatible):
            yield number, Checkpoint.from_bytes(record)


def _stands_at(committed: int | None, checkpoint: Checkpoint | None, begin: int) -> int:
    if committed is not None:
        return committed
    return checkpoint.committed if checkpoint else begin


def _check_stands_at(number: int, stands_at: int, end: int, checkpoint: Checkpoint | None, topic_id: str) -> None:
    """`--here` keeps an offset: that of another topic does not count."""
    of_another = checkpoint is not None and checkpoint.topic_id != topic_id
    if of_another or stands_at > end:
        raise Incompatible(
            f"The group's offset in partition {number} is not one of this input topic.",
            "The topic was recreated, or somebody moved the group: "
            f"it stands at {stands_at}, and the topic ends at {end}.",
            "`processor reset --to-start` begins at the new topic's beginning, `processor reset --to-end` at its end.",
        )


def _unknown_group(settings: Settings, *, has_store: bool) -> ConfigError:
    group, changelog = settings.kafka.group_id, settings.changelog_topic
    if has_store:
        hint = "The states here are all that is left of it. `processor reset --to-start` or `--to-end` starts again."
    else:
        hint = "See `processor config show`. A group that has never run needs no reset: it begins at input.start."
    return ConfigError(
        f"The group {group} is not known: it has no offsets, and {changelog} has no checkpoints.",
        "It has never run, or kafka.group_id or state.changelog_topic is another's, or all of this is lost.",
        hint,
    )


def _remarks(
    settings: Settings, way: Way, facts: Topology, parts: list[PartitionReset], first: dict[int, int]
) -> list[str]:
    remarks = []
    if all(part.committed is None for part in parts):
        remarks.append("The group has no offsets: they have expired, or kafka.group_id is not the one that ran.")
    gone = [part for part in parts if way.keeps_the_offset and part.stands_at < first[part.partition]]
    if gone:
        events = sum(first[part.partition] - part.stands_at for part in gone)
        remarks.append(
            f"{events} offsets that the group has not reached are no longer in the input: they never get a prediction."
        )
    if way is Way.REBUILD:
        late = [str(number) for number, offset in sorted(first.items()) if offset > 0]
        if late:
            where = f"partition{'s' if len(late) > 1 else ''} {', '.join(late)}"
            remarks.append(f"The input no longer begins at offset 0 in {where}: what came before is not in the states.")
        if settings.input.start == "latest":
            remarks.append("input.start is latest: what came before the group's beginning will be in the states, too.")
        if "compact" in facts.input.cleanup_policy:
            remarks.append("The input is compacted: what compaction has removed is not in the states.")
    if way is Way.TO_END:
        unanswered = sum(max(0, part.after - part.stands_at) for part in parts)
        if unanswered:
            remarks.append(
                f"{unanswered} offsets between the group's offset and the input's end never get a prediction."
            )
    return remarks
