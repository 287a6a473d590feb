"""The certificate: before anything is written, the step graph is compared with the trained model.

1. A row's bits depend on nothing but the row; where the kernels do not keep that, one tile size is fixed.
2. Properties of the step by itself: any split, saving and restoring, interleaved keys, causality, `tumbling`'s restart,
   static inputs kept.
3. Every prefix of random and given sequences, against the trained model.
4. Extreme inputs, the distribution of the errors of thousands of random predictions, and the long run: how the error
   grows, held against what rounding costs the model itself.
5. Where the truth came from a twin: the twin against the model itself, at the model's own shape; and where the model
   was made from one of PyTorch: against the answers that PyTorch itself gave.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from processor.model.artifact import HELD, STEPS
from processor.model.convert import accuracy, effort, properties, spread
from processor.model.convert.accuracy import Errors
from processor.model.convert.golden import golden_vectors
from processor.model.convert.properties import Finding, Subject
from processor.model.convert.pytorch.recorded import against_pytorch
from processor.model.convert.sequences import ROWS, random_sequences

if TYPE_CHECKING:
    from collections.abc import Callable

    from processor.model.artifact import Artifact
    from processor.model.convert.budget import Budget
    from processor.model.convert.interface import Interface
    from processor.model.convert.modes import Built
    from processor.model.convert.pytorch.description import Description
    from processor.model.convert.reference import Reference
    from processor.model.convert.sequences import Sequences

    Progress = Callable[[str, float], None]

_TILES: Final = (64, 1)
"""Tried where a row's bits depend on the number of rows: a compromise of speed, and what cannot fail."""
_SEED: Final = 20
_BY_ITSELF: Final = 64
"""Samples of the sequences that are stepped in pieces, interleaved and changed."""


@dataclass
class Certificate:
    """What was found. `errors` by output, each |error| / max(1, |truth|) at its greatest over every prefix.

    `spread`: the errors of thousands of single predictions, see `spread`. `labels`, where the user's sequences have
    known answers: how good the step is, and the model itself. `apart`, where they are longer than the model's input:
    how far the modes are apart beyond it. `rounding`, where the errors are too great: what float32 costs the model
    itself, measured against float64.
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
    labels: dict[str, Any] | None = None
    spread: dict[str, Any] | None = None
    apart: dict[str, Any] | None = None

    @property
    def passed(self) -> bool:
        return all(finding.passed for finding in self.findings)

    @property
    def greatest(self) -> float:
        """The greatest error of all predictions that were compared, but for the long run's."""
        greatest: float = self.spread["step"]["greatest"] if self.spread else 0.0
        return max(greatest, *self.errors.values())

    @property
    def explained_by_rounding(self) -> bool:
        """Whether no float32 step graph could have met the tolerance."""
        return self.rounding is not None and self.greatest <= accuracy.OWN_ROUNDINGS * self.rounding

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
            "labels": self.labels,
            "spread": self.spread,
            "apart": self.apart,
        }


def certify(
    draft: Artifact,
    built: Built,
    truth: Reference,
    given: Sequences | None,
    budget: Budget,
    progress: Progress,
    described: Description | None = None,
) -> tuple[Artifact, Certificate]:
    """Checks the draft of an artifact. Returns it with its tile and its golden vectors, and what was found.

    `described`: the PyTorch model that the trained model was made from.

    Where the certificate did not pass, `failure` contains the reason, and no file may be written.
    """
    certificate = Certificate(draft.tolerance, truth.source)
    lengths = accuracy.lengths_to_compare(draft, built.interface.length)
    draft, subject = _with_tile(draft, built.interface, certificate, lengths, budget, progress)
    _by_itself(subject, certificate, budget, progress)
    if described is not None:
        _against_pytorch(described, built, truth, certificate)
    errors = _against_the_model(subject, truth, certificate, lengths, given, budget, progress)
    certificate.errors, certificate.growth = errors.greatest, errors.growth
    _remark(subject, errors, certificate)
    if not certificate.passed and not certificate.explained_by_rounding:
        certificate.wrong_layer = accuracy.first_wrong_layer(built, subject, draft.tolerance)
    return dataclasses.replace(draft, golden=golden_vectors(subject, _SEED)), certificate


