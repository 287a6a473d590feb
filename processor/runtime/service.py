"""The service: the only place where components are made and wired. Then the loop runs until SIGTERM.

What can be wrong is found before the group is joined: settings, topics, the artifact and its golden vectors, the state
directory's lock. Only then is the producer made (its `init_transactions` ends a former life's transaction), and only
after it anything read.
"""

from __future__ import annotations

import gc
import signal
import threading
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Final

from processor import failpoints
from processor.codec import event_decoder, prediction_encoder
from processor.config import consumer_properties, producer_properties, reader_properties
from processor.errors import Unavailable
from processor.kafka.admin import Admin
from processor.kafka.client import KafkaException
from processor.kafka.consumer import SampleConsumer
from processor.kafka.lookout import ANSWER_SECONDS, Lookout
from processor.kafka.producer import IdempotentProducer, TransactionalProducer
from processor.kafka.retry import Patience
from processor.log import get_logger
from processor.metrics import Metrics
from processor.model.artifact import load_artifact
from processor.model.engine import Engine
from processor.preflight import apply_topics, require
from processor.preflight.running import expected_topics, review
from processor.recovery.assignment import Assignment, Policy
from processor.recovery.changelog import ChangelogReader
from processor.recovery.commit import AtLeastOnce, Commits, ExactlyOnce, Snapshots
from processor.recovery.identity import identity_of
from processor.recovery.sweeper import Sweeper
from processor.runtime import supervised
from processor.runtime.http import HttpServer
from processor.runtime.loop import Loop, Pace, Topics
from processor.runtime.status import describe_process, liveness, readiness, status
from processor.runtime.watchdog import Watchdog, Watched
from processor.state.arena import Arena, slots_within
from processor.state.record import HEADER_BYTES
from processor.state.store import StateDirectory, StoreResources
from processor.stepping.pipeline import Pipeline
from processor.stepping.publishing import KAFKA_RECORD_OVERHEAD_BYTES, Limits, Publisher
from processor.stepping.sequence import SequenceRules

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from processor.config import Settings
    from processor.model.artifact import Artifact
    from processor.preflight import Topology

_LOG = get_logger()
ARENA_SHARE: Final = 0.7  # of memory_mib; the rest is RocksDB's caches and memtables
_GRACE_SECONDS: Final = 60.0  # beyond the longest wait that any single call is given
_CALL_SECONDS: Final = 15.0  # of a call that is to return within five
_COLLECT_AT: Final = (200_000, 20, 50)  # objects that could be part of a cycle; the collections of the younger ones
_CLOSING_SECONDS: Final = 2.0  # beyond `shutdown_seconds`, to close what is open


def run(settings: Settings, *, file: Path | None = None, create_topics: bool = False) -> int:
    """Runs the processor until SIGTERM or SIGINT; returns 0.

    file: that the settings came from, to be shown.

    Raises:
        ProcessorError: with the exit code that the command line ends with.
    """
    failpoints.arm()
    artifact = load_artifact(settings.model.artifact)
    described = describe_process(settings, artifact, file)
    _LOG.info("starting", **described)
    if create_topics:
        apply_topics(settings)
    facts = require(settings)
    supervised.report(supervised.CHECKED)
    try:
        with _Signals() as signals, ExitStack() as stack:
            loop = _wire(settings, artifact, facts, described, stack)
            signals.call(loop.stop)
            _spare_the_collector()
            loop.run()
    except KafkaException as error:
        raise Unavailable(
            "Kafka refused what the processor asked for.",
            error.args[0].str(),
            "Nothing is lost. If a restart ends here again, see `processor check`, and the rights of the client.",
        ) from error
    _LOG.info("stopped")
    return 0


