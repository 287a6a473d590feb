"""The look-out: whether the topics are still those that the process began with, and whether Kafka replies at all.

A thread of its own asks the brokers for the topics' ids and partition counts, once a second and for every commit. So
the loop waits for an answer only where a commit needs one, and the question is on its way while the commit is flushed.
Invariants:

- A look that `confirm` accepts *began* after its `ask`. A topic's id never comes back: if it is the old one now, all
  that was polled before came from the old topic.
- A topic that is not there is no finding yet: a broker that has just started may not know it. Commits wait meanwhile.
- `silence` counts the looks that failed, each for no longer than a look takes. So a process or a machine that was
  stopped for an hour does not take that for an hour in which Kafka was away.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

from processor.errors import Incompatible, ProcessorError, Unavailable
from processor.kafka.client import KafkaException
from processor.kafka.retry import CommitFailed
from processor.log import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from processor.kafka.admin import TopicIdentity

_LOG = get_logger()
_LOOK_SECONDS: Final = 1.0  # from look to look
_AGAIN_SECONDS: Final = 0.2  # after one that failed, or that missed a topic
_REVIEW_SECONDS: Final = 30.0
ANSWER_SECONDS: Final = 2.0  # that a broker has for an answer
_AWAY_SECONDS: Final = 2.5  # of silence: Kafka is away
_GONE_SECONDS: Final = 3.0  # for which a topic is missing: it was deleted
_CONFIRM_SECONDS: Final = 5.0  # that a commit waits for its look


@dataclass(frozen=True, slots=True)
class Expected:
    """A topic as it was when the process began."""

    role: str  # "input", "changelog", ...
    name: str
    topic_id: str
    partitions: int
    loss: str  # what its deletion means
    remedy: str
    growth_remedy: str = ""  # of the input: there, more partitions change predictions


class Lookout:
    """Looks after the topics; a context manager. All but the look itself may be called from any thread."""

    def __init__(
        self,
        describe: Callable[[Sequence[str], float], Mapping[str, TopicIdentity | None]],
        expected: Sequence[Expected],
        *,
        review: Callable[[], ProcessorError | None],
        budget_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """describe: asks the brokers, within so many seconds. review: what a new start would refuse, or None.

        Both are called on the look-out's thread alone. budget_seconds: of silence, until `heed` raises.
        """
        self._describe, self._expected, self._review = describe, tuple(expected), review
        self._budget, self._clock = budget_seconds, clock
        self._changed = threading.Condition()
        self._begun = self._wanted = self._confirmed = 0  # numbers of looks
        self._silence, self._looked_at = 0.0, clock()
        self._missing_since: float | None = None
        self._reviewed_at = clock()
        self._was_away = self._is_done = False
        self._why = ""  # the last look has not confirmed
        self.finding: Incompatible | None = None
        self.refusal: ProcessorError | None = None
        self._broken: Exception | None = None  # what ended the thread, though nobody had asked it to
        self._thread = threading.Thread(target=self._run, name="lookout", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._is_done = True
            self._changed.notify_all()
        self._thread.join(ANSWER_SECONDS + _LOOK_SECONDS)

    # What the loop asks ----------------------------------------------------------------------------------------

    def ask(self) -> int:
        """Asks for a look that begins after this call. Returns its number, for `confirm`."""
        with self._changed:
            self._wanted = self._begun + 1
            self._changed.notify_all()
            return self._wanted

    def confirm(self, number: int) -> None:
        """Waits until that look has found all topics as they were.

        Raises:
            Incompatible: it has not. CommitFailed: no broker answered in time.
            Exception: what ended the look-out's thread.
        """
        with self._changed:
            self._changed.wait_for(
                lambda: self._confirmed >= number or self.finding is not None or self._broken is not None,
                timeout=_CONFIRM_SECONDS,
            )
            self._raise_what_was_found()
            if self._confirmed < number:
                raise CommitFailed(f"no broker has confirmed that the topics are those of the start: {self._why}")

    def heed(self) -> None:
        """To be called again and again, also while something is waited for.

        Raises:
            Incompatible: a topic is not the one that the process began with. Nothing may be committed any more.
            Unavailable: no broker has answered for longer than the budget.
            Exception: what ended the look-out's thread. Nobody looks any more.
        """
        self._raise_what_was_found()
        if (silence := self.silence()) > self._budget:
            raise Unavailable(
                f"No Kafka broker answered for {silence:.0f} s.",
                "The brokers are down, hang, or cannot be reached from here.",
                "Nothing is lost: start again once they are back (processing.unavailable_seconds is the budget).",
            )

    def see_partitions(self, numbers: Sequence[int]) -> None:
        """The group hands out these partitions of the input.

        Raises:
            Incompatible: the input has got more of them.
        """
        (fixed,) = (topic for topic in self._expected if topic.growth_remedy)
        if numbers and max(numbers) >= fixed.partitions:
            raise _grown(fixed, max(numbers) + 1)

    def heard(self) -> None:
        """A broker has replied to somebody else: it is there."""
        with self._changed:
            self._silence, self._looked_at = 0.0, self._clock()

    def silence(self) -> float:
        """Seconds for which Kafka has replied to nobody; 0 while no look has failed since its last reply."""
        with self._changed:
            if not self._silence:
                return 0.0
            return self._silence + min(self._clock() - self._looked_at, _LOOK_SECONDS + ANSWER_SECONDS)

    @property
    def is_away(self) -> bool:
        """Whether no broker has answered for some seconds."""
        return self.silence() > _AWAY_SECONDS

    # The look --------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while self._wait():
                self._look()
                if self._confirmed == self._begun and self._clock() - self._reviewed_at > _REVIEW_SECONDS:
                    self.refusal = self._review() or self.refusal
                    self._reviewed_at = self._clock()
        except Exception as error:  # raised in the loop: nobody looks any more
            with self._changed:
                self._broken = error
                self._changed.notify_all()

    def _raise_what_was_found(self) -> None:
        if self.finding is not None:
            raise self.finding
        if self._broken is not None:
            raise self._broken

    def _wait(self) -> bool:
        """Until the next look is due or wanted. False: there are no more."""
        with self._changed:
            if self._confirmed == self._begun:
                self._changed.wait_for(lambda: self._is_done or self._wanted > self._begun, timeout=_LOOK_SECONDS)
            else:
                self._changed.wait_for(lambda: self._is_done, timeout=_AGAIN_SECONDS)
            self._begun += 1
            return not self._is_done

    def _look(self) -> None:
        began = self._clock()
        try:
            found = self._describe(sorted({topic.name for topic in self._expected}), ANSWER_SECONDS)
        except KafkaException as error:
            self._why = error.args[0].str()
            if error.args[0].code() < 0:  # the client's own word: it had no answer
                self._note_silence()
            else:
                self._note_answer()
            return
        self._note_answer()
        # A count below the former one can only be what a broker knew before the last alteration.
        unclear = [t for t in self._expected if (now := found[t.name]) is None or now.partitions < t.partitions]
        if unclear:
            self._why = f"{unclear[0].name} is not there"
        if not unclear or self._missing_since is None:
            self._missing_since = began if unclear else None
        finding = self._check(found, began)
        with self._changed:
            self.finding = self.finding or finding
            if not unclear and finding is None:
                self._confirmed = self._begun
            self._changed.notify_all()

    def _check(self, found: Mapping[str, TopicIdentity | None], now: float) -> Incompatible | None:
        for topic in self._expected:
            identity = found[topic.name]
            if identity is not None and identity.topic_id != topic.topic_id:
                return _recreated(topic, identity.topic_id)
            if identity is not None and topic.growth_remedy and identity.partitions > topic.partitions:
                return _grown(topic, identity.partitions)
            if identity is None and self._missing_since is not None and now - self._missing_since > _GONE_SECONDS:
                return _deleted(topic)
        return None

    def _note_silence(self) -> None:
        now = self._clock()
        with self._changed:
            self._silence += min(now - self._looked_at, _LOOK_SECONDS + ANSWER_SECONDS)
            self._looked_at = now
        if self.is_away and not self._was_away:
            self._was_away = True
            _LOG.warning("kafka.away", seconds=round(self.silence(), 1), error=self._why)

    def _note_answer(self) -> None:
        seconds = self.silence()
        self.heard()
        if self._was_away:
            self._was_away = False
            _LOG.info("kafka.back", seconds=round(seconds, 1))


def _recreated(topic: Expected, topic_id: str) -> Incompatible:
    return Incompatible(
        f"The {topic.role} topic {topic.name} was deleted and recreated while the processor ran.",
        f"Its id is {topic_id}; it was {topic.topic_id}. {topic.loss}",
        topic.remedy,
    )


def _deleted(topic: Expected) -> Incompatible:
    return Incompatible(
        f"The {topic.role} topic {topic.name} was deleted while the processor ran.",
        topic.loss,
        f"`processor topics apply` creates it again. Then: {topic.remedy}",
    )


def _grown(topic: Expected, partitions: int) -> Incompatible:
    return Incompatible(
        f"The {topic.role} topic {topic.name} has {partitions} partitions; it had {topic.partitions} at the start.",
        "Keys lie in other partitions than before, and their states do not follow them.",
        topic.growth_remedy,
    )
