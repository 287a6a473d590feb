"""Reset: the remedy that several refusals name. All states are emptied, and the group is put where it is to go on.

    1. Hold the group: this process becomes its only member, so that the brokers refuse what anybody else commits.
    2. A checkpoint that is marked `resetting` for each partition. From here on `run` refuses, until 5.
    3. The stores of this machine are wiped.
    4. Each state's record in the changelog is deleted, by tombstones: offsets only ever go forward, so that a store on
       another machine comes right by restoring the changelog's tail, as after any absence.
    5. The checkpoints and the group's offsets from which all goes on.

`exactly_once`: 2 and 5 are one transaction each, 4 is several, and all of them carry the group's offsets, so that the
brokers ask whether this process is still the member that it was. `at_least_once` has no transactions: the offsets of 5
come before its checkpoints. Killed anywhere: before 2 nothing has happened, after 5 everything, and between them `run`
refuses, and a second reset starts over. Each gap is a failpoint, named `reset.*`.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from processor import failpoints
from processor.config import reader_properties
from processor.errors import ConfigError, Unavailable
from processor.failpoints import failpoint
from processor.kafka.admin import Admin
from processor.kafka.client import KafkaException
from processor.kafka.retry import CommitFailed
from processor.model.artifact import load_artifact
from processor.preflight import require
from processor.recovery.changelog import ChangelogReader
from processor.recovery.identity import identity_of
from processor.recovery.producing import properties_of
from processor.reset.changelog import keys_of_states
from processor.reset.group import HeldGroup, refuse_members
from processor.reset.plan import PartitionReset, Reset, Way, look
from processor.reset.writing import Transactions, Untransacted, Writing
from processor.state.checkpoint import Checkpoint
from processor.state.record import CHECKPOINT_KEY
from processor.state.store import StateDirectory, Store
from processor.types import NO_TIME

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from processor.config import Settings
    from processor.preflight import Topology
    from processor.recovery.identity import Identity

    Progress = Callable[[str, float], None]

__all__ = ["PartitionReset", "Reset", "Way", "apply_reset", "plan_reset"]

_AT_ONCE: Final = 50_000  # deletions of one transaction, so that none outlives its timeout
_BUDGET_SECONDS: Final = 10.0  # of a question; who types a wrong address should not wait for long


def _silent(_stage: str, _part: float) -> None:
    pass


def plan_reset(settings: Settings, way: Way, progress: Progress = _silent) -> Reset:
    """What a reset would do. Changes nothing.

    progress: called with what is being done and how much of it, 0 to 1.

    Raises:
        ConfigError: the group is not empty, or not known; or `run` would refuse topics, settings or artifact, too.
        Incompatible: this way cannot be gone from where the group stands.
        Unavailable: the brokers were away, or a transaction stayed open, for longer than the budget.
    """
    facts = require(settings)
    with _answering(), Admin(settings, _BUDGET_SECONDS) as admin:
        refuse_members(settings, admin)
        progress("looking at the group and its changelog", 0.0)
        with _directory(settings):
            return look(settings, way, facts, admin)


def apply_reset(settings: Settings, shown: Reset, progress: Progress = _silent) -> Reset:
    """Does what was shown; returns it as it was done, with the offsets of now and the number of states emptied.

    Raises:
        As `plan_reset`; and ConfigError: the group's offsets are others than those that were shown.
        OwnershipLost: a process joined the group meanwhile. Worth another try, as Unavailable is.
    """
    failpoints.arm()
    facts = require(settings)
    with _answering(), ExitStack() as stack:
        admin = stack.enter_context(Admin(settings, _BUDGET_SECONDS))
        refuse_members(settings, admin)
        directory = stack.enter_context(_directory(settings))
        group = HeldGroup(settings)
        stack.callback(group.close)
        # The producer before anything is read: its `init_transactions` ends what this machine's process left open.
        writing = _writing(settings, facts, directory, group)
        progress("joining the group", 0.0)
        group.join(range(facts.input.partitions), admin)
        now = look(settings, shown.way, facts, admin)
        if [part.committed for part in now.partitions] != [part.committed for part in shown.partitions]:
            raise ConfigError(
                "The group's offsets have changed since they were shown.",
                "A process of the group ran meanwhile, or somebody else set them.",
                "Nothing was changed. Look again.",
            )
        identity = identity_of(settings, load_artifact(settings.model.artifact), facts)
        failpoint("reset.held")
        work = _Work(settings, now, identity, writing, group, admin, progress)
        work.begin()
        work.wipe(directory)
        emptied = work.empty(ChangelogReader(reader_properties(settings), now.changelog, facts.changelog.topic_id))
        work.set_offsets()
        return now.as_done(emptied)


@contextmanager
def _answering() -> Iterator[None]:
    """What Kafka refuses, as the error that names what the operator does."""
    try:
        yield
    except CommitFailed as error:
        raise Unavailable(
            "The reset was cut short: Kafka did not take a commit.",
            str(error),
            "Stop every process of the group, and type it again: it starts over.",
        ) from None
    except KafkaException as error:
        raise Unavailable(
            "Kafka refused what the processor asked for.",
            error.args[0].str(),
            "Type it again. If it ends here again, see `processor check`, and the rights of the client.",
        ) from error


@contextmanager
def _directory(settings: Settings) -> Iterator[StateDirectory | None]:
    """This machine's state directory, locked; None where there is none. Raises ConfigError: another has it."""
    if not settings.state.directory.exists():
        yield None
        return
    with StateDirectory(settings.state.directory) as directory:
        yield directory