def _wire(
    settings: Settings, artifact: Artifact, facts: Topology, described: Mapping[str, Any], stack: ExitStack
) -> Loop:
    """Makes every component, bottom up; `stack` closes them in the opposite order."""
    engine = Engine(artifact)
    engine.check_golden()
    engine.warm_up()
    memory = settings.state.memory_mib * 2**20
    directory = stack.enter_context(StateDirectory(settings.state.directory))
    resources = StoreResources(int(memory * (1 - ARENA_SHARE)))
    arena = Arena(
        slots_within(int(memory * ARENA_SHARE), artifact.words),
        artifact.initial_state,
        artifact.fingerprint,
        time.monotonic(),
    )
    metrics = Metrics()
    rules = SequenceRules(
        gap_ms=settings.sequence.gap_ms,
        idle_ms=settings.sequence.idle_ms,
        allowed_lateness_ms=settings.sequence.allowed_lateness_ms,
        length=artifact.length or 0 if artifact.mode == "tumbling" else 0,
    )
    largest_record = HEADER_BYTES + 4 * artifact.words + KAFKA_RECORD_OVERHEAD_BYTES
    decoder = event_decoder(
        settings.input.format,
        artifact.inputs,
        max_ahead_ms=settings.sequence.max_ahead_ms,
        max_behind_ms=settings.sequence.max_behind_ms,
        largest_key=facts.changelog.max_message_bytes - largest_record,
    )
    encoder = prediction_encoder(settings.output.format, artifact.outputs, artifact.model_id)
    limits = Limits(output=facts.output.max_message_bytes, dead_letter=facts.dead_letter.max_message_bytes)
    publisher = Publisher(encoder, settings.input.topic, limits)
    pipeline = Pipeline(artifact, engine, arena, decoder, publisher, rules)
    identity = identity_of(settings, artifact, facts)
    snapshots = Snapshots(arena, identity, settings.changelog_topic, Sweeper(rules.idle_ms))

    lookout = stack.enter_context(_lookout(settings, artifact, facts, stack))
    # The producer first: its `init_transactions` ends what a former life left open, before anything is read.
    producer, changelog = _producers(settings, directory, facts, lookout)
    # The consumer calls the loop, and the loop polls the consumer: the loop is made last, and looked up by then.
    made: list[Loop] = []
    stack.enter_context(_watchdog(settings, made, producer))
    reader = ChangelogReader(reader_properties(settings), settings.changelog_topic, facts.changelog.topic_id)
    stack.callback(reader.close)
    admin = stack.enter_context(Admin(settings, heed=lookout.heed))
    consumer = SampleConsumer(
        consumer_properties(settings),
        settings.input.topic,
        assigned=lambda numbers: made[0].assigned(numbers),
        revoked=lambda numbers: made[0].revoked(numbers),
        lost=lambda numbers: made[0].lost(numbers),
        unavailable_seconds=settings.processing.unavailable_seconds,
    )
    commits: Commits
    if isinstance(producer, TransactionalProducer):
        commits = ExactlyOnce(producer, consumer, snapshots, lookout)
    else:
        assert changelog is not None
        commits = AtLeastOnce(producer, changelog, consumer, snapshots, lookout)
    policy = Policy(
        exactly_once=settings.exactly_once,
        from_latest=settings.input.start == "latest",
        accept_gap=settings.processing.accept_gap,
        tombstone_retention_ms=facts.changelog.delete_retention_ms,
        budget_seconds=settings.processing.unavailable_seconds,
    )
    assignment = Assignment(consumer, reader, admin, arena, directory, resources, identity, policy, metrics)
    interval = settings.processing.commit_interval_seconds
    pace = Pace(
        interval,
        settings.state.snapshot_interval_seconds,
        settings.processing.shutdown_seconds,
        # Nobody can read an answer before its transaction is committed: there is time to step many events at once.
        gather_seconds=min(interval / 10, 0.05) if settings.exactly_once else 0.0,
    )
    topics = Topics(settings.output.topic, settings.dead_letter.topic, facts.dead_letter.partitions)
    patience = Patience(settings.processing.unavailable_seconds)
    loop = Loop(consumer, producer, pipeline, assignment, commits, arena, metrics, pace, topics, patience, lookout)
    made.append(loop)
    stack.callback(loop.close)
    _serve(settings, artifact, loop, described, metrics, stack)
    return loop


