"""Rebalances: partitions come and leave. All of it happens inside a poll, between slices.

So what a rebalance commits is always a prefix of each partition.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from processor.failpoints import failpoint
from processor.log import get_logger

if TYPE_CHECKING:
    from processor.kafka.lookout import Lookout
    from processor.recovery.assignment import Assignment
    from processor.runtime.committing import Committing
    from processor.runtime.lifetime import Lifetime

_LOG = get_logger()


class Rebalances:
    """The consumer's callbacks, with the numbers of partitions."""

    def __init__(
        self,
        assignment: Assignment,
        committing: Committing,
        lookout: Lookout,
        lifetime: Lifetime,
        leaving_seconds: float,
    ) -> None:
        """leaving_seconds: for the commits of partitions that leave; from the stop on, where there is one."""
        self._assignment, self._committing = assignment, committing
        self._lookout, self._lifetime = lookout, lifetime
        self.leaving_seconds = leaving_seconds

    def assigned(self, numbers: list[int]) -> None:
        """Partitions come."""
        self._lookout.see_partitions(numbers)
        self._assignment.assigned(numbers, self._lifetime.clock.now())

    def revoked(self, numbers: list[int]) -> None:
        """Partitions leave in peace. A last commit writes what is dirty; Kafka rejects it if they are not ours now."""
        if not self._lifetime.has_failed:
            failpoint("revoke.started")
            deadline = self._lifetime.clock.now() - self._lifetime.stopping_age() + self.leaving_seconds
            with self._committing.recovering():
                self._committing.leave(numbers, deadline)
            failpoint("revoke.committed")
        self._assignment.close(numbers)
        failpoint("revoke.closed")

    def lost(self, numbers: list[int]) -> None:
        """Partitions were taken away: others may have them already. Nothing of theirs may be committed."""
        _LOG.warning("lost", partitions=sorted(numbers))
        if not self._lifetime.has_failed:
            self._committing.recover()
        self._assignment.close(numbers)
