"""The certificate: proof, before anything is written, that the step graph says what the trained model says.

1. A row's bits depend on nothing but the row; where the kernels do not keep that, one tile size is fixed.
2. Properties of the step by itself: any split, saving and restoring, interleaved keys, causality, `tumbling`'s restart.
3. Every prefix of random and given sequences, against the trained model.
4. The long run: how the error grows, held against what rounding costs the model itself.
5. Where the truth came from a twin: the twin against the model itself, at the model's own shape.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from processor.model.artifact import STEPS, Golden
from processor.model.convert import accuracy, properties
from processor.model.convert.accuracy import Errors
from processor.model.convert.properties import Finding, Subject
from processor.model.convert.sequences import ROWS, random_sequences

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from processor.model.artifact import Artifact
    from processor.model.convert.stepgraph import Step
    from processor.model.convert.truth import Truth

    Progress = Callable[[str, float], None]

_TILES: Final = (64, 1)
"""Tried where a row's bits depend on the number of rows: a compromise of speed, and what cannot fail."""
_SEED: Final = 20
_GOLDEN_STEPS: Final = 16
_GOLDEN_ROWS: Final = 4


@dataclass
class Certificate:
    """What was found. `errors` by output, each |error| / max(1, |truth|) at its greatest over every prefix.

    `rounding`, where the errors are too great: what float32 costs the model itself, measured against float64.
    """

    tolerance: float
    truth: str
    findings: list[Finding] = field(default_factory=list)
    errors: dict[str, float] = field(default_factory=dict)
    growth: dict[str, dict[int, float]] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    sequences: dict[str, int] = field(default_factory=dict)
    wrong_layer: str | None = None
    rounding: float | None = None

    @property
    def passed(self) -> bool:
        return all(finding.passed for finding in self.findings)

    @property
    def explained_by_rounding(self) -> bool:
        """Whether no float32 step graph could have met the tolerance."""
        error = max(self.errors.values(), default=0.0)
        return self.rounding is not None and error <= accuracy.OWN_ROUNDINGS * self.rounding

    @property
    def failure(self) -> Finding | None:
        return next((finding for finding in self.findings if not finding.passed), None)

    def to_dict(self) -> dict[str, Any]:
        """As the manifest keeps it: JSON's types only."""
        return {
            "passed": self.passed,
            "tolerance": self.tolerance,
            "truth": self.truth,
            "errors": self.errors,
            "growth": {name: [[n, e] for n, e in sorted(seen.items())] for name, seen in self.growth.items()},
            "checks": [dataclasses.asdict(finding) for finding in self.findings],
            "sequences": self.sequences,
            "remarks": self.remarks,
            "wrong_layer": self.wrong_layer,
        }


def certify(
    draft: Artifact, step: Step, truth: Truth, given: NDArray[np.float32] | None, progress: Progress
) -> tuple[Artifact, Certificate]:
    """Checks the draft of an artifact. Returns it with its tile and its golden vectors, and what was found.

    Where the certificate did not pass, `failure` says why, and no file may be written.
    """
    certificate = Certificate(draft.tolerance, truth.source)
    lengths = list(range(1, accuracy.horizon(step.graph.length, draft.length) + 1))
    draft, subject = _with_tile(draft, certificate, len(lengths), progress)
    _by_itself(subject, certificate, progress)
    errors = _against_the_model(subject, truth, certificate, lengths, given, progress)
    certificate.errors, certificate.growth = errors.greatest, errors.growth
    _remark(subject, errors, certificate)
    if not certificate.passed and not certificate.explained_by_rounding:
        certificate.wrong_layer = accuracy.first_wrong_layer(step, truth, subject, draft.tolerance)
    return dataclasses.replace(draft, golden=_golden(subject)), certificate


def _with_tile(
    draft: Artifact, certificate: Certificate, prefixes: int, progress: Progress
) -> tuple[Artifact, Subject]:
    """The draft with the first tile size in which a row's bits are its own; none at all is the fastest."""
    samples = _samples(draft, prefixes)
    sequences = random_sequences(draft.inputs[0], samples, _SEED)
    certificate.sequences["random"] = ROWS
    for rank, tile in enumerate((None, *_TILES) if draft.tile is None else (draft.tile,)):
        progress("rows by themselves", rank / 4)
        tiled = dataclasses.replace(draft, tile=tile)
        subject = Subject(tiled, sequences)
        finding = properties.rows_alone(subject)
        if finding.passed:
            break
    certificate.findings.append(finding)
    return tiled, subject


def _samples(draft: Artifact, prefixes: int) -> int:
    """How long the random sequences are: past the restart of a short `tumbling`, and as long as the long run."""
    if draft.length is None:
        return accuracy.LONG_RUN
    return 2 * draft.length + 3 if draft.length <= prefixes else min(draft.length, accuracy.LONG_RUN) + 3


