"""One process: the real loop with everything below it that is pure, and an abstract client and disk under that.

Real: loop, assignment, commits, snapshots, sweeper, pipeline, arena, flush queue, restore, changelog reader, both
kinds of producer, the group's consumer, the store's order of writes, records and checkpoints as bytes, the
table of phases.
Abstract: brokers, RocksDB's files, clocks, and a model that answers in one's head. See `protocol.stand_ins`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from processor.errors import ConfigError, Incompatible, ProcessorError
from processor.kafka.consumer import SampleConsumer
from processor.kafka.producer import IdempotentProducer, TransactionalProducer
from processor.kafka.retry import Patience
from processor.recovery.assignment import Assignment
from processor.recovery.changelog import ChangelogReader
from processor.recovery.commit import AtLeastOnce, ExactlyOnce
from processor.recovery.identity import Identity
from processor.recovery.recoveries import Policy, Recoveries
from processor.recovery.snapshots import Snapshots
from processor.recovery.stores import Stores
from processor.recovery.sweeper import Sweeper
from processor.runtime.committing import Committing
from processor.runtime.lifetime import Clock, Lifetime
from processor.runtime.loop import Loop
from processor.runtime.outputs import Outputs
from processor.runtime.pacer import Pace, Pacer
from processor.runtime.rebalances import Rebalances
from processor.runtime.status import Status
from processor.state.arena import Arena
from protocol.abstract.client import CHANGELOG, DEAD_LETTERS, INPUT, OUTPUT, Admin, Lookout
from protocol.stand_ins import NOTHING, ignore
from protocol.toy import ARTIFACT, FINGERPRINT, new_pipeline

if TYPE_CHECKING:
    from collections.abc import Callable

    from protocol.abstract.disk import Disk
    from protocol.abstract.group import Member
    from protocol.world import World

RETENTION_MS: Final = 1_000  # for which the changelog keeps deletions
_BUDGET: Final = 30.0  # seconds; nothing abstract is slow


class Killed(BaseException):
    """The process is dead from here on."""


class Process:
    """Lives until it is killed, stopped, or fails; its disk and its transactional id outlive it."""

    def __init__(self, world: World, name: str, disk: Disk) -> None:
        self.world, self.name, self.disk = world, name, disk
        self.is_alive = True
        self.is_stopped = False  # by SIGSTOP, in the middle of a call
        self.member: Member | None = None
        self.loop: Loop | None = None
        disk.at = self.at

    # What the scheduler does to it ----------------------------------------------------------------------------

    def at(self, point: str) -> None:
        """A point at which the process may be killed or stopped."""
        if not self.is_alive:
            raise Killed
        self.world.interrupt(self, point)
        if not self.is_alive:
            raise Killed

    def fails(self, point: str) -> bool:
        """Whether the call fails."""
        return self.world.fails(self, point)

    def die(self) -> None:
        """SIGKILL."""
        self.is_alive = False
        if self.member is not None:
            self.member.answers = False
        self.disk.at = ignore
        self.disk.crash(self.world.random)

    # Its life -------------------------------------------------------------------------------------------------

    def start(self) -> None:
        self._live(self._wire)

    def turn(self) -> None:
        """Once round its loop."""
        if self.loop is not None:
            self._live(self.loop.turn)

    def stop(self) -> None:
        """SIGTERM."""
        if self.loop is not None:
            self._live(self._stop)
            if self.is_alive:
                self.die()

    def _stop(self) -> None:
        assert self.loop is not None
        self.loop.lifetime.stop()
        self.loop.run()
        self.loop.consumer.close()

    def _live(self, act: Callable[[], None]) -> None:
        """Acts as the running process, which ends with the act where that kills it or fails."""
        with self.world.running(self):
            try:
                act()
            except Killed:
                self.is_alive = False
            except ProcessorError as error:
                if isinstance(error, (ConfigError, Incompatible)) and not self.world.kafka.input_id:
                    raise  # nothing that a human has to decide has happened
                self.world.note(self.name, "ends:", error.fact)
                self._fail()

    def _fail(self) -> None:
        """As `Loop.run` and the service do: nothing is committed, and the group is left."""
        try:
            if self.loop is not None:
                self.loop.lifetime.has_failed = True
                self.loop.consumer.close()
        except (Killed, ProcessorError):
            pass
        if self.is_alive:
            self.die()

    def _wire(self) -> None:
        """As `processor.runtime.wiring` does it."""
        world, history = self.world, self.world.history
        arena = Arena(history.slots, ARTIFACT.initial_state, FINGERPRINT, world.now)
        identity = Identity(f"input-{world.kafka.input_id}", FINGERPRINT, 1)
        snapshots = Snapshots(arena, identity, CHANGELOG, Sweeper(history.rules.idle_ms))
        consumer = SampleConsumer({}, INPUT, unavailable_seconds=_BUDGET)
        lookout: Any = Lookout(self)
        producer: Any
        commits: Any
        if history.exactly_once:
            producer = TransactionalProducer({"transactional.id": self.name}, _BUDGET)
            commits = ExactlyOnce(producer, consumer, snapshots, lookout)
        else:
            producer = IdempotentProducer({}, _BUDGET)
            commits = AtLeastOnce(producer, IdempotentProducer({}, _BUDGET), consumer, snapshots, lookout)
        disk: Any = self.disk
        admin: Any = Admin(self)
        recoveries = Recoveries(
            consumer=consumer,
            reader=ChangelogReader({}, CHANGELOG, "changelog-id"),
            admin=admin,
            arena=arena,
            stores=Stores(disk, disk, RETENTION_MS),
            identity=identity,
            policy=Policy(history.exactly_once, False, False, 1e9),
            metrics=NOTHING,
        )
        assignment = Assignment(consumer, recoveries.stores, recoveries)
        lifetime = Lifetime(Clock(world.clock, lambda: world.now_ms))
        pacer = Pacer(Pace(0.1, history.snapshot_interval))
        committing = Committing(commits, assignment, arena, pacer, Patience(_BUDGET), lookout, NOTHING, lifetime.clock)
        rebalances = Rebalances(assignment, committing, lookout, lifetime, history.leaving_seconds)
        consumer.subscribe(assigned=rebalances.assigned, revoked=rebalances.revoked, lost=rebalances.lost)
        self.loop = Loop(
            lifetime=lifetime,
            consumer=consumer,
            pipeline=new_pipeline(arena, history.rules),
            outputs=Outputs(producer, OUTPUT, DEAD_LETTERS, 2),
            assignment=assignment,
            committing=committing,
            rebalances=rebalances,
            pacer=pacer,
            lookout=lookout,
            status=Status(consumer, assignment, arena, lookout, NOTHING),
            metrics=NOTHING,
        )
        pacer.start(world.now)
