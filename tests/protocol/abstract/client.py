"""What the abstract clients share: topics, messages, errors, and the admin client.

Every call of a client is a point at which the scheduler may kill the process, stop it for a while, or make the call
fail. Only what the processor uses is here, with the errors that the real client raises: abortable, fatal, timed out,
refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from processor.errors import Incompatible
from processor.kafka.client import KafkaError, KafkaException

if TYPE_CHECKING:
    from collections.abc import Sequence

    from protocol.abstract.log import Entry
    from protocol.process import Process

INPUT, OUTPUT, DEAD_LETTERS, CHANGELOG = "input", "output", "dead-letters", "changelog"


def failure(code: int, *, fatal: bool = False, abortable: bool = False) -> KafkaException:
    return KafkaException(KafkaError(code, "abstract", fatal, False, abortable))


END = KafkaError(KafkaError._PARTITION_EOF)


class Message:
    """A record, or the event that a partition's end was reached."""

    __slots__ = ("_entry", "_error", "_offset", "_partition")

    def __init__(self, partition: int, offset: int, entry: Entry | None) -> None:
        self._partition, self._offset, self._entry = partition, offset, entry
        self._error = None if entry is not None else END

    def partition(self) -> int:
        return self._partition

    def offset(self) -> int:
        return self._offset

    def error(self) -> Any:
        return self._error

    def key(self) -> bytes | None:
        assert self._entry is not None
        return self._entry.key

    def value(self) -> bytes | None:
        assert self._entry is not None
        return self._entry.value

    def timestamp(self) -> tuple[int, int]:
        return 1, 0


@dataclass(slots=True)
class TopicPartition:
    """Like the client's TopicPartition."""

    partition: int
    offset: int = -1001
    error: Any = None


class Admin:
    """Of `processor.kafka.admin`: watermarks."""

    def __init__(self, process: Process) -> None:
        self._process, self._world = process, process.world

    def low_watermarks(self, topic: str, partitions: list[int]) -> dict[int, int]:
        self._process.at("low")
        return dict.fromkeys(partitions, 0)

    def high_watermarks(self, topic: str, partitions: list[int]) -> dict[int, int]:
        self._process.at("high")
        return {number: self._world.kafka.log(topic, number).end for number in partitions}


class Lookout:
    """Of `processor.kafka.lookout`: a look is answered when it is asked for, which is the earliest it can be."""

    is_away, refusal = False, None

    def __init__(self, process: Process) -> None:
        self._process, self._kafka = process, process.world.kafka
        self._expected = self._found = self._kafka.input_id

    def ask(self) -> int:
        self._process.at("look")
        self._found = self._kafka.input_id
        return 0

    def confirm(self, _number: int) -> None:
        if self._found != self._expected:
            raise Incompatible("the input was recreated")

    def heed(self) -> None:
        """Where nothing is committed, a look is answered some turns later."""
        if self._kafka.input_id != self._expected and self._process.world.random.random() < 0.2:
            raise Incompatible("the input was recreated")

    def see_partitions(self, numbers: Sequence[int]) -> None:
        pass

    def heard(self) -> None:
        pass
