"""The contract that the abstract Kafka keeps because the real one does: each test runs upon both.

What only the abstract one can be made to do (markers that come one by one, late; sessions that end at a given point)
is not here; what they lead to is.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from processor.kafka.consumer import SampleConsumer
from processor.kafka.producer import TransactionalProducer
from processor.kafka.retry import CommitFailed, GenerationChanged
from processor.recovery.changelog import Tail
from protocol.brokers import Broker, RealBroker, abstract_broker
from protocol.stand_ins import OUTSIDE, replaced


@pytest.fixture(params=["abstract", pytest.param("real", marks=pytest.mark.kafka)])
def broker(request: pytest.FixtureRequest) -> Iterator[Broker]:
    if request.param == "abstract":
        with replaced(OUTSIDE):
            yield from abstract_broker()
        return
    real = RealBroker(*(request.getfixturevalue(fixture) for fixture in ("kafka", "name", "topic")))
    yield real
    real.close()


def send(broker: Broker, sender: TransactionalProducer, **values: str) -> None:
    """To the changelog's first partition, and waits until they lie there."""
    for key, value in values.items():
        sender.send(broker.changelog, 0, [key.encode()], [value.encode() if value else None])
    sender.flush()


def wait_for(broker: Broker, is_so: Callable[[], bool], *members: SampleConsumer) -> None:
    deadline = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < deadline
        broker.tend()
        for member in members:
            member.poll(0.01, 10)


def read(broker: Broker, until: int) -> Tail:
    """What a read_committed reader sees of the changelog's first partition, until it stands at `until`."""
    found = Tail()
    reader = broker.reader()
    reader.follow(0, 0)

    def is_there() -> bool:
        for tail in reader.read(0.05, 100).values():
            found.values.update(tail.values)
            found.records += tail.records
            found.next_offset = tail.next_offset if tail.next_offset is not None else found.next_offset
        return found.next_offset is not None and found.next_offset >= until

    wait_for(broker, is_there)
    reader.close()
    assert found.next_offset == until
    return found


def end_of_changelog(broker: Broker) -> int:
    return broker.admin.high_watermarks(broker.changelog, [0])[0]


def test_what_was_aborted_is_never_seen_and_keeps_its_offsets(broker: Broker) -> None:
    sender = broker.producer("one")
    send(broker, sender, a="1", b="2")
    sender.drop()
    send(broker, sender, c="3")
    sender.commit()
    wait_for(broker, lambda: end_of_changelog(broker) == 5)  # three records and two markers
    assert read(broker, until=5).values == {b"c": b"3"}


def test_readers_end_at_the_oldest_open_transaction_and_the_high_watermark_lies_behind_it(broker: Broker) -> None:
    first, second = broker.producer("first"), broker.producer("second")
    send(broker, first, a="1")
    send(broker, second, b="2")
    second.commit()
    wait_for(broker, lambda: end_of_changelog(broker) == 3)
    assert read(broker, until=0).values == {}
    first.commit()
    assert read(broker, until=4).values == {b"a": b"1", b"b": b"2"}


def test_a_twin_ends_the_transaction_of_the_first_and_fences_it(broker: Broker) -> None:
    first = broker.producer("same")
    send(broker, first, lost="1")
    second = broker.producer("same")
    assert end_of_changelog(broker) == 2  # the marker is there before the second may begin
    with pytest.raises(CommitFailed):
        first.commit()
    send(broker, second, kept="2")
    second.commit()
    assert read(broker, until=4).values == {b"kept": b"2"}


def test_a_transaction_that_took_too_long_is_aborted_and_its_producer_fenced(broker: Broker) -> None:
    sender = broker.producer("slow")
    send(broker, sender, lost="1")
    broker.time_out()
    wait_for(broker, lambda: end_of_changelog(broker) == 2)  # the marker
    with pytest.raises(CommitFailed):
        sender.commit()
    sender.drop()
    send(broker, sender, kept="2")
    sender.commit()
    assert read(broker, until=4).values == {b"kept": b"2"}


def test_offsets_join_the_transaction_and_are_unstable_until_it_ends(broker: Broker) -> None:
    sender, member = broker.producer("one"), broker.member()
    wait_for(broker, lambda: member.joined, member)
    assert member.committed(0, 10) is None
    sender.send_offsets(member.topic_partitions({0: 5}), member.group_metadata())
    with pytest.raises(TimeoutError):
        member.committed(0, 0.2)
    sender.commit()
    wait_for(broker, lambda: offset_of(member) == 5, member)
    sender.send_offsets(member.topic_partitions({0: 7}), member.group_metadata())
    sender.drop()
    wait_for(broker, lambda: offset_of(member) == 5, member)


def offset_of(member: SampleConsumer, partition: int = 0) -> int | None:
    try:
        return member.committed(partition, 1)
    except TimeoutError:
        return None


def test_offsets_of_a_former_generation_are_refused_and_the_transaction_can_only_be_aborted(broker: Broker) -> None:
    sender, first = broker.producer("one"), broker.member()
    wait_for(broker, lambda: first.joined, first)
    former = first.group_metadata()
    second = broker.member()
    wait_for(broker, lambda: second.joined and first.group_metadata() != former, first, second)
    with pytest.raises(GenerationChanged):
        sender.send_offsets(first.topic_partitions({0: 5}), former)
    with pytest.raises(CommitFailed):
        sender.commit()
    sender.drop()
    sender.send_offsets(first.topic_partitions({0: 6}), first.group_metadata())
    sender.commit()
    wait_for(broker, lambda: offset_of(first) == 6, first, second)


