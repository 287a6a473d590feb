"""Three independent checks of what was published.

- The rules: which predictions there must be, worked out from the input topic alone (`oracle`), each probability as the
  artifact gives it for its key's whole sequence stepped alone, bit for bit.
- An undisturbed run over the same input: every record the same bytes, in the same order.
- Keras, where the trained model is at hand: each probability within the artifact's tolerance.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from processor.model.engine import Engine
from processor.trial.checker import check_published, input_records
from processor.trial.oracle import Rules, expected
from processor.trial.reader import Report, compare

if TYPE_CHECKING:
    from collections.abc import Callable

    from processor.model.artifact import Artifact
    from processor.trial.checker import CheckResult, Truth
    from processor.trial.oracle import Expected, Sample
    from processor.trial.reader import Source, Topic
    from processor.types import Float32Array

RULES, UNDISTURBED, KERAS = "the rules, and each sequence stepped alone", "an undisturbed run, byte for byte", "Keras"


@dataclass(frozen=True, slots=True)
class Published:
    """What a group has published: predictions and dead letters, each as `read_topic` returns it."""

    predictions: Topic
    dead_letters: Topic


@dataclass(slots=True)
class Verdict:
    """What the checks found. `reports`: the name of a check -> its report, of predictions and dead letters together."""

    events: int
    keys: int
    predictions: int
    dead_letters: int
    duplicates: int
    forgotten: int
    compared: int  # predictions whose probability was compared with the stepper's answer
    keras_error: float | None = None  # the greatest |published - Keras| / max(1, |Keras|)
    reports: dict[str, Report] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return all(self.reports.values()) and self.compared == self.predictions

    @property
    def last_line(self) -> str:
        """`0 lost, 0 doubled, 0 differing`, when all is well; else of each the most that any check found."""
        found = self.reports.values()
        return Report(
            lost=max(one.lost for one in found),
            doubled=max(one.doubled for one in found),
            differing=max(one.differing for one in found),
        ).summary

    @property
    def differences(self) -> list[str]:
        """The first few that each check found, readable."""
        return [f"{name}: {text}" for name, report in self.reports.items() for text in report.differences]


class Alone:
    """Steps sequences alone, one sample after the other, as the oracle comes by; it knows every prediction then."""

    def __init__(self, artifact: Artifact) -> None:
        self.truth: Truth = {}  # an array for a model of one output, else by name
        self._engine = Engine(artifact, max_rows=1)
        self._dtypes = {spec.name: spec.dtype for spec in artifact.inputs}
        self._float_words = artifact.float_words
        self._states: dict[Source, Float32Array] = {}  # after the last sample of each sequence that goes on

    def is_finite(self, sequence: list[Sample]) -> bool:
        """Whether the answer to the last sample, and the state after it, are finite. The others were asked about."""
        *before, sample = sequence
        source = (sample.partition, sample.offset)
        former = (before[-1].partition, before[-1].offset) if before else None
        state = self._engine.initial_state(1) if former is None else self._states[former]
        features = {name: np.asarray([sample.features[name]], dtype) for name, dtype in self._dtypes.items()}
        outputs, new_state = self._engine.step(features, state)
        numbers = [*outputs.values(), new_state[:, : self._float_words]]
        if not all(np.isfinite(some).all() for some in numbers):
            return False
        answers = {name: values[0] for name, values in outputs.items()}
        self.truth[source] = answers if len(answers) > 1 else next(iter(answers.values()))
        if former is not None:
            del self._states[former]
        self._states[source] = new_state
        return True


def rules_of(artifact: Artifact, *, gap_seconds: float, idle_seconds: float, lateness_seconds: float) -> Rules:
    """The oracle's rules for an artifact under these settings of `[sequence]`."""
    return Rules(
        inputs={spec.name: spec.shape for spec in artifact.inputs},
        tokens=frozenset(spec.name for spec in artifact.inputs if spec.dtype == "int32"),
        static=frozenset(spec.name for spec in artifact.inputs if spec.static),
        length=artifact.length or 0 if artifact.mode == "tumbling" else 0,
        gap_seconds=gap_seconds,
        idle_seconds=idle_seconds,
        allowed_lateness_seconds=lateness_seconds,
    )


def checked(
    samples: Topic,
    published: Published,
    undisturbed: Published,
    artifact: Artifact,
    rules: Rules,
    *,
    keras: Callable[[Expected], Truth] | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> Verdict:
    """Runs all checks on what was published for the samples. keras: the trained model's predictions."""
    tell("comparing with the undisturbed run")
    bytes_alike = compare(undisturbed.predictions, published.predictions)
    bytes_alike.add(compare(undisturbed.dead_letters, published.dead_letters))
    tell("stepping every sequence alone")
    alone = Alone(artifact)
    wanted = expected(input_records(samples), rules, alone.is_finite)
    tell(f"comparing {len(alone.truth):,} predictions, bit for bit")
    by_rules = check_published(wanted, published.predictions, published.dead_letters, alone.truth, tolerance=0.0)
    verdict = Verdict(
        events=_size(samples),
        keys=len(wanted.sequences),
        predictions=_size(published.predictions),
        dead_letters=_size(published.dead_letters),
        duplicates=wanted.duplicates,
        forgotten=wanted.forgotten,
        compared=by_rules.compared,
        reports={RULES: _whole(by_rules), UNDISTURBED: bytes_alike},
    )
    if keras is not None:
        tell(f"asking Keras about {len(wanted.sequences):,} keys' whole sequences")
        truth = keras(wanted)
        by_keras = check_published(
            wanted, published.predictions, published.dead_letters, truth, tolerance=artifact.tolerance
        )
        verdict.reports[KERAS] = _whole(by_keras)
        verdict.keras_error = by_keras.greatest_error
    return verdict


def _whole(result: CheckResult) -> Report:
    return Report().add(result.predictions).add(result.dead_letters)


def _size(topic: Topic) -> int:
    return sum(map(len, topic.values()))
