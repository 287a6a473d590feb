"""The commit, broken on purpose."""

from __future__ import annotations

from typing import Any

import numpy as np

from processor.failpoints import failpoint
from processor.kafka.producer import TransactionalProducer
from processor.kafka.retry import CommitFailed
from processor.recovery import commit
from processor.recovery.snapshots import PartitionSnapshot
from processor.runtime.committing import Committing
from processor.state.record import CHECKPOINT_KEY
from protocol.abstract.client import CHANGELOG
from protocol.mutants.table import Mutation, mutant
from protocol.stand_ins import running


def _deliver(commits: Any, snapshots: list[PartitionSnapshot]) -> None:
    """Steps 2 and 3 of a commit."""
    commits._snapshots.send(commits._producer, snapshots)
    commits._producer.flush()
    if any(snapshot.changelog_offset is None for snapshot in snapshots):
        raise CommitFailed("a checkpoint was not delivered")


@mutant("The store is written after the transaction is committed.", "aborts")
def store_before_the_commit() -> Mutation:
    def attempt(self: Any, snapshots: list[PartitionSnapshot]) -> None:
        _deliver(self, snapshots)
        self._snapshots.store(snapshots, 1_000_000)
        offsets = self._consumer.topic_partitions(commit._offsets(snapshots))
        self._producer.send_offsets(offsets, self._consumer.group_metadata())
        failpoint("commit.offsets")
        self._producer.commit()

    return {"processor.recovery.commit.ExactlyOnce._try": attempt}


@mutant("The input offsets are part of the transaction.", "crashes")
def offsets_after_the_transaction() -> Mutation:
    def attempt(self: Any, snapshots: list[PartitionSnapshot]) -> None:
        _deliver(self, snapshots)
        self._producer.commit()
        failpoint("commit.offsets")
        self._consumer.commit(commit._offsets(snapshots))

    return {"processor.recovery.commit.ExactlyOnce._try": attempt}


@mutant("Changelog records are part of the transaction.", "crashes")
def changelog_outside_of_the_transaction() -> Mutation:
    def send(self: Any, producer: Any, snapshots: list[PartitionSnapshot]) -> None:
        kafka = running().world.kafka
        for snapshot in snapshots:
            log = kafka.log(CHANGELOG, snapshot.partition.number)
            for key, value in [*snapshot.puts, *((key, None) for key in snapshot.deletes)]:
                log.append(key, value)
            snapshot.changelog_offset = log.append(CHECKPOINT_KEY, snapshot.checkpoint.to_bytes())
        producer.begin()

    return {"processor.recovery.snapshots.Snapshots.send": send}


@mutant("A commit during a replay sends the old committed offset.", "crashes")
def replay_commits_its_cursor() -> Mutation:
    return {"processor.recovery.partition.Partition.committable": property(lambda self: self.cursor.offset)}


@mutant("The first commit of a new partition takes along what others have produced.", "births")
def first_commit_takes_no_others_along() -> Mutation:
    def begin(self: Any, new: Any) -> None:
        self.commits.begin(new, 1_000_000)
        self.assignment.begun(new)

    return {"processor.runtime.committing.Committing.begin": begin}


@mutant("Offsets of a transaction are fenced by the generation of the member.", "zombies")
def generation_is_not_looked_at() -> Mutation:
    return {"protocol.abstract.group.Group.check": lambda self, metadata: None}


@mutant("Who is no member of the group commits nothing.", "zombies")
def membership_is_not_looked_at() -> Mutation:
    metadata = lambda self: self._consumer.consumer_group_metadata()  # noqa: E731
    return {"processor.kafka.consumer.SampleConsumer.group_metadata": metadata}


@mutant("A transaction of a former generation is sent again as a whole.", "zombies")
def half_of_a_transaction_is_sent_again() -> Mutation:
    original = TransactionalProducer.send_again
    return {
        "processor.kafka.producer.TransactionalProducer.send_again": lambda self, first: original(self, 0),
    }


@mutant("After a failed commit all partitions recover.", "aborts")
def kept_partitions_are_not_rewound() -> Mutation:
    """After a failed commit: what was produced is dropped, and all go on where they stand."""

    def recover(self: Any) -> None:
        self.commits.drop()

    return {"processor.runtime.committing.Committing.recover": recover}


@mutant("After a failed commit the rest of the batch in hand is dropped.", "aborts")
def rest_of_the_batch_is_stepped() -> Mutation:
    """After a failed commit, although its partitions are in recovery."""
    original = Committing.commit_if_due

    def taken(self: Any, batch: Any) -> Any:
        return batch

    def commit_if_due(self: Any) -> None:
        with self.recovering():
            original(self)

    return {
        "processor.runtime.loop.Loop._taken": taken,
        "processor.runtime.committing.Committing.commit_if_due": commit_if_due,
    }


@mutant("What was polled before a rewind is dropped.", "hand-overs")
def stale_messages_are_stepped() -> Mutation:
    """Of partitions that were rewound while they were polled. What has left is dropped."""

    def taken(self: Any, batch: Any) -> Any:
        held = list(self.assignment.partitions)
        rows = np.flatnonzero(np.isin(batch.partitions, held))
        return batch.take(rows) if len(rows) else None

    return {"processor.runtime.loop.Loop._taken": taken}


@mutant("Nothing of a lost partition is committed.", "zombies")
def lost_partitions_are_committed() -> Mutation:
    def unfenced(self: Any) -> bytes:
        """What a member reports that has found its partitions lost, and joined again before it gives them back."""
        group, member = self._world.kafka.group, self._member
        return b"" if not member.is_known else group.metadata(member)

    def lost(self: Any, numbers: list[int]) -> None:
        self.revoked(numbers)

    return {
        "processor.runtime.rebalances.Rebalances.lost": lost,
        "protocol.abstract.consumer.GroupConsumer.consumer_group_metadata": unfenced,
        "processor.kafka.consumer.SampleConsumer.group_metadata": lambda self: self._consumer.consumer_group_metadata(),
    }


@mutant("Past the deadline of a hand-over, `replay_from` still accounts for what is left unwritten.", "crashes")
def unwritten_keys_of_a_hand_over_are_forgotten() -> Mutation:
    def leave(self: Any, numbers: list[int], deadline: float) -> None:
        leaving = self.arena.flush_queue.of_partitions(set(numbers))
        self.arena.flush_queue.written(leaving[2:])
        original(self, numbers, deadline)

    original = Committing.leave
    return {"processor.runtime.committing.Committing.leave": leave}


@mutant("A failed commit gives up what was produced.", "aborts")
def failed_commits_keep_what_was_produced() -> Mutation:
    return {"processor.recovery.commit.ExactlyOnce.drop": lambda self: None}


@mutant("A commit waits for a look at the topics that began after its events were polled.", "recreated")
def the_last_look_is_enough() -> Mutation:
    """Of those that come once in a while."""
    return {"protocol.abstract.client.Lookout.ask": lambda self: self._process.at("look")}
