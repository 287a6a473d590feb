"""The report of a conversion or a verification: one that people like to read, and the same for programs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from rich import box
from rich.markup import escape
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from processor.model.after_length import after_length, offer
from processor.model.artifact import state_size
from processor.model.convert.remedies import Again, typed_plainly

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from rich.console import Console, RenderableType

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
        verdict = f"exact {exact_on(self)}" if self.passed else "not exact"
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
        """Prints the layers with their rules and slots, the checks, and the greatest error."""
        console.print(self._head())
        console.print(self._layers())
        console.print(self._checks(signs(console)))
        if labels := self.certificate.get("labels"):
            console.print(Padding(_labelled(labels), (0, 1), expand=False))
        for title, sentences in (("Repaired", self.repairs), ("Worth knowing", self.remarks)):
            for sentence in sentences:
                console.print(Padding(f"[yellow]{title}:[/] {escape(sentence)}", (0, 1), expand=False))
        console.print(self._verdict())
        if self.passed and self.trained_length is not None:
            self._after_length(console, self.trained_length)

    def _after_length(self, console: Console, trained: int) -> None:
        """What comes after the last sample that the model was trained on, and how to have it otherwise."""
        console.print(
            Padding(Text(after_length(self.mode, self.length, trained), style="yellow"), (0, 1), expand=False)
        )
        for what, command in self.offers:
            print_command(console, f"to {what}", command)
        if (said := apart_in_words(self.certificate.get("apart"), trained)) is not None:
            console.print(Padding(Text(said), (0, 1), expand=False))

    def _head(self) -> RenderableType:
        mode = self.mode if self.length is None else f"{self.mode} {self.length}"
        table = Table.grid(padding=(0, 2))
        table.add_column(style="dim")
        table.add_column(overflow="fold")
        table.add_row("model", escape(self.model))
        table.add_row("input", ", ".join(escape(_shown(spec)) for spec in self.inputs))
        table.add_row("output", ", ".join(escape(_shown(spec)) for spec in self.outputs))
        table.add_row("mode", f"[bold]{mode}[/]")
        size = state_size(self.words)
        table.add_row("state", size + (f", stepped in tiles of {self.tile}" if self.tile else ""))
        return Padding(table, (1, 1), expand=False)

    def _layers(self) -> RenderableType:
        shapes = {slot.name: slot for slot in self.layout}
        table = Table(box=box.SIMPLE_HEAD, header_style="dim", pad_edge=True)
        for title in ("layer", "class", "rule", "state"):
            table.add_column(title, overflow="fold")
        for layer in self.layers:
            slots = "\n".join(f"{escape(name)} [dim]{list(shapes[name].shape)}[/]" for name in layer["slots"])
            table.add_row(escape(layer["name"]), layer["class"], f"[dim]{layer['rule']}[/]", slots or "[dim]-[/]")
        counter = [slot for slot in self.layout if slot.dtype == "int32"]
        for slot in counter:
            table.add_row("[dim]the mode[/]", "", f"[dim]counts to {self.length}[/]", f"{slot.name} [dim]int32[/]")
        return table

    def _checks(self, signs: tuple[str, str]) -> RenderableType:
        table = Table(box=box.SIMPLE_HEAD, header_style="dim", pad_edge=True)
        table.add_column("certificate")
        table.add_column("error", justify="right")
        table.add_column("tried", overflow="fold")
        for check in self.certificate["checks"]:
            mark = f"[green]{signs[0]}[/]" if check["passed"] else f"[bold red]{signs[1]}[/]"
            error = "" if check["error"] is None else f"{check['error']:.1e}"
            table.add_row(f"{mark} {escape(check['name'])}", error, f"[dim]{escape(check['detail'])}[/]")
        for name, seen in self.certificate["growth"].items():
            shown = [(n, e) for n, e in seen if n & (n - 1) == 0 or n == seen[-1][0]]
            growth = "  ".join(f"{n}: {e:.0e}" for n, e in shown)
            table.add_row(f"[dim]  {escape(name)} by samples[/]", "", f"[dim]{growth}[/]")
        return table

    def _verdict(self) -> RenderableType:
        worst = max(self.errors.values(), default=0.0)
        if not self.passed:
            where = self.certificate["wrong_layer"]
            text = f"[bold red]Not exact.[/] Greatest error {worst:.1e}, tolerance {self.tolerance:.0e}."
            text += f" The first layer that answers otherwise is [bold]{escape(where)}[/]." if where else ""
            return Panel(text, border_style="red", expand=False)
        text = f"[bold green]Exact[/] {exact_on(self)}: greatest error [bold]{worst:.1e}[/], "
        text += f"tolerance {self.tolerance:.0e}"
        text += f" [dim]({self.seconds:.1f} s)[/]"
        text += f"\n{spread}" if (spread := self.spread) else ""
        if self.directory:
            text += f"\n{escape(str(self.directory))}  [dim]fingerprint[/] {self.fingerprint}"
        return Panel(text, border_style="green", expand=False)


def exact_on(report: Report) -> str:
    """On what the answers were held against the trained model's own."""
    if report.mode == "window":
        return f"on every window of {report.length:,} samples"
    if report.mode == "carry":
        return "on every prefix"
    if any(check["name"] == "every prefix" for check in report.certificate["checks"]):
        return f"on every prefix of the {report.length:,} samples between two fresh starts"
    return f"at the last of every {report.length:,} samples, and only there"


def signs(console: Console) -> tuple[str, str]:
    """What stands for passed and failed, as far as the console can show it."""
    return ("✓", "✗") if console.encoding.lower().startswith("utf") else ("ok", "FAILED")


def print_command(console: Console, what: str, command: str) -> None:
    """A command to be copied: on a line of its own, never wrapped."""
    console.print(Padding(Text(f"{what}:"), (0, 1), expand=False))
    console.print(Text(f"   {command}", style="bold"), soft_wrap=True)


def apart_in_words(apart: dict[str, Any] | None, trained: int) -> str | None:
    """How far the modes are apart on the user's own sequences, or what it would take to find out."""
    if apart is None:
        return None
    if apart["samples"] is None:
        have = f"Your sequences have {apart['longest']:,} samples"
        return f"{have}: sequences of more than {trained:,} would show here how far the modes are apart."
    first, last = apart["samples"]
    pairs = [
        f"{' and '.join(pair['modes'])} are up to {pair['largest']:.2g} apart, {pair['labels']:.1%} of labels differ"
        for pair in apart["pairs"]
    ]
    where = f"Your {apart['sequences']:,} sequences, samples {first:,} to {last:,}, output {apart['output']}"
    return f"{where}: {'; '.join(pairs)}."


def _labelled(labels: dict[str, Any]) -> str:
    said = f"{labels['measure']} of the step {labels['step']:.4g}, of the trained model {labels['model']:.4g}"
    return f"[bold]Your labels[/]: {said} ({labels['sequences']} sequences, output {escape(labels['output'])})"


def _spec(spec: TensorSpec) -> dict[str, Any]:
    return {"name": spec.name, "shape": list(spec.shape), "dtype": spec.dtype, "static": spec.static}


def _shown(spec: TensorSpec) -> str:
    return f"{spec.name}  {spec.dtype}{list(spec.shape)}"