def _by_itself(subject: Subject, certificate: Certificate, progress: Progress) -> None:
    short = dataclasses.replace(subject, sequences=subject.sequences[:, :64])
    checks = [*properties.PROPERTIES, *([] if subject.artifact.length is None else [properties.starts_afresh])]
    for rank, check in enumerate(checks):
        progress("splits, interleaved keys, causality", rank / len(checks))
        certificate.findings.append(check(short))


def _against_the_model(
    subject: Subject,
    truth: Truth,
    certificate: Certificate,
    lengths: list[int],
    given: NDArray[np.float32] | None,
    progress: Progress,
) -> Errors:
    tolerance, length = certificate.tolerance, subject.artifact.length
    if not truth.is_model:
        progress("the model at its own shape", 0.0)
        error, allowed, shape = truth.own_shape(subject.sequences[:, : max(lengths)])
        passed = error <= max(tolerance, allowed)
        detail = f"of the shape {shape}, against {truth.source}"
        if allowed:
            detail += f"; {' and '.join(truth.low_precision)} is allowed {allowed:.1e}"
            certificate.remarks.append(
                f"The model computes in {' and '.join(truth.low_precision)}, and is stepped in float32: its own "
                f"answers are up to {error:.1e} from these."
            )
        certificate.findings.append(Finding("the model itself", passed, detail, error))
    errors = Errors()
    second = [] if length is None or length > len(lengths) else [length + n for n in lengths[:4]]
    accuracy.every_prefix(
        subject, truth, errors, lengths + second, "random", lambda part: progress("every prefix", part)
    )
    if given is not None:
        certificate.sequences["given"] = len(given)
        own = dataclasses.replace(subject, sequences=given)
        limit = min(given.shape[1], length or given.shape[1])
        prefixes = [*range(1, min(limit, accuracy.EVERY_PREFIX) + 1), *accuracy.powers(accuracy.EVERY_PREFIX, limit)]
        accuracy.every_prefix(own, truth, errors, prefixes, "given", lambda part: progress("your sequences", part))
    error, where = errors.worst
    certificate.findings.append(
        Finding("every prefix", error <= tolerance, f"{len(lengths)} lengths; worst: {where}", error)
    )
    if error > tolerance:
        certificate.rounding = truth.rounding(subject.sequences[:, : max(lengths)])
    if any(truth.over_time):
        certificate.findings.append(accuracy.own_causality(subject, truth, tolerance))
    if not certificate.passed:
        return errors
    finding, long, remark = accuracy.long_run(
        subject, truth, tolerance, len(lengths), lambda part: progress("the long run", part)
    )
    certificate.findings.append(finding)
    certificate.remarks += [remark] if remark else []
    for name, seen in long.growth.items():
        errors.growth[name] |= seen
    return errors


def _remark(subject: Subject, errors: Errors, certificate: Certificate) -> None:
    if errors.not_finite == errors.compared:
        certificate.findings.append(
            Finding("finite answers", False, "the trained model itself gives no finite number for any sequence")
        )
    elif errors.not_finite:
        share = errors.not_finite / errors.compared
        certificate.remarks.append(
            f"{share:.1%} of the trained model's own answers were not finite; these say nothing."
        )
    flat, _ = subject.run(subject.engine(), subject.sequences[:, :16])
    with np.errstate(invalid="ignore", over="ignore"):
        if float(np.ptp(flat)) < 100 * certificate.tolerance:
            certificate.remarks.append(
                "The answers hardly depend on the samples, so agreement says little: is it trained?"
            )
    dead = [name for name in properties.dead_slots(subject) if (name, subject.artifact.length) != (STEPS, 1)]
    if dead:
        certificate.remarks.append(f"Nothing depends on the state of {', '.join(dead)}.")
    else:
        certificate.findings.append(Finding("every slot alive", True, f"{len(subject.artifact.layout)} slots"))


def _golden(subject: Subject) -> Golden:
    """Sequences with the engine's own answers: random ones, because a user's samples are not ours to hand on."""
    name, engine = subject.artifact.inputs[0].name, subject.engine()
    sequences = np.ascontiguousarray(subject.sequences[[0, 1, 3, 6][:_GOLDEN_ROWS], :_GOLDEN_STEPS])
    answers: dict[str, list[Any]] = {spec.name: [] for spec in subject.artifact.outputs}
    state = engine.initial_state(len(sequences))
    for t in range(sequences.shape[1]):
        outputs, state = engine.step({name: sequences[:, t]}, state)
        for output, value in outputs.items():
            answers[output].append(value)
    return Golden({name: sequences}, {output: np.stack(values, axis=1) for output, values in answers.items()}, state)