def test_offsets_of_a_member_that_has_left_are_refused(broker: Broker) -> None:
    owned: set[int] = set()
    sender, leaver = broker.producer("one"), broker.member()
    other = broker.member(assigned=owned.update, revoked=owned.difference_update)
    wait_for(broker, lambda: leaver.joined and len(owned) == 1, leaver, other)
    former = leaver.group_metadata()
    leaver.close()
    wait_for(broker, lambda: len(owned) == 2, other)  # the broker knows that the leaver has left
    with pytest.raises(CommitFailed) as refusal:
        sender.send_offsets(other.topic_partitions({0: 5}), former)
    assert not isinstance(refusal.value, GenerationChanged)


def test_nobody_asks_who_does_not_say_that_he_is_a_member(broker: Broker) -> None:
    """Which is why `group_metadata` refuses instead."""
    sender, member = broker.producer("one"), broker.member()
    wait_for(broker, lambda: member.joined, member)
    sender.send_offsets(member.topic_partitions({0: 5}), broker.outsider())
    sender.commit()
    wait_for(broker, lambda: offset_of(member) == 5, member)


def test_nobody_asks_whether_a_member_owns_the_partition(broker: Broker) -> None:
    owned: dict[str, set[int]] = {"first": set(), "second": set()}
    sender = broker.producer("one")
    first = broker.member(assigned=owned["first"].update, revoked=owned["first"].difference_update)
    second = broker.member(assigned=owned["second"].update, revoked=owned["second"].difference_update)
    wait_for(broker, lambda: all(len(numbers) == 1 for numbers in owned.values()), first, second)
    (theirs,) = owned["second"]
    sender.send_offsets(first.topic_partitions({theirs: 5}), first.group_metadata())
    sender.commit()
    wait_for(broker, lambda: offset_of(first, theirs) == 5, first, second)


def test_a_partition_is_given_back_before_another_has_it_and_is_paused_until_it_is_sought(broker: Broker) -> None:
    for partition in (0, 1):
        broker.write_input(partition, [b"0", b"1", b"2"])
    moves: list[tuple[str, int]] = []
    first = broker.member(
        assigned=lambda numbers: moves.extend(("first has", number) for number in sorted(numbers)),
        revoked=lambda numbers: moves.extend(("first gives", number) for number in sorted(numbers)),
    )
    wait_for(broker, lambda: len(moves) == 2, first)
    assert first.poll(0.2, 10).batch is None
    second = broker.member(assigned=lambda numbers: moves.extend(("second has", number) for number in numbers))
    wait_for(broker, lambda: len(moves) == 4, first, second)
    (_, theirs) = moves[3]
    assert moves[2:] == [("first gives", theirs), ("second has", theirs)]
    seen: list[int] = []
    wait_for(broker, lambda: second.resume_at(theirs, 1), first)

    def is_through() -> bool:
        polled = second.poll(0.05, 10)
        if polled.batch is not None:
            seen.extend(polled.batch.offsets.tolist())
        return theirs in polled.ends

    wait_for(broker, is_through, first)
    assert min(seen) >= 1
    assert len(seen) == len(set(seen))


def test_an_end_lies_behind_markers_and_before_open_transactions(broker: Broker) -> None:
    broker.write_input(0, [b"0", b"1"])
    abort = broker.hold_input(0)
    member, ends, seen = broker.member(), [0], [0]

    def comes_to(end: int) -> bool:
        polled = member.poll(0.05, 10)
        ends.append(polled.ends.get(0, ends[-1]))
        seen.extend([] if polled.batch is None else polled.batch.offsets[polled.batch.partitions == 0].tolist())
        return ends[-1] >= end

    wait_for(broker, lambda: member.joined, member)
    wait_for(broker, lambda: member.resume_at(0, 0))
    wait_for(broker, lambda: comes_to(3))  # two records and their marker
    assert broker.admin.high_watermarks(broker.input, [0]) == {0: 4}
    assert not comes_to(4)
    abort()
    wait_for(broker, lambda: comes_to(5))
    assert sorted(set(ends)) == [0, 3, 5]
    assert sorted(set(seen)) == [0, 1]


def test_compaction_leaves_the_newest_of_each_key_and_its_deletion_where_they_were(broker: Broker) -> None:
    sender = broker.producer("one")
    send(broker, sender, a="1", b="2", gone="3")
    send(broker, sender, a="4", gone="")
    sender.commit()
    newest = {b"a": b"4", b"b": b"2", b"gone": None}
    records = 5

    def is_compacted() -> bool:
        nonlocal records
        broker.compact()
        end = end_of_changelog(broker)
        tail = read(broker, until=end)
        tail.values.pop(b"filler", None)
        assert tail.values == newest
        records = read_below(broker, 5)
        return records == 3

    wait_for(broker, is_compacted)


def read_below(broker: Broker, limit: int) -> int:
    """How many records a reader from the beginning is given of the first `limit` offsets."""
    reader = broker.reader()
    reader.follow(0, 0)
    count, at = 0, 0
    while at < limit:
        for tail in reader.read(0.05, 1).values():
            assert tail.next_offset is not None
            at = tail.next_offset
            count += tail.records if at <= limit else 0
    reader.close()
    return count
