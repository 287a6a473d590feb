"""Which of Kafka's errors a repetition can mend, and for how long it is tried."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_exponential

from processor.kafka.client import KafkaException

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class CommitFailed(Exception):
    """A commit did not come through, or nobody knows whether it did. The way back follows."""


def is_retriable(error: BaseException) -> bool:
    """Whether the same call may succeed when it is made again."""
    return isinstance(error, KafkaException) and error.args[0].retriable() and not error.args[0].txn_requires_abort()


def repeat(call: Callable[[], T], budget_seconds: float) -> T:
    """Calls again while the error is one that a repetition can mend, within the budget; then raises it."""
    return Retrying(
        retry=retry_if_exception(is_retriable),
        stop=stop_after_delay(budget_seconds),
        wait=wait_exponential(0.05, max=1.0),
        reraise=True,
    )(call)
