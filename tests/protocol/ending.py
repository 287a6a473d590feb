"""The end of a history: nothing more goes wrong, all is handed over, and each key is asked once more."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Final

from processor.recovery.partition import Phase
from protocol.history import PARTITIONS
from protocol.moves import release, settle_transactions, start_at
from protocol.undisturbed import Violation

if TYPE_CHECKING:
    from protocol.world import World

_PATIENCE: Final = 400  # rounds until all must be through


def finish(world: World) -> None:
    """Raises Violation where the processes do not come to an end."""
    world.is_calm = True
    world.random = Random(world.history.seed)
    world.note("from here on nothing goes wrong")
    release(world)
    while world.unread:
        world.append(world.unread.pop(0))
    if world.kafka.input_id:
        _run_until_it_is_noticed(world)
        return
    for twin in world.twins:  # or they would fence each other to the end
        if twin.is_alive:
            twin.die()
    _run_to_the_end(world)
    if world.history.probes:
        _hand_over(world)
        for record in world.history.probes:
            world.append(record)
        _run_to_the_end(world)
    for process in world.everybody():
        assert process.member is not None
        assert process.loop is not None
        process.loop.rebalances.leaving_seconds = 1e9
        world.last_owners.update(dict.fromkeys(process.member.owned, process.disk))
        process.stop()
    settle_transactions(world)


def _run_until_it_is_noticed(world: World) -> None:
    """That the input was recreated: nobody goes on."""
    settle_transactions(world)
    for _ in range(_PATIENCE):
        holding = [p for p in world.everybody() if p.loop is not None and p.loop.assignment.partitions]
        if not holding:
            settle_transactions(world)
            return
        for process in holding:
            process.turn()
        world.now += 0.1
    raise Violation("nobody notices that the input was recreated")


def _hand_over(world: World) -> None:
    """To memory, to disks, or to the changelog alone."""
    if world.history.hands_over == "memory":
        return
    world.note("all are killed; what is left is their", world.history.hands_over)
    for process in world.everybody():
        process.die()
    if world.history.hands_over == "changelog":
        for disk in world.disks:
            disk.databases.clear()


def _run_to_the_end(world: World) -> None:
    settle_transactions(world)
    group = world.kafka.group
    group.time_out_sessions()
    for _ in range(_PATIENCE):
        if not any(process is not None and process.is_alive for process in world.processes):
            start_at(world, world.random.randrange(len(world.processes)))
        for process in world.everybody():
            process.turn()
        if not group.is_settled():
            _rebalance_evenly(world)
        elif _is_through(world):
            return
        world.now += 0.1
        world.now_ms += 5  # a restore is a matter of rounds here, and must not take longer than deletions are kept
        for transaction in world.kafka.decided():
            world.kafka.deliver_markers(transaction)
    raise Violation("it does not come to an end")


def take_over(world: World) -> None:
    """Who answers gets all there is, and goes on with it."""
    _rebalance_evenly(world)
    for _ in range(world.random.randrange(4, 24)):
        if (process := world.some_running()) is not None:
            world.note(process.name, "turns")
            process.turn()


def _rebalance_evenly(world: World) -> None:
    members = [member for member in world.kafka.group.members if member.answers]
    if members:
        world.kafka.group.rebalance({p: members[p % len(members)] for p in PARTITIONS})


def _is_through(world: World) -> bool:
    offsets = world.kafka.group.offsets
    held = [
        partition
        for process in world.everybody()
        if process.loop is not None
        for partition in process.loop.assignment.partitions.values()
    ]
    return len(held) == len(PARTITIONS) and all(
        partition.phase is Phase.RUNNING
        and partition.committable >= world.wanted[partition.number]
        # Offsets that have expired are there again with the next event.
        and offsets.get(partition.number, partition.committable) >= world.wanted[partition.number]
        for partition in held
    )
