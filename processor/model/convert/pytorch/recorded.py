"""The converted model held against PyTorch itself: against the answers that it gave when it was described."""

from __future__ import annotations

from typing import TYPE_CHECKING

from processor.model.convert.properties import Finding
from processor.model.convert.reference import scaled_error
from processor.model.convert.sequences import Sequences

if TYPE_CHECKING:
    from processor.model.convert.pytorch.description import Description
    from processor.model.convert.reference import Reference

NAME = "PyTorch's own answers"


def against_pytorch(described: Description, truth: Reference, tolerance: float, length: int | None) -> Finding | None:
    """Whether the reference of the step predicts what PyTorch predicts, after every number of samples that both know.

    `length`: the only one that the reference knows, where there is but one. None where no number is known to both.
    """
    interface, inputs = truth.interface, described.inputs
    sequences = Sequences(interface, {entry.spec.name: inputs[entry.spec.name] for entry in interface.entries})
    lengths = [n for n in described.lengths if length is None or n == length]
    if not lengths:
        return None
    worst, where = 0.0, ""
    for n in lengths:
        place = described.lengths.index(n)
        for spec, mine, own in zip(
            interface.outputs, truth.newest(sequences.part(0, n)), described.answers, strict=True
        ):
            error = scaled_error(mine, own[:, place])
            if error >= worst:
                worst, where = error, f"output {spec.name!r}, after sample {n}"
    detail = (
        f"{len(sequences.values[interface.entries[0].spec.name])} sequences, {len(lengths)} lengths; worst: {where}"
    )
    return Finding(NAME, worst <= tolerance, detail, worst)