def _against_pytorch(described: Description, built: Built, truth: Reference, certificate: Certificate) -> None:
    found = against_pytorch(described, truth, certificate.tolerance, built.length if built.at_length else None)
    if found is not None:
        certificate.findings.append(found)
        return
    certificate.remarks.append(
        f"PyTorch's own answers were recorded for {described.lengths[0]} to {described.lengths[-1]} samples, and none "
        f"for {built.length}: export the model with samples={built.length}."
    )


def _with_tile(
    draft: Artifact,
    interface: Interface,
    certificate: Certificate,
    lengths: list[int],
    budget: Budget,
    progress: Progress,
) -> tuple[Artifact, Subject]:
    """The draft with the first tile size in which a row's bits are its own; none at all is the fastest."""
    most = effort.rows_at_once(draft)
    probe = Subject(draft, random_sequences(interface, 1, _SEED), most, held=budget.held)
    stepped = min(effort.affordable(probe, budget), accuracy.longest_held(probe, budget))
    sequences = random_sequences(interface, effort.samples(draft, lengths, stepped), _SEED)
    certificate.sequences["random"] = ROWS
    for rank, tile in enumerate((None, *_TILES) if draft.tile is None else (draft.tile,)):
        progress("rows by themselves", rank / 4)
        tiled = dataclasses.replace(draft, tile=tile, most_rows=None if most == properties.MOST_ROWS else most)
        subject = Subject(tiled, sequences, most, stepped, budget.held)
        finding = properties.rows_alone(subject, budget.stage("the step"))
        if finding.passed:
            break
    certificate.findings.append(finding)
    return tiled, subject


def _by_itself(subject: Subject, certificate: Certificate, budget: Budget, progress: Progress) -> None:
    fits = budget.fitting(3 * 4 * ROWS * max(1, subject.artifact.words), _BY_ITSELF)
    dear = subject.samples * _BY_ITSELF // properties.SEQUENCE
    short = dataclasses.replace(subject, sequences=subject.sequences.part(0, max(4, min(fits, dear))))
    checks = [*properties.PROPERTIES, *([properties.starts_afresh] if subject.artifact.mode == "tumbling" else [])]
    checks += [properties.keeps_static] if subject.artifact.static_slots else []
    for rank, check in enumerate(checks):
        progress("splits, interleaved keys, causality", rank / len(checks))
        certificate.findings.append(check(short))


def _against_the_model(
    subject: Subject,
    truth: Reference,
    certificate: Certificate,
    lengths: list[int],
    given: Sequences | None,
    budget: Budget,
    progress: Progress,
) -> Errors:
    tolerance, artifact = certificate.tolerance, subject.artifact
    longest = min(max(lengths), artifact.length or max(lengths))
    if not truth.is_model:
        progress("the model at its own shape", 0.0)
        error, allowed, shape = truth.own_shape(subject.sequences.part(0, longest))
        passed = error <= max(tolerance, allowed)
        detail = f"of the shape {shape}, against {truth.source}"
        if truth.low_precision:
            detail += f"; {' and '.join(truth.low_precision)} is allowed {allowed:.1e}"
            certificate.remarks.append(
                f"The model computes in {' and '.join(truth.low_precision)}, and is stepped in float32: its own "
                f"answers are up to {error:.1e} from these."
            )
        certificate.findings.append(Finding("the model itself", passed, detail, error))
        mixed = truth.mixed_states(subject.sequences.part(0, longest))
        if mixed is not None and mixed > max(tolerance, allowed):
            certificate.remarks.append(
                "Keras keeps one state for a layer with stateful=True, and mixes the states of its calls. Here each "
                "call has a state of its own, as with stateful=False."
            )
    errors = Errors(tolerance)
    progress("the trained model's first answer", 0.0)
    compared = accuracy.every_prefix(
        subject,
        truth,
        errors,
        accuracy.telling_first(lengths),
        "random",
        budget.stage("prefixes"),
        lambda part: progress("every prefix", part),
    )
    if given is not None:
        certificate.sequences["given"] = given.rows
        _on_given(subject, truth, errors, given, certificate, budget, progress)
    error, where = errors.worst
    name = "every prefix" if artifact.mode != "window" and artifact.exact_prefix else "every window"
    known = sum(accuracy.span(artifact, t) is not None for t in lengths)
    tried = f"{known}" if len(compared) == known else f"{len(compared)} of {known}"
    passed, detail = error <= tolerance, f"{tried} lengths; worst: {where}"
    if not passed:
        stage = budget.stage("prefixes")
        certificate.rounding = accuracy.own_rounding(subject, truth, compared, errors, stage, spread.OWN)
        if errors.rare and error <= spread.OWN * certificate.rounding:
            passed, detail = True, f"{detail}: as far as rounding explains it ({certificate.rounding:.1e})"
    certificate.findings.append(Finding(name, passed, detail, error))
    extreme, remark = accuracy.extremes(subject, truth, tolerance, lengths, budget)
    certificate.findings += [extreme] if extreme else []
    certificate.remarks += [remark] if remark else []
    _on_thousands(subject, truth, certificate, budget, progress)
    if name == "every window":
        return errors
    if any(truth.over_time):
        certificate.findings.append(accuracy.own_causality(subject, truth, tolerance))
    if not certificate.passed:
        return errors
    finding, long, remark = accuracy.long_run(
        subject, truth, tolerance, len(lengths), budget, lambda part: progress("the long run", part)
    )
    certificate.findings += [finding] if finding else []
    certificate.remarks += [remark] if remark else []
    for name, seen in long.growth.items():
        errors.growth[name] |= seen
    return errors