def _writing(settings: Settings, facts: Topology, directory: StateDirectory | None, group: HeldGroup) -> Writing:
    properties = properties_of(settings, facts, directory.process_id if directory else "reset")
    kind = Transactions if settings.exactly_once else Untransacted
    return kind(properties, settings.processing.unavailable_seconds, settings.changelog_topic, group)


@dataclass(frozen=True, slots=True)
class _Work:
    """The steps from 2 on."""

    settings: Settings
    now: Reset
    identity: Identity
    writing: Writing
    group: HeldGroup
    admin: Admin
    progress: Progress

    @property
    def _offsets(self) -> dict[int, int]:
        return {part.partition: part.stands_at for part in self.now.partitions}

    def begin(self) -> None:
        """2. From here on, `run` refuses. The offsets are kept, for a second reset that goes another way."""
        for part in self.now.partitions:
            checkpoint = self._checkpoint(part.stands_at, part.stands_at, part.stands_at_topic_id, resetting=True)
            self.writing.send(part.partition, [CHECKPOINT_KEY], [checkpoint])
        self.writing.commit(self._offsets)
        failpoint("reset.begun")

    def wipe(self, directory: StateDirectory | None) -> None:
        """3."""
        if directory is not None:
            for part in self.now.partitions:
                Store.wipe(directory.store_path(part.partition))
        failpoint("reset.wiped")

    def empty(self, reader: ChangelogReader) -> int:
        """4. Returns the number of states that were there."""
        try:
            emptied = sum(self._empty(reader, index) for index in range(len(self.now.partitions)))
        finally:
            reader.close()
        failpoint("reset.emptied")
        return emptied

    def _empty(self, reader: ChangelogReader, index: int) -> int:
        number, count = self.now.partitions[index].partition, len(self.now.partitions)

        def tell(part: float) -> None:
            self.group.look()
            self.progress("emptying the states", (index + part) / count)

        low = self.admin.low_watermarks(reader.topic, [number])[number]
        end = self.admin.high_watermarks(reader.topic, [number])[number]
        keys = keys_of_states(reader, number, low, end, self.settings.processing.unavailable_seconds, tell)
        for start in range(0, len(keys), _AT_ONCE):
            some = keys[start : start + _AT_ONCE]
            self.group.look()
            self.writing.send(number, some, [None] * len(some))
            self.writing.commit(self._offsets)
            failpoint("reset.emptying")
        return len(keys)

    def set_offsets(self) -> None:
        """5."""
        self.group.look()
        parts = self.now.partitions
        checkpoints = {
            part.partition: self._checkpoint(part.replay_from, part.after, self.identity.topic_id) for part in parts
        }
        self.writing.set_offsets(checkpoints, {part.partition: part.after for part in parts})
        failpoint("reset.done")

    def _checkpoint(self, replay_from: int, committed: int, topic_id: str, *, resetting: bool = False) -> bytes:
        return Checkpoint(
            replay_from=replay_from,
            stream_time=NO_TIME,
            committed=committed,
            topic_id=topic_id,
            fingerprint=self.identity.fingerprint,
            settings_hash=self.identity.settings_hash,
            partitions=self.identity.partitions,
            resetting=resetting,
        ).to_bytes()
