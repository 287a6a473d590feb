"""Which of Kafka's errors a repetition can mend, and for how long it is tried; and how long commits may fail."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_exponential

from processor.errors import Unavailable
from processor.kafka.client import KafkaError, KafkaException

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
_LEAST_FAILED: Final = 3


MENDED_BY_TIME: Final = frozenset(
    {
        KafkaError._TIMED_OUT,
        KafkaError._TIMED_OUT_QUEUE,
        KafkaError._TRANSPORT,
        KafkaError._ALL_BROKERS_DOWN,
        KafkaError._RESOLVE,
        KafkaError._NOENT,  # "no leaders found": a topic that is moving
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.REQUEST_TIMED_OUT,
        KafkaError.BROKER_NOT_AVAILABLE,
        KafkaError.REPLICA_NOT_AVAILABLE,
        KafkaError.NETWORK_EXCEPTION,
        KafkaError._WAIT_COORD,
        KafkaError.UNSTABLE_OFFSET_COMMIT,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.NOT_COORDINATOR,
        KafkaError.NOT_CONTROLLER,
        KafkaError.UNKNOWN_LEADER_EPOCH,
        KafkaError.FENCED_LEADER_EPOCH,
        KafkaError.OFFSET_NOT_AVAILABLE,
        KafkaError.KAFKA_STORAGE_ERROR,
    }
)
"""Errors of a question or of a commit outside of transactions that are over by themselves, sooner or later."""


class CommitFailed(Exception):
    """A commit did not come through, or nobody knows whether it did. Recovery follows."""

    def __init__(self, reason: str, code: int | None = None) -> None:
        """code: Kafka's, where it was Kafka who refused."""
        super().__init__(reason)
        self.code = code


class GenerationChanged(CommitFailed):
    """The group went on to a new generation while offsets were on their way. This member may still be in it."""


class Patience:
    """How long commits may fail, one after the other, until the process ends for a restart."""

    def __init__(self, budget_seconds: float) -> None:
        self._budget = budget_seconds
        self._failed = 0
        self._since = 0.0

    def succeeded(self) -> None:
        """A commit has come through."""
        self._failed = 0

    def failed(self, error: CommitFailed, now: float) -> None:
        """A commit has not.

        Raises:
            Unavailable: that goes on for longer than the budget. A few must have failed: a single recovery between
                two of them may take longer than any budget.
        """
        self._since = self._since if self._failed else now
        self._failed += 1
        if self._failed >= _LEAST_FAILED and now - self._since > self._budget:
            raise Unavailable(
                f"No commit has come through for {now - self._since:.0f} s.",
                f"{self._failed} have failed, one after the other, the last one because of: {error}",
                "Nothing is lost: look at the brokers and at the topics' limits, and start again.",
            ) from error


def is_retriable(error: BaseException) -> bool:
    """Whether a repetition of the transactional call may succeed: the client marks such errors."""
    return isinstance(error, KafkaException) and error.args[0].retriable() and not error.args[0].txn_requires_abort()


def is_transient(error: BaseException) -> bool:
    """Whether the same call of a consumer or an admin client may succeed when it is made again."""
    return isinstance(error, KafkaException) and (error.args[0].retriable() or error.args[0].code() in MENDED_BY_TIME)


def repeat(call: Callable[[], T], budget_seconds: float, mended: Callable[[BaseException], bool] = is_retriable) -> T:
    """Calls again while the error is one that a repetition can mend, within the budget; then raises it."""
    return Retrying(
        retry=retry_if_exception(mended),
        stop=stop_after_delay(budget_seconds),
        wait=wait_exponential(0.05, max=1.0),
        reraise=True,
    )(call)