def _on_thousands(
    subject: Subject, truth: Reference, certificate: Certificate, budget: Budget, progress: Progress
) -> None:
    found = spread.measured(
        subject, truth, certificate.tolerance, budget, lambda part: progress("random predictions", part)
    )
    if found is None:
        return
    certificate.spread = found.to_dict()
    if found.rounding is not None:
        certificate.rounding = max(found.rounding, certificate.rounding or 0.0)
    finding, remark = spread.finding(found, certificate.tolerance)
    certificate.findings.append(finding)
    certificate.remarks += [remark] if remark else []


def _on_given(
    subject: Subject,
    truth: Reference,
    errors: Errors,
    given: Sequences,
    certificate: Certificate,
    budget: Budget,
    progress: Progress,
) -> None:
    own, artifact = dataclasses.replace(subject, sequences=given), subject.artifact
    limit = given.length
    if artifact.mode == "tumbling" and artifact.exact_prefix:
        limit = min(limit, artifact.length or limit)
    known = [t for t in range(1, limit + 1) if accuracy.span(artifact, t)]
    lengths = [t for t in known if t <= accuracy.EVERY_PREFIX] + [
        t for t in accuracy.powers(accuracy.EVERY_PREFIX, limit) if t in known
    ]
    if lengths:
        tick = lambda part: progress("your sequences", part)  # noqa: E731
        order = accuracy.telling_first(lengths)
        accuracy.every_prefix(own, truth, errors, order, "given", budget.stage("given"), tick)
    else:
        certificate.remarks.append(
            f"Your sequences have {given.length} samples: too few for one answer of the trained model's own."
        )


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
    length = min(subject.samples, subject.sequences.length)
    flat = subject.answers(subject.sequences, sorted({min(n, length) for n in (1, 4, 16, length)}))
    with np.errstate(invalid="ignore", over="ignore"):
        if float(np.ptp(np.stack([*flat.values()]))) < 100 * certificate.tolerance:
            certificate.remarks.append(
                "The answers hardly depend on the samples, so agreement means little: is it trained?"
            )
    # Whether static inputs are held matters at a sequence's first sample alone: that has a check of its own.
    kept = [slot.name for slot in subject.artifact.static_slots.values()]
    spared = {HELD, *([STEPS, *kept] if subject.artifact.length == 1 else [])}
    dead = [name for name in properties.dead_slots(subject) if name not in spared]
    if dead:
        certificate.remarks.append(f"Nothing depends on the state of {', '.join(dead)}.")
    else:
        detail = f"all {len(subject.artifact.layout)}"
        certificate.findings.append(Finding("every state slot changes the output", True, detail))
