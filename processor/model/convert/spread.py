"""How far apart single predictions are, over thousands of random sequences: a statistic, not a bound.

A prediction's error is the greatest |error| / max(1, |truth|) of its numbers. Where some are above the tolerance, the
same predictions in float64 show whose rounding that is: the trained model's own, or more than that.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from processor.model.convert.accuracy import MOST_ABOVE, span
from processor.model.convert.properties import Finding
from processor.model.convert.reference import row_errors
from processor.model.convert.sequences import plain_sequences

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from processor.model.convert.budget import Budget
    from processor.model.convert.properties import Subject
    from processor.model.convert.reference import Reference

    Errors = NDArray[np.float64]

NAME: Final = "random predictions"
OWN: Final = 4
"""So many times the trained model's own greatest rounding, the step may be from float64."""
_SAMPLES: Final = 16
"""Samples of a sequence where the model has no length of its own."""
_AT_ONCE: Final = 256


@dataclass(frozen=True)
class Spread:
    """The errors of single predictions, one after each sequence of so many samples.

    step: the step against the trained model's own float32; exact: the step against the model in float64; own: the
    model's float32 against its float64. The last two where they were needed (NaN elsewhere), and the model has such a
    twin.
    """

    samples: int
    step: Errors
    exact: Errors | None = None
    own: Errors | None = None

    def share_above(self, tolerance: float) -> float:
        """The share of predictions that are further than this from the model's float32 and from its float64."""
        nearer = self.step if self.exact is None else np.fmin(self.step, self.exact)
        return float((nearer > tolerance).mean())

    @property
    def rounding(self) -> float | None:
        """How far the trained model's float32 answers are from those in float64."""
        return None if self.own is None else float(np.nanmax(self.own))

    def to_dict(self) -> dict[str, Any]:
        """As the manifest keeps it."""
        kinds = {"step": self.step, "step_float64": self.exact, "model_float64": self.own}
        return {
            "predictions": len(self.step),
            "samples": self.samples,
            **{name: _quantiles(errors) for name, errors in kinds.items() if errors is not None},
        }


def measured(
    subject: Subject, truth: Reference, tolerance: float, budget: Budget, tick: Callable[[float], None]
) -> Spread | None:
    """The errors after a sequence of the model's own length, of as many sequences as the budget allows.

    None where not one such sequence fits.
    """
    artifact, interface = subject.artifact, subject.sequences.interface
    own = interface.length or _SAMPLES
    samples = artifact.length or min(own, truth.longest)
    between = span(artifact, samples)
    if between is None or samples > truth.longest:
        return None
    stage = budget.stage("errors")
    numbers = samples * sum(int(np.prod(spec.shape)) for spec in artifact.inputs)
    numbers += 4 * artifact.words + sum(int(np.prod(spec.shape)) for spec in artifact.outputs)
    rows = budget.fitting(4 * 4 * numbers, min(_AT_ONCE, budget.sequences))
    parts: list[Spread] = []
    needs_exact = False
    done, size = 0, min(8, rows)
    while done < budget.sequences and stage.allows(size):
        with stage.measured(size):
            parts.append(_of_some(subject, truth, samples, size, 1000 + done, exact=needs_exact))
        needs_exact = needs_exact or bool(parts[-1].step.max() > tolerance)
        if needs_exact and parts[-1].exact is None:
            parts[-1] = _of_some(subject, truth, samples, size, 1000 + done, exact=True)
        done, size = done + size, rows
        tick(min(1.0, done / budget.sequences))
    return _joined(samples, parts)


def finding(spread: Spread, tolerance: float) -> tuple[Finding, str]:
    """Whether the predictions are within the tolerance, or as near as the trained model's own rounding lets any be;
    and what to say about those that are not."""
    greatest, above = float(spread.step.max()), float((spread.step > tolerance).mean())
    detail = f"{len(spread.step):,} sequences of {spread.samples:,} samples; {quantiles(spread.to_dict()['step'])}"
    if not above:
        return Finding(NAME, True, detail, greatest), ""
    if spread.exact is None or spread.own is None:
        return Finding(NAME, False, f"{detail}; it has no float64 twin to tell rounding by", greatest), ""
    exact, own = float(np.nanmax(spread.exact)), float(np.nanmax(spread.own))
    explained = exact <= OWN * own and spread.share_above(tolerance) <= MOST_ABOVE
    remark = (
        f"{above:.2%} of {len(spread.step):,} random predictions differ from the trained model's own by more than "
        f"{tolerance:.0e}, at most by {greatest:.1e}. That is rounding: the model's own float32 answers are up to "
        f"{own:.1e} from those computed in float64, and the step's up to {exact:.1e}."
    )
    detail = f"{detail}; from float64: the model's own float32 {own:.1e}, the step {exact:.1e}"
    return Finding(NAME, explained, detail, greatest), remark if explained else ""


def quantiles(errors: dict[str, float]) -> str:
    """A line of the report."""
    return f"median {errors['median']:.0e}, 99 % {errors['p99']:.0e}, greatest {errors['greatest']:.1e}"


def _of_some(subject: Subject, truth: Reference, samples: int, rows: int, seed: int, *, exact: bool) -> Spread:
    sequences = plain_sequences(subject.sequences.interface, samples, rows, seed)
    some = dataclasses.replace(subject, sequences=sequences)
    start, stop = span(subject.artifact, samples) or (0, samples)
    flat = some.answers(sequences, [samples])[samples]
    known = _flat(truth.newest(sequences.part(start, stop)))
    precise = truth.newest_exact(sequences.part(start, stop)) if exact else None
    if precise is None:
        return Spread(samples, row_errors(flat, known))
    wide = _flat(precise)
    return Spread(samples, row_errors(flat, known), row_errors(flat, wide), row_errors(known, wide))


def _flat(outputs: list[NDArray[Any]]) -> NDArray[Any]:
    return np.concatenate([y.reshape(len(y), -1) for y in outputs], axis=1)


def _joined(samples: int, parts: list[Spread]) -> Spread | None:
    if not parts:
        return None
    step = np.concatenate([part.step for part in parts])
    if all(part.exact is None for part in parts):
        return Spread(samples, step)
    nothing = [np.full(len(part.step), np.nan) for part in parts]
    exact = np.concatenate(
        [none if part.exact is None else part.exact for part, none in zip(parts, nothing, strict=True)]
    )
    own = np.concatenate([none if part.own is None else part.own for part, none in zip(parts, nothing, strict=True)])
    return Spread(samples, step, exact, own)


def _quantiles(errors: Errors) -> dict[str, float]:
    return {
        "median": float(np.nanmedian(errors)),
        "p99": float(np.nanquantile(errors, 0.99)),
        "greatest": float(np.nanmax(errors)),
    }
