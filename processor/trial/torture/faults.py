"""What is done to the processes and the broker, one function for each fault of the schedule.

Each begins with everything in order and under load, does its harm (`Scene.strike` notes the moment), and gives back
what it has taken away. Waiting until all is in order again is its caller's.

A failpoint that is not reached (an empty changelog has nothing to restore) is no failure: the process is killed where
it is, and the round's report has that.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from processor.trial.torture import disk
from processor.trial.torture.schedule import BEGINNING, TABLE
from processor.trial.torture.torture_sandbox import GUEST, SESSION_SECONDS, TORTURED, TRANSACTION_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from processor.trial.torture.scene import Scene
    from processor.trial.torture.schedule import Round
    from processor.trial.torture.torture_sandbox import Member

    Fault = Callable[[Scene, Round], None]

_REACHED_SECONDS: Final = 15.0  # within which a failpoint is reached that is passed at all
_STAY_SECONDS: Final = 4.0
_BROKER_AWAY_SECONDS: Final = 10.0  # at the most; beyond the session, the transaction and the controller's patience
_BROKER_START_SECONDS: Final = 120.0
_SLEEP_SECONDS: Final = TRANSACTION_SECONDS + 2.0  # the broker looks for transactions that are over time every second


def begin(scene: Scene) -> None:
    """The first start of all: the group's beginning is cut short where it is decided once, and made again."""
    first, *others = scene.members
    scene.start(first, f"{BEGINNING}=kill")
    reached = scene.died(first, 0)
    if not reached:
        scene.kill(first)
    scene.course.happened(f"SIGKILL of {first.name} at {BEGINNING}", "bold red")
    scene.start(first)
    scene.ready(first)  # alone: it makes the topics
    scene.follower = scene.sandbox.start_follower()
    for member in others:
        scene.start(member)


def inject(scene: Scene, one: Round) -> None:
    """Does what a round prescribes."""
    _DO[one.fault](scene, one)


def _target(scene: Scene, one: Round) -> Member:
    return scene.members[one.process]


def _kill(scene: Scene, one: Round) -> None:
    member = _target(scene, one)
    ends = scene.ends()
    scene.kill(member)
    scene.strike(f"SIGKILL of {member.name}", ends)
    scene.start(member)


def _kill_all(scene: Scene, one: Round) -> None:
    ends = scene.ends()
    scene.kill(*scene.members)
    scene.strike("SIGKILL of all", ends)
    for member in scene.members:
        scene.start(member)


def _kill_in_commit(scene: Scene, one: Round) -> None:
    member = _target(scene, one)
    scene.kill(member)
    scene.start(member, f"{one.point}=kill@{one.hit}")
    _strike_at_point(scene, member, one, _REACHED_SECONDS)
    scene.start(member)


def _kill_in_recovery(scene: Scene, one: Round) -> None:
    """All are killed, so that the one that comes back first has all partitions to bring back; then it is killed again.

    Once it is ready, its recovery is over.
    """
    member = _target(scene, one)
    scene.kill(*scene.members)
    if one.fault == "kill-in-restore":
        disk.lose(member.state)
    scene.start(member, f"{one.point}=kill@{one.hit}")
    _strike_at_point(scene, member, one, 0)
    for each in scene.members:
        scene.start(each)


def _kill_while_leaving(scene: Scene, one: Round) -> None:
    """The process comes to where partitions leave by another one's joining, or by a SIGTERM."""
    member = _target(scene, one)
    scene.kill(member)
    scene.start(member, f"{one.point}=kill")
    scene.ready(member)
    guest = _guest(scene) if one.graceful else None
    if guest is not None:
        scene.start(guest)
        scene.ready(guest)
    if member.process.running:  # no partition of its own went to the guest, or there is none
        ends = scene.ends()
        member.wanted = False
        member.process.terminate()
        scene.until(lambda: not member.process.running, _REACHED_SECONDS)
        scene.strike(f"SIGKILL of {member.name} at {one.point} after SIGTERM", ends)
    else:
        scene.strike(f"SIGKILL of {member.name} at {one.point} while a guest joins")
    scene.kill(member)
    scene.start(member)
    if guest is not None:
        scene.ready(member, guest)
        scene.terminate(guest)


def _strike_at_point(scene: Scene, member: Member, one: Round, seconds: float) -> None:
    """Waits for the failpoint until so many seconds after the process is ready."""
    reached = scene.died(member, seconds)
    if not reached:
        scene.remark(f"{one.point} was not reached {one.hit} times")
        scene.kill(member)
    scene.strike(f"SIGKILL of {member.name}{f' at {one.point}, hit {one.hit}' if reached else ''}")


def _disk_deleted(scene: Scene, one: Round) -> None:
    member = _target(scene, one)
    ends = scene.ends()
    scene.kill(member)
    disk.lose(member.state)
    scene.strike(f"SIGKILL of {member.name}, and its disk is deleted", ends)
    scene.start(member)