def _spare_the_collector() -> None:
    """Keeps Python's cyclic collector out of the hot path.

    Each batch makes some ten thousand messages and dictionaries that die with it and are part of no cycle. At its own
    thresholds the collector would look through them a dozen times.
    """
    gc.collect()
    gc.freeze()  # what was made up to here stays
    gc.set_threshold(*_COLLECT_AT)


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
) -> tuple[TransactionalProducer | IdempotentProducer, IdempotentProducer | None]:
    """The producer of outputs, and where there are no transactions one of its own for the changelog."""
    properties = producing(settings, facts, directory.process_id)
    budget = settings.processing.unavailable_seconds
    if settings.exactly_once:
        return TransactionalProducer(properties, budget, lookout.heed), None
    return (
        IdempotentProducer(properties, budget, lookout.heed),
        IdempotentProducer(properties, budget, lookout.heed),
    )


def producing(settings: Settings, facts: Topology, process_id: str) -> dict[str, Any]:
    """The configuration of the producer that a process with this id has, or had in a former life."""
    name = settings.kafka.group_instance_id or process_id
    properties = producer_properties(settings, f"{settings.kafka.group_id}-{name}")
    # A batch larger than its topic takes would be refused whole, again and again.
    written = (facts.output, facts.dead_letter, facts.changelog)
    largest = min(topic.max_message_bytes for topic in written) - KAFKA_RECORD_OVERHEAD_BYTES
    properties["batch.size"] = min(int(properties["batch.size"]), largest)
    return properties


def _watchdog(settings: Settings, made: list[Loop], producer: TransactionalProducer | IdempotentProducer) -> Watchdog:
    """On a thread of its own, from before most is made that could hang when it is closed."""
    leaving = settings.processing.shutdown_seconds + _CLOSING_SECONDS
    watched = [
        Watched("a turn of the loop", lambda: made[0].heartbeat_age() if made else 0.0, _patience(settings)),
        Watched("the shutdown", lambda: made[0].stopping_age() if made else 0.0, leaving),
    ]
    if isinstance(producer, TransactionalProducer):
        watched.append(Watched("a call of the producer", producer.call_age, _CALL_SECONDS))
    return Watchdog(*watched)


def _patience(settings: Settings) -> float:
    return settings.processing.unavailable_seconds + _GRACE_SECONDS


def _serve(
    settings: Settings,
    artifact: Artifact,
    loop: Loop,
    described: Mapping[str, Any],
    metrics: Metrics,
    stack: ExitStack,
) -> None:
    """The HTTP endpoints, on a thread of their own."""
    metrics.model(artifact.model_id, artifact.mode)
    server = HttpServer(
        settings.http.address,
        metrics=metrics.render,
        health=lambda: liveness(loop, _patience(settings)),
        ready=lambda: readiness(loop),
        status=lambda: {**described, **status(loop)},
    )
    stack.enter_context(server)
    supervised.report(f"{supervised.PORT} {server.port}")
    _LOG.info("listening", host=settings.http.address.host, port=server.port)


class _Signals:
    """SIGTERM and SIGINT ask the loop to end; a second one is not needed, and changes nothing.

    Until `call` they end the process at once, as nothing has begun. Afterwards they do no more than ask, until all is
    closed: whatever the loop has ended with is to be told by an exit code and a message, not by a signal's number.
    """

    def __init__(self) -> None:
        self._former: dict[signal.Signals, Any] = {}

    def call(self, stop: Callable[[], None]) -> None:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                self._former[number] = signal.signal(number, lambda *_: stop())

    def __enter__(self) -> _Signals:
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)
