"""The look-out by itself: brokers that answer what a test says, and its own thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

import pytest

from processor.errors import ConfigError, Incompatible, ProcessorError, Unavailable
from processor.kafka import lookout as module
from processor.kafka.admin import TopicIdentity
from processor.kafka.client import KafkaError, KafkaException
from processor.kafka.lookout import Expected, Lookout
from processor.kafka.retry import CommitFailed

INPUT = Expected("input", "in", "id-1", 4, "Its loss.", "Its remedy.", "Its growth.")
OUTPUT = Expected("output", "out", "id-2", 4, "Its loss.", "Its remedy.")
TOPICS = {"in": TopicIdentity("id-1", 4), "out": TopicIdentity("id-2", 4)}
SILENT = KafkaException(KafkaError(KafkaError._TIMED_OUT))


class Brokers:
    """What they answer. `held`: looks wait until it is set."""

    def __init__(self) -> None:
        self.topics: dict[str, TopicIdentity | None] = dict(TOPICS)
        self.failure: Exception | None = None
        self.looks = 0
        self.held = threading.Event()
        self.held.set()
        self.refusal: ProcessorError | None = None

    def describe(self, names: Sequence[str], _seconds: float) -> Mapping[str, TopicIdentity | None]:
        self.looks += 1
        found = {name: self.topics[name] for name in names}
        self.held.wait(60)
        if self.failure is not None:
            raise self.failure
        return found


@pytest.fixture
def brokers(monkeypatch: pytest.MonkeyPatch) -> Brokers:
    for name, seconds in {
        "_LOOK_SECONDS": 0.1,
        "_AGAIN_SECONDS": 0.01,
        "ANSWER_SECONDS": 0.1,
        "_AWAY_SECONDS": 0.3,
        "_GONE_SECONDS": 60.0,  # a slow machine must not make a finding; where one is wanted it is shorter
        "_CONFIRM_SECONDS": 60.0,
        "_REVIEW_SECONDS": 0.1,
    }.items():
        monkeypatch.setattr(module, name, seconds)
    return Brokers()


@pytest.fixture
def lookout(brokers: Brokers) -> Iterator[Lookout]:
    made = Lookout(brokers.describe, [INPUT, OUTPUT], review=lambda: brokers.refusal, budget_seconds=1.0)
    with made:
        yield made
        brokers.held.set()


def until(is_so: Callable[[], object]) -> None:
    deadline = time.monotonic() + 10
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def found_by(lookout: Lookout) -> Incompatible:
    until(lambda: lookout.finding)
    with pytest.raises(Incompatible) as told:
        lookout.heed()
    return told.value


def test_topics_as_they_were_are_confirmed_at_once(lookout: Lookout) -> None:
    for _ in range(20):
        lookout.confirm(lookout.ask())
    lookout.heed()
    assert not lookout.is_away


def test_a_look_that_was_on_its_way_confirms_nothing(brokers: Brokers, lookout: Lookout) -> None:
    """What it asked for may have been answered before the events came that a commit is about."""
    brokers.held.clear()
    before = brokers.looks
    until(lambda: brokers.looks > before)
    number = lookout.ask()
    brokers.topics["in"] = TopicIdentity("id-9", 4)
    brokers.held.set()
    with pytest.raises(Incompatible, match="The input topic in was deleted and recreated") as told:
        lookout.confirm(number)
    assert "id-9" in told.value.cause
    assert told.value.hint == INPUT.remedy


@pytest.mark.parametrize("name", TOPICS)
def test_a_topic_that_is_missing_for_a_moment_is_waited_for(brokers: Brokers, lookout: Lookout, name: str) -> None:
    brokers.topics[name] = None
    number = lookout.ask()
    before = brokers.looks
    until(lambda: brokers.looks > before + 3)
    brokers.topics[name] = TOPICS[name]
    lookout.confirm(number)


def test_a_topic_that_stays_away_was_deleted(
    brokers: Brokers, lookout: Lookout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_GONE_SECONDS", 0.3)
    brokers.topics["out"] = None
    error = found_by(lookout)
    assert "The output topic out was deleted" in error.fact
    assert "`processor topics apply`" in error.hint
    assert OUTPUT.remedy in error.hint


def test_only_more_partitions_of_the_input_change_answers(brokers: Brokers, lookout: Lookout) -> None:
    brokers.topics["out"] = TopicIdentity("id-2", 6)
    lookout.confirm(lookout.ask())
    brokers.topics["in"] = TopicIdentity("id-1", 6)
    error = found_by(lookout)
    assert "has 6 partitions; it had 4" in error.fact
    assert error.hint == INPUT.growth_remedy


def test_a_partition_that_was_not_there_is_a_finding_without_a_look(lookout: Lookout) -> None:
    lookout.see_partitions([])
    lookout.see_partitions([0, 3])
    with pytest.raises(Incompatible, match="has 5 partitions; it had 4"):
        lookout.see_partitions([4])


def test_a_broker_that_knows_of_fewer_partitions_is_asked_again(brokers: Brokers, lookout: Lookout) -> None:
    """It has not heard of the last alteration yet."""
    brokers.topics["in"] = TopicIdentity("id-1", 3)
    number = lookout.ask()
    before = brokers.looks
    until(lambda: brokers.looks > before + 3)
    assert lookout.finding is None
    brokers.topics["in"] = TOPICS["in"]
    lookout.confirm(number)


def test_silence_shows_soon_and_ends_at_its_budget(brokers: Brokers, lookout: Lookout) -> None:
    brokers.failure = SILENT
    until(lambda: lookout.is_away)
    until(lambda: lookout.silence() > 1.0)
    with pytest.raises(Unavailable, match="No Kafka broker answered"):
        lookout.heed()
    lookout.heard()  # somebody else has had an answer
    lookout.heed()
    brokers.failure = None
    lookout.confirm(lookout.ask())
    assert not lookout.is_away


def test_a_commit_does_not_wait_for_ever(brokers: Brokers, lookout: Lookout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CONFIRM_SECONDS", 0.3)
    brokers.failure = SILENT
    with pytest.raises(CommitFailed, match="no broker has confirmed"):
        lookout.confirm(lookout.ask())


def test_a_lookout_that_breaks_ends_the_process(brokers: Brokers, lookout: Lookout) -> None:
    """It must not stay quiet while nobody looks."""
    lookout.confirm(lookout.ask())
    brokers.failure = ValueError("not Kafka's")
    with pytest.raises(ValueError, match="not Kafka's"):
        lookout.confirm(lookout.ask())
    with pytest.raises(ValueError, match="not Kafka's"):
        lookout.heed()


def test_a_refusal_is_an_answer(brokers: Brokers, lookout: Lookout, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the commit that it holds back tells it."""
    monkeypatch.setattr(module, "_CONFIRM_SECONDS", 0.3)
    brokers.failure = KafkaException(KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED))
    with pytest.raises(CommitFailed, match=r"[Aa]uthorization"):
        lookout.confirm(lookout.ask())
    assert not lookout.is_away


def test_a_machine_that_slept_does_not_take_that_for_silence(brokers: Brokers) -> None:
    now = 0.0
    lookout = Lookout(brokers.describe, [INPUT], review=lambda: None, budget_seconds=1.0, clock=lambda: now)
    brokers.failure = SILENT
    now = 3_600.0
    lookout._look()
    lookout.heed()
    assert lookout.silence() == pytest.approx(0.2)


def test_what_a_new_start_would_refuse_is_told(brokers: Brokers, lookout: Lookout) -> None:
    brokers.refusal = ConfigError("The input topic is compacted.")
    until(lambda: lookout.refusal)
    lookout.heed()
    lookout.confirm(lookout.ask())