def _disk_damaged(scene: Scene, one: Round) -> None:
    """After a SIGTERM: a store that was closed in peace has written everything, so there is something to damage."""
    member = _target(scene, one)
    scene.strike(f"SIGTERM of {member.name}")
    scene.terminate(member)
    scene.course.happened(disk.damage(member.state, one.seed), "bold red")
    scene.start(member)


def _old_disk(scene: Scene, one: Round) -> None:
    """The copy that an earlier round took; the first time, one that is some seconds old."""
    member = _target(scene, one)
    place = scene.sandbox.copies / member.name
    if not place.exists():
        scene.kill(member)
        disk.copy(member.state, place)
        scene.start(member)
        scene.ready(member)
        scene.wait(_STAY_SECONDS * one.share)
    ends = scene.ends()
    scene.kill(member)
    fresh = place.with_name(f"{member.name}-fresh")
    disk.copy(member.state, fresh)
    disk.put_back(member.state, place)
    disk.put_back(place, fresh)  # for the next time
    scene.strike(f"SIGKILL of {member.name}, and an old copy of its disk is put back", ends)
    scene.start(member)


def _stop_and_go(scene: Scene, one: Round) -> None:
    """A zombie, when it goes on: another one has its partitions. Where there is no other, a guest comes."""
    member = _target(scene, one)
    guest = _guest(scene) if len(scene.members) == 1 else None
    if guest is not None:
        scene.start(guest)
        scene.ready(member, guest)
    seconds = SESSION_SECONDS + 1 + one.share * TRANSACTION_SECONDS
    ends = scene.ends()
    member.process.pause()
    member.wanted = False
    scene.strike(f"SIGSTOP of {member.name} for {seconds:.1f} s", ends)
    scene.wait(seconds)
    member.process.resume()
    member.wanted = True
    scene.course.happened(f"{member.name} goes on", "yellow")
    if guest is not None:
        scene.ready(member, guest)
        scene.terminate(guest)


def _restart(scene: Scene, one: Round) -> None:
    member = _target(scene, one)
    scene.strike(f"SIGTERM of {member.name}")
    scene.terminate(member)
    scene.start(member)


def _join_and_leave(scene: Scene, one: Round) -> None:
    """The guest's disk is kept from one visit to the next: what it finds on it is far behind."""
    guest = _guest(scene)
    scene.start(guest)
    scene.ready(guest)
    scene.wait(_STAY_SECONDS * one.share)
    scene.strike(f"a guest has joined, and leaves by {'SIGTERM' if one.graceful else 'SIGKILL'}")
    if one.graceful:
        scene.terminate(guest)
    else:
        scene.kill(guest)


def _transaction_timeout(scene: Scene, one: Round) -> None:
    member = _target(scene, one)
    scene.terminate(member)
    scene.start(member, f"{one.point}=sleep:{_SLEEP_SECONDS}@{one.hit}")

    def failed() -> bool:
        return any(line.get("event") == "commit.failed" for line in member.process.events())

    if not scene.happens(failed, member, _REACHED_SECONDS + _SLEEP_SECONDS):
        scene.remark(f"no commit of {member.name} has failed")
    at = time.monotonic() - _SLEEP_SECONDS
    scene.strike(f"{member.name} slept at {one.point} until the broker ended its transaction", at=at)


def _broker_killed(scene: Scene, one: Round) -> None:
    ends = scene.ends()
    scene.sandbox.kafka.kill()
    scene.strike("SIGKILL of the broker", ends)
    scene.wait(one.share * 2)
    starting = scene.sandbox.restart_broker()
    if not scene.until(lambda: not starting.running, _BROKER_START_SECONDS):
        starting.join()
    scene.course.happened("the broker is back", "yellow")


def _broker_paused(scene: Scene, one: Round) -> None:
    seconds = 1 + one.share * (_BROKER_AWAY_SECONDS - 1)
    ends = scene.ends()
    scene.sandbox.kafka.pause()
    scene.strike(f"SIGSTOP of the broker for {seconds:.1f} s", ends)
    scene.wait(seconds)
    scene.sandbox.kafka.resume()
    scene.course.happened("the broker goes on", "yellow")


def _guest(scene: Scene) -> Member:
    """One more process of the group, without a static name: what it leaves is taken over at once."""
    for member in scene.sandbox.members:
        if member.name == GUEST:
            return member
    return scene.sandbox.member(GUEST, TORTURED, static=False)


_DO: Final[dict[str, Fault]] = {
    "kill": _kill,
    "kill-all": _kill_all,
    "kill-in-commit": _kill_in_commit,
    "kill-in-recovery": _kill_in_recovery,
    "kill-in-restore": _kill_in_recovery,
    "kill-in-replay": _kill_in_recovery,
    "kill-while-leaving": _kill_while_leaving,
    "disk-deleted": _disk_deleted,
    "disk-damaged": _disk_damaged,
    "old-disk": _old_disk,
    "stop-and-go": _stop_and_go,
    "restart": _restart,
    "join-and-leave": _join_and_leave,
    "transaction-timeout": _transaction_timeout,
    "broker-killed": _broker_killed,
    "broker-paused": _broker_paused,
}
assert list(_DO) == list(TABLE)
