"""Where predictions and dead letters go."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from processor.kafka.producer import IdempotentProducer, TransactionalProducer
    from processor.stepping.publishing import Produced


@dataclass(frozen=True, slots=True)
class Outputs:
    """The two topics, and the producer that sends to them."""

    producer: TransactionalProducer | IdempotentProducer
    predictions: str
    dead_letters: str
    dead_letter_partitions: int

    def send(self, produced: Produced) -> None:
        """Sends what a slice asks for. A prediction goes to the partition with its input's number."""
        for number, keys, values in produced.predictions:
            self.producer.send(self.predictions, number, keys, values)
        for number, _, letter in produced.dead_letters:
            partition = number % self.dead_letter_partitions
            self.producer.send_one(self.dead_letters, partition, letter.key, letter.value, letter.headers)
