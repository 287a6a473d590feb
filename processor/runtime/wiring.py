"""The only place where components are made and connected, bottom up. What opens something closes it in turn."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from processor.codec import event_decoder, prediction_encoder
from processor.config import consumer_properties, reader_properties
from processor.kafka.admin import Admin
from processor.kafka.consumer import SampleConsumer
from processor.kafka.lookout import ANSWER_SECONDS, Lookout
from processor.kafka.producer import IdempotentProducer, TransactionalProducer
from processor.kafka.records import RECORD_OVERHEAD_BYTES
from processor.kafka.retry import Patience
from processor.metrics import Metrics
from processor.model.engine import Engine
from processor.preflight.running import expected_topics, review
from processor.recovery.assignment import Assignment
from processor.recovery.changelog import ChangelogReader
from processor.recovery.commit import AtLeastOnce, Commits, ExactlyOnce
from processor.recovery.identity import identity_of
from processor.recovery.producing import properties_of
from processor.recovery.recoveries import Policy, Recoveries
from processor.recovery.snapshots import Snapshots
from processor.recovery.stores import Stores
from processor.recovery.sweeper import Sweeper
from processor.runtime.committing import Committing
from processor.runtime.lifetime import Lifetime
from processor.runtime.loop import Loop
from processor.runtime.outputs import Outputs
from processor.runtime.pacer import Pace, Pacer
from processor.runtime.rebalances import Rebalances
from processor.runtime.status import Status
from processor.runtime.watchdog import Watchdog, Watched
from processor.state.arena import Arena, slots_within
from processor.state.record import HEADER_BYTES
from processor.state.store import StateDirectory, StoreResources
from processor.stepping.pipeline import Pipeline
from processor.stepping.publishing import Limits, Publisher
from processor.stepping.sequence import SequenceRules

if TYPE_CHECKING:
    from contextlib import ExitStack

    from processor.config import Settings
    from processor.model.artifact import Artifact
    from processor.preflight import Topology

    AnyProducer = TransactionalProducer | IdempotentProducer

ARENA_SHARE: Final = 0.7  # of memory_mib; the rest is RocksDB's caches and memtables
_GRACE_SECONDS: Final = 60.0  # beyond the longest wait that any single call is given
_CALL_SECONDS: Final = 15.0  # of a call that is to return within five
_CLOSING_SECONDS: Final = 2.0  # beyond `shutdown_seconds`, to close what is open


def wire(settings: Settings, artifact: Artifact, facts: Topology, stack: ExitStack) -> Loop:
    """Makes every component, and joins the group; `stack` closes them in the opposite order."""
    engine = Engine(artifact)
    engine.check_golden()
    engine.warm_up()
    lifetime, metrics = Lifetime(), Metrics()
    memory = settings.state.memory_mib * 2**20
    slots = slots_within(int(memory * ARENA_SHARE), artifact.words)
    arena = Arena(slots, artifact.initial_state, artifact.fingerprint, time.monotonic())
    rules = _rules(settings, artifact)
    pipeline = _pipeline(settings, artifact, facts, engine, arena, rules)

    directory = stack.enter_context(StateDirectory(settings.state.directory))
    resources = StoreResources(int(memory * (1 - ARENA_SHARE)))
    stores = Stores(directory, resources, facts.changelog.delete_retention_ms)
    lookout = stack.enter_context(_lookout(settings, artifact, facts, stack))
    # The producer first: its `init_transactions` ends what a former life left open, before anything is read.
    producer, changelog = _producers(settings, directory, facts, lookout)
    # Early, so that it ends late: closing the clients may hang.
    stack.enter_context(_watchdog(settings, lifetime, producer))
    reader = ChangelogReader(reader_properties(settings), settings.changelog_topic, facts.changelog.topic_id)
    stack.callback(reader.close)
    admin = stack.enter_context(Admin(settings, heed=lookout.heed))
    budget = settings.processing.unavailable_seconds
    consumer = SampleConsumer(consumer_properties(settings), settings.input.topic, unavailable_seconds=budget)
    stack.callback(consumer.close)

    identity = identity_of(settings, artifact, facts)
    snapshots = Snapshots(arena, identity, settings.changelog_topic, Sweeper(rules.idle_ms))
    commits: Commits
    if changelog is None:
        assert isinstance(producer, TransactionalProducer)
        commits = ExactlyOnce(producer, consumer, snapshots, lookout)
    else:
        assert isinstance(producer, IdempotentProducer)
        commits = AtLeastOnce(producer, changelog, consumer, snapshots, lookout)
    policy = _policy(settings)
    recoveries = Recoveries(consumer, reader, admin, arena, stores, identity, policy, metrics)
    assignment = Assignment(consumer, stores, recoveries)
    pacer = Pacer(_pace(settings))
    committing = Committing(commits, assignment, arena, pacer, Patience(budget), lookout, metrics, lifetime.clock)
    rebalances = Rebalances(assignment, committing, lookout, lifetime, settings.processing.shutdown_seconds)
    consumer.subscribe(assigned=rebalances.assigned, revoked=rebalances.revoked, lost=rebalances.lost)
    return Loop(
        lifetime=lifetime,
        consumer=consumer,
        pipeline=pipeline,
        outputs=Outputs(producer, settings.output.topic, settings.dead_letter.topic, facts.dead_letter.partitions),
        assignment=assignment,
        committing=committing,
        rebalances=rebalances,
        pacer=pacer,
        lookout=lookout,
        status=Status(consumer, assignment, arena, lookout, metrics),
        metrics=metrics,
    )


def longest_turn_seconds(settings: Settings) -> float:
    """How long the loop may take to come round while a broker is away."""
    return settings.processing.unavailable_seconds + _GRACE_SECONDS


def _rules(settings: Settings, artifact: Artifact) -> SequenceRules:
    return SequenceRules(
        gap_ms=settings.sequence.gap_ms,
        idle_ms=settings.sequence.idle_ms,
        allowed_lateness_ms=settings.sequence.allowed_lateness_ms,
        length=artifact.length or 0 if artifact.mode == "tumbling" else 0,
    )


def _pipeline(
    settings: Settings, artifact: Artifact, facts: Topology, engine: Engine, arena: Arena, rules: SequenceRules
) -> Pipeline:
    largest_record = HEADER_BYTES + 4 * artifact.words + RECORD_OVERHEAD_BYTES
    decoder = event_decoder(
        settings.input,
        artifact.inputs,
        max_ahead_ms=settings.sequence.max_ahead_ms,
        max_behind_ms=settings.sequence.max_behind_ms,
        largest_key=facts.changelog.max_message_bytes - largest_record,
    )
    encoder = prediction_encoder(settings.output, artifact.outputs, artifact.model_id)
    limits = Limits(output=facts.output.max_message_bytes, dead_letter=facts.dead_letter.max_message_bytes)
    publisher = Publisher(encoder, settings.input.topic, limits)
    return Pipeline(artifact, engine, arena, decoder, publisher, rules)


def _policy(settings: Settings) -> Policy:
    return Policy(
        exactly_once=settings.exactly_once,
        from_latest=settings.input.start == "latest",
        accept_gap=settings.processing.accept_gap,
        budget_seconds=settings.processing.unavailable_seconds,
    )


def _pace(settings: Settings) -> Pace:
    interval = settings.processing.commit_interval_seconds
    return Pace(
        commit_interval_seconds=interval,
        snapshot_interval_seconds=settings.state.snapshot_interval_seconds,
        # Nobody can read a prediction before its transaction is committed: there is time to gather many events.
        gather_seconds=min(interval / 10, 0.05) if settings.exactly_once else 0.0,
    )


def _lookout(settings: Settings, artifact: Artifact, facts: Topology, stack: ExitStack) -> Lookout:
    """On a thread of its own, with a client of its own."""
    admin = stack.enter_context(Admin(settings, ANSWER_SECONDS))
    return Lookout(
        admin.topic_identities,
        expected_topics(settings, facts),
        review=lambda: review(settings, admin, artifact.words),
        budget_seconds=settings.processing.unavailable_seconds,
    )


def _producers(
    settings: Settings, directory: StateDirectory, facts: Topology, lookout: Lookout
) -> tuple[AnyProducer, IdempotentProducer | None]:
    """The producer of outputs, and where there are no transactions one of its own for the changelog."""
    properties = properties_of(settings, facts, directory.process_id)
    budget = settings.processing.unavailable_seconds
    if settings.exactly_once:
        return TransactionalProducer(properties, budget, lookout.heed), None
    return (
        IdempotentProducer(properties, budget, lookout.heed),
        IdempotentProducer(properties, budget, lookout.heed),
    )


def _watchdog(settings: Settings, lifetime: Lifetime, producer: AnyProducer) -> Watchdog:
    """On a thread of its own."""
    leaving = settings.processing.shutdown_seconds + _CLOSING_SECONDS
    watched = [
        Watched("a turn of the loop", lifetime.beat_age, longest_turn_seconds(settings)),
        Watched("the shutdown", lifetime.stopping_age, leaving),
    ]
    if isinstance(producer, TransactionalProducer):
        watched.append(Watched("a call of the producer", producer.call_age, _CALL_SECONDS))
    return Watchdog(*watched)
