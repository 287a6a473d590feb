"""The demo's last word: it compares every prediction with the trained Keras model's, for the key's whole sequence.

What must be there is worked out from the input topic alone (`oracle`), what it must say by Keras (`truth`). Nothing of
the processor or the converter takes part.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from processor.trial.checker import check_published, input_records, truth_of_sequences
from processor.trial.oracle import Rules, expected
from processor.trial.reader import Report

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from processor.trial.checker import Model
    from processor.trial.reader import Topic


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was found. `report`: of predictions and dead letters together."""

    events: int
    predictions: int
    dead_letters: int
    keys: int
    compared: int  # predictions that were compared with Keras'
    greatest_error: float  # |published - Keras| / max(1, |Keras|)
    tolerance: float
    report: Report

    def __bool__(self) -> bool:
        return bool(self.report) and self.compared == self.predictions

    @property
    def last_line(self) -> str:
        """`0 lost, 0 doubled, 0 differing`, when all is well."""
        return self.report.summary


def check(
    topics: tuple[Topic, Topic, Topic],
    inputs: Mapping[str, tuple[int, ...]],
    keras: Model,
    *,
    tolerance: float = 1e-5,
    tell: Callable[[str], None] = lambda _: None,
) -> Outcome:
    """Judges the topics of input, predictions and dead letters, each as `read_topic` returns it.

    inputs: input name -> one sample's shape. keras: the trained model at every step of whole sequences. tell: told what
    is being done.
    """
    samples, predictions, dead_letters = topics
    tell("working out what must be there")
    wanted = expected(input_records(samples), Rules(inputs=inputs))
    tell(f"asking Keras about {len(wanted.sequences):,} whole sequences")
    truth = truth_of_sequences(wanted, keras)
    tell(f"comparing {len(truth):,} probabilities")
    verdict = check_published(wanted, predictions, dead_letters, truth, tolerance=tolerance)
    return Outcome(
        events=_size(samples),
        predictions=_size(predictions),
        dead_letters=_size(dead_letters),
        keys=len(wanted.sequences),
        compared=verdict.compared,
        greatest_error=verdict.greatest_error,
        tolerance=tolerance,
        report=Report().add(verdict.predictions).add(verdict.dead_letters),
    )


def _size(topic: Topic) -> int:
    return sum(map(len, topic.values()))
