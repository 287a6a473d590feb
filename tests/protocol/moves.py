"""What the scheduler can do: the moves of a history."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from protocol.abstract.client import CHANGELOG, INPUT
from protocol.abstract.disk import Disk
from protocol.history import PARTITIONS
from protocol.process import RETENTION_MS, Process

if TYPE_CHECKING:
    from collections.abc import Callable

    from protocol.world import World


def turn(world: World) -> None:
    """One process goes once round its loop."""
    process = world.some_running()
    if world.random.random() < 0.5:  # nobody to act, or nothing to act upon, is soon over
        if process is None:
            return start(world)
        if not world.kafka.group.is_settled() and world.random.random() < 0.3:
            return rebalance(world)
    if process is not None:
        world.note(process.name, "turns")
        process.turn()
    return None


def append(world: World) -> None:
    for _ in range(world.random.randrange(1, 5)):
        if world.unread:
            world.append(world.unread.pop(0))


def start(world: World) -> None:
    for index, process in enumerate(world.processes):
        if process is None or not process.is_alive:
            return start_at(world, index)
    return None


def start_at(world: World, index: int) -> None:
    process = world.processes[index] = Process(world, f"t{index}", world.disks[index])
    world.note(process.name, "starts")
    process.start()


def twin(world: World) -> None:
    """Another process takes a stopped one's transactional id, with a disk of its own."""
    for process in world.processes:
        if process is not None and process.is_stopped and not world.twins:
            world.note("a twin of", process.name, "starts")
            world.twins.append(Process(world, process.name, Disk()))
            world.twins[0].start()


def kill(world: World) -> None:
    if everybody := world.everybody():
        process = world.random.choice(everybody)
        world.note(process.name, "is killed")
        process.die()


def terminate(world: World) -> None:
    """SIGTERM."""
    if (process := world.some_running()) is not None:
        world.note(process.name, "is told to end")
        process.stop()


def rebalance(world: World) -> None:
    members = [member for member in world.kafka.group.members if member.answers]
    moving = world.random.choice(((0,), (1,), PARTITIONS, PARTITIONS))
    wanted = {partition: world.random.choice(members) for partition in moving} if members else {}
    cursors = [f"{partition} to member {member.name}" for partition, member in wanted.items()]
    world.note("rebalance:", ", ".join(cursors))
    world.kafka.group.rebalance(wanted)


def end_session(world: World) -> None:
    if world.kafka.group.members:
        member = world.random.choice(world.kafka.group.members)
        world.note("the session of member", member.name, "ends")
        world.kafka.group.leave(member)
        member.has_heard = world.random.random() < 0.5


def marker(world: World) -> None:
    if decided := world.kafka.decided():
        transaction = world.random.choice(decided)
        world.note("a marker of", transaction.transactional_id, "arrives")
        world.kafka.deliver_markers(transaction, world.random.randrange(8))


def time_out(world: World) -> None:
    if world.kafka.transactions:
        transaction = world.random.choice(world.kafka.transactions)
        world.note("the transaction of", transaction.transactional_id, "times out")
        world.kafka.time_out(transaction)


def compact(world: World) -> None:
    log = world.kafka.log(CHANGELOG, world.random.choice(PARTITIONS))
    bound = log.end if world.random.random() < 0.7 else world.random.randrange(log.end + 1)
    world.note("changelog", log.partition, "is compacted below", bound)
    log.compact(bound, world.now_ms, RETENTION_MS)


def leap(world: World) -> None:
    """So much time passes that sessions and transactions of those who stand still are over."""
    settle_transactions(world)
    for process in world.everybody():
        if process.is_stopped and process.member is not None:
            world.kafka.group.leave(process.member)
    world.kafka.group.time_out_sessions()
    _compact_all(world)
    world.now_ms += world.random.choice((RETENTION_MS // 2, RETENTION_MS, 2 * RETENTION_MS))
    world.note("much time passes")
    _compact_all(world)


def settle_transactions(world: World) -> None:
    """Those that are open time out, and all markers arrive."""
    for transaction in list(world.kafka.transactions):
        world.kafka.time_out(transaction)
    for transaction in world.kafka.decided():
        world.kafka.deliver_markers(transaction)


def _compact_all(world: World) -> None:
    if world.random.random() < 0.8:
        for partition in PARTITIONS:
            log = world.kafka.log(CHANGELOG, partition)
            log.compact(log.end, world.now_ms, RETENTION_MS)


def spoil(world: World) -> None:
    """What can happen to the disk of a process that does not run."""
    index = world.random.randrange(len(world.disks))
    disk, process = world.disks[index], world.processes[index]
    partition = world.random.choice(PARTITIONS)
    if world.random.random() < 0.5 or (process is not None and process.is_alive):
        disk.copy(partition)
    elif world.random.random() < 0.7:
        world.note("an older copy of", f"t{index}'s store", partition, "comes back")
        disk.restore_copy(partition)
    else:
        world.note(f"t{index}'s store", partition, "is lost")
        disk.lose(partition)


def expire(world: World) -> None:
    """The group's offsets expire once nobody was there for long."""
    kafka = world.kafka
    if not kafka.transactions and not kafka.group.members and kafka.group.offsets:
        world.note("the group's offsets expire")
        kafka.group.offsets.clear()


_UPSTREAM: Final = -1  # the transaction of whoever writes the input; no id of an object is below 0


def hold(world: World) -> None:
    """Whoever writes the input leaves a transaction open: readers come to its first record, and no further."""
    log = world.kafka.log(INPUT, world.random.choice(PARTITIONS))
    if log.open.setdefault(_UPSTREAM, log.end) == log.end:
        world.note("a transaction of the input's partition", log.partition, "is open from", log.end, "on")


def release(world: World) -> None:
    for partition in PARTITIONS:
        if world.kafka.log(INPUT, partition).open.pop(_UPSTREAM, None) is not None:
            world.note("the transaction of the input's partition", partition, "ends")


def recreate(world: World) -> None:
    """The input is deleted and created again, with other events. Clients read on where they stand."""
    kafka = world.kafka
    if len(kafka.group.offsets) < len(PARTITIONS):
        return  # a partition that nobody has begun with is a new group's in the new topic, too
    kafka.input_id += 1
    world.unread.clear()
    for partition in PARTITIONS:
        log = kafka.log(INPUT, partition)
        most = log.end + 6
        log.entries, log.end, log.open = [], 0, {}
        for _ in range(world.random.randrange(most)):
            log.append(world.random.choice((b"a", b"b", b"c")), b'{"features": [5], "time": 1}')
        world.note("input", partition, "is recreated, and ends at", log.end)


MOVES: Final[dict[str, Callable[[World], None]]] = {
    move.__name__: move
    for move in (
        *(turn, append, start, twin, kill, terminate, rebalance, end_session),
        *(marker, time_out, compact, leap, spoil, expire, hold, release, recreate),
    )
}
