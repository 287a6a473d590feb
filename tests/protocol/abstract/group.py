"""The consumer group, as its coordinator keeps it: members, generations, offsets. Cooperative, one coordinator.

Offsets are taken from members of the current generation, and from whoever does not say that he is a member; nobody
asks whether a member owns the partition.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from processor.kafka.client import KafkaError


class Refused(Exception):
    """The member is none of the group's, or not of its current generation."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


@dataclass(slots=True, eq=False)
class Member:
    """A member of the group, as the coordinator and the member's own client know it."""

    name: int
    owned: set[int] = field(default_factory=set)  # given to it, and not given back
    to_assign: set[int] = field(default_factory=set)
    to_revoke: set[int] = field(default_factory=set)
    generation: int = -1
    is_known: bool = True  # False: its session has timed out; it finds out when it polls
    has_heard: bool = False  # ... or in the background, before that
    answers: bool = True  # False: its process is dead or stopped


@dataclass(slots=True)
class Group:
    """The consumer group of the input: cooperative, one coordinator."""

    partitions: int
    generation: int = 0
    members: list[Member] = field(default_factory=list)
    offsets: dict[int, int] = field(default_factory=dict)
    _names: int = 0

    def join(self) -> Member:
        self._names += 1
        member = Member(self._names)
        self.members.append(member)
        return member

    def leave(self, member: Member) -> None:
        """Takes a member out, and all that it holds from it."""
        if member in self.members:
            self.members.remove(member)
            member.is_known = False
            self._next_generation()

    def time_out_sessions(self) -> None:
        for member in [member for member in self.members if not member.answers]:
            self.leave(member)

    def rebalance(self, wanted: dict[int, Member]) -> None:
        """A generation with the assignment `wanted`; who has to give a partition up is asked to first."""
        self.time_out_sessions()
        owners = {partition: member for member in self.members for partition in member.owned | member.to_assign}
        for partition, member in wanted.items():
            owner = owners.get(partition)
            if owner is None:
                member.to_assign.add(partition)
            elif owner is not member:
                if partition in owner.to_assign:
                    owner.to_assign.discard(partition)
                    member.to_assign.add(partition)
                else:
                    owner.to_revoke.add(partition)
            else:
                owner.to_revoke.discard(partition)
        self._next_generation()

    def _next_generation(self) -> None:
        self.generation += 1
        for member in self.members:
            if member.answers:
                member.generation = self.generation

    def is_settled(self) -> bool:
        owned = [partition for member in self.members for partition in member.owned]
        return len(owned) == self.partitions and not any(m.to_assign or m.to_revoke for m in self.members)

    def metadata(self, member: Member) -> bytes:
        """What the member's client sends along with offsets."""
        if not member.is_known and member.has_heard:
            return b""
        return b"member-%d %d" % (member.name, member.generation)

    def check(self, metadata: bytes) -> None:
        """A broker takes the offsets of somebody who says nothing of a membership: that is how simple consumers are."""
        if not metadata:
            return
        known = [member for member in self.members if self.metadata(member).split()[0] == metadata.split()[0]]
        if not known:
            raise Refused(KafkaError.UNKNOWN_MEMBER_ID)
        if int(metadata.split()[1]) != self.generation:
            raise Refused(KafkaError.ILLEGAL_GENERATION)
