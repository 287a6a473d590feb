"""The group, held: for as long as a reset works, this process is its only member.

To ask whether a group is empty means nothing for the moment after. The brokers take offsets in a transaction from a
stranger, even while the group has members. They refuse a member's once its generation is over. So this process joins,
and sends every commit as a member.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from processor.config import consumer_properties
from processor.errors import ConfigError, OwnershipLost, Unavailable
from processor.kafka.consumer import SampleConsumer

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from processor.config import Settings
    from processor.kafka.admin import Admin
    from processor.kafka.client import TopicPartition

_JOIN_SECONDS: Final = 60.0
_ASK_SECONDS: Final = 1.0


def refuse_members(settings: Settings, admin: Admin, *, most: int = 0) -> None:
    """Raises ConfigError where the group has more than `most` members."""
    members = admin.group_members(settings.kafka.group_id)
    if len(members) > most:
        raise ConfigError(
            f"The group {settings.kafka.group_id} is not empty.",
            f"Its members: {', '.join(members)}.",
            "Stop all of its processes. One that was killed, or has a kafka.group_instance_id, counts until its "
            "session has timed out (session.timeout.ms, 10 s by default).",
        )


class HeldGroup:
    """A member of the group that takes all partitions of the input, and reads nothing."""

    def __init__(self, settings: Settings) -> None:
        """Begins to join."""
        self._settings = settings
        self._held: set[int] = set()
        self._is_lost = False
        properties = consumer_properties(settings)
        # A member with a name of its own would keep the partitions for a session after it has left.
        properties.pop("group.instance.id", None)
        properties["client.id"] = f"{settings.kafka.group_id}-reset"
        self._consumer = SampleConsumer(
            properties,
            settings.input.topic,
            unavailable_seconds=settings.processing.unavailable_seconds,
        )
        self._consumer.subscribe(assigned=self._held.update, revoked=self._lose, lost=self._lose)

    def _lose(self, numbers: list[int]) -> None:
        if numbers:
            self._is_lost = True

    def join(self, partitions: Iterable[int], admin: Admin) -> None:
        """Returns when all of `partitions` are held.

        Raises:
            ConfigError: others are in the group. Unavailable: nobody gives them.
        """
        wanted = set(partitions)
        asked_at = began = time.monotonic()
        while not wanted <= self._held:
            self._consumer.poll(0.05, 1)
            now = time.monotonic()
            if now - asked_at > _ASK_SECONDS:
                refuse_members(self._settings, admin, most=1)
                asked_at = now
            if now - began > _JOIN_SECONDS:
                raise Unavailable(
                    f"The group could not be joined within {_JOIN_SECONDS:.0f} s.",
                    "Its coordinator does not answer, or gives this process no partitions.",
                    "Nothing was changed: look at the brokers, and type it again.",
                )
        self.look()

    def look(self) -> None:
        """Lets the client see what has become of the group.

        Raises:
            OwnershipLost: somebody joined it.
        """
        self._consumer.poll(0.0, 1)
        if self._is_lost:
            raise OwnershipLost(
                "A process joined the group while it was reset.",
                "What it finds is half reset, and it refuses that.",
                "Stop every process of the group, and type it again: it starts over.",
            )

    def commit(self, offsets: Mapping[int, int]) -> None:
        """See SampleConsumer."""
        self._consumer.commit(offsets)

    def topic_partitions(self, offsets: Mapping[int, int]) -> list[TopicPartition]:
        """See SampleConsumer."""
        return self._consumer.topic_partitions(offsets)

    def metadata(self) -> Any:
        """See SampleConsumer."""
        return self._consumer.group_metadata()

    def close(self) -> None:
        """Leaves the group."""
        self._consumer.close()
