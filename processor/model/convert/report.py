"""The report of a conversion or a verification: one that people like to read, and the same for programs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from processor.model.after_length import offer
from processor.model.convert.remedies import Again, typed_plainly

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from rich.console import Console

    from processor.model.artifact import Mode, Slot
    from processor.types import TensorSpec


@dataclass(frozen=True, eq=False)
class Report:
    """What was converted (or verified), and how exact it is.

    `errors`: output name -> the greatest |error| / max(1, |truth|) over every prefix; `fingerprint`: 16 hexadecimal
    digits, empty where nothing was written; `certificate`: what the manifest keeps of it; `layers`: in the order of
    the graph, each with its rule and its slots; `trained_length`: the number of samples that the model's input names;
    `other_modes`: those that work for it; `typed`: words the same conversion with other options.
    """

    model: str
    directory: Path | None
    fingerprint: str
    mode: Mode
    length: int | None
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    layout: tuple[Slot, ...]
    layers: list[dict[str, Any]]
    weights: list[dict[str, Any]]
    errors: dict[str, float]
    tolerance: float
    tile: int | None
    certificate: dict[str, Any]
    repairs: list[str]
    versions: dict[str, str]
    graph_bytes: int
    seconds: float
    passed: bool
    trained_length: int | None = None
    other_modes: tuple[Mode, ...] = ()
    typed: Callable[[Again], str] = typed_plainly

    def __repr__(self) -> str:
        error = max(self.errors.values(), default=0.0)
        verdict = f"exact {self.exact_on}" if self.passed else "not exact"
        return f"<Report of {self.model}, mode {self.mode}: {verdict}, greatest error {error:.1e}; {self.directory}>"

    @property
    def words(self) -> int:
        """The number of 4-byte words of one key's state."""
        return self.layout[-1].stop if self.layout else 0

    @property
    def remarks(self) -> list[str]:
        """What is no error, and worth knowing all the same."""
        return list(self.certificate["remarks"])

    @property
    def spread(self) -> str:
        """The errors of the random predictions in one sentence; empty where there were none."""
        seen = self.certificate.get("spread")
        if not seen:
            return ""
        kinds = {"step": "", "step_float64": "from float64, the step ", "model_float64": "the trained model itself "}
        said = [
            f"{title}median {errors['median']:.0e}, 99 % {errors['p99']:.0e}, greatest {errors['greatest']:.1e}"
            for kind, title in kinds.items()
            if (errors := seen.get(kind))
        ]
        return f"Errors of {seen['predictions']:,} random predictions (a sample, no bound): {'; '.join(said)}."

    @property
    def exact_on(self) -> str:
        """On what the outputs were compared with the trained model's own."""
        if self.mode == "window":
            return f"on every window of {self.length:,} samples"
        if self.mode == "carry":
            return "on every prefix"
        if any(check["name"] == "every prefix" for check in self.certificate["checks"]):
            return f"on every prefix of the {self.length:,} samples between two fresh starts"
        return f"at the last of every {self.length:,} samples, and only there"

    @property
    def apart(self) -> str | None:
        """How far the modes are apart on the user's own sequences, or what it would take to find out."""
        apart, trained = self.certificate.get("apart"), self.trained_length
        if apart is None or trained is None:
            return None
        if apart["samples"] is None:
            have = f"Your sequences have {apart['longest']:,} samples"
            return f"{have}: sequences of more than {trained:,} would show here how far the modes are apart."
        first, last = apart["samples"]
        pairs = [
            f"{' and '.join(pair['modes'])} are up to {pair['largest']:.2g} apart, "
            f"{pair['labels']:.1%} of labels differ"
            for pair in apart["pairs"]
        ]
        where = f"Your {apart['sequences']:,} sequences, samples {first:,} to {last:,}, output {apart['output']}"
        return f"{where}: {'; '.join(pairs)}."

    def type_as(self, typed: Callable[[Again], str]) -> Report:
        """The same with its commands as the user would type them."""
        return replace(self, typed=typed)

    @property
    def offers(self) -> list[tuple[str, str]]:
        """The other modes, where the model's input names a length: what each would do, and how to ask for it."""
        if self.trained_length is None:
            return []
        calls = {mode: Again({"mode": mode, "length": None}) for mode in self.other_modes}
        return [(offer(mode, self.trained_length), self.typed(again)) for mode, again in calls.items()]

    def to_dict(self) -> dict[str, Any]:
        """As a program reads it: JSON's types only."""
        return {
            "model": self.model,
            "directory": str(self.directory) if self.directory else None,
            "fingerprint": self.fingerprint,
            "mode": self.mode,
            "length": self.length,
            "inputs": [_spec(spec) for spec in self.inputs],
            "outputs": [_spec(spec) for spec in self.outputs],
            "layout": [
                {"name": s.name, "shape": list(s.shape), "dtype": s.dtype, "start": s.start, "stop": s.stop}
                for s in self.layout
            ],
            "words": self.words,
            "layers": self.layers,
            "weights": self.weights,
            "errors": self.errors,
            "tolerance": self.tolerance,
            "tile": self.tile,
            "certificate": self.certificate,
            "repairs": self.repairs,
            "versions": self.versions,
            "graph_bytes": self.graph_bytes,
            "seconds": round(self.seconds, 3),
            "passed": self.passed,
            "trained_length": self.trained_length,
            "offers": [{"what": what, "command": command} for what, command in self.offers],
        }

    def render(self, console: Console) -> None:
        """Prints the layers with their rules and slots, the checks, and the greatest error. Needs rich."""
        from processor.model.convert.report_screen import render

        render(self, console)


def _spec(spec: TensorSpec) -> dict[str, Any]:
    return {"name": spec.name, "shape": list(spec.shape), "dtype": spec.dtype, "static": spec.static}
