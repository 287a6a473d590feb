"""The report of a conversion or a verification: one that people like to read, and the same for programs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Group
from rich.markup import escape
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console, RenderableType

    from processor.model.artifact import Slot
    from processor.model.convert.refusal import ConversionRefused
    from processor.types import TensorSpec


@dataclass(frozen=True, eq=False)
class Report:
    """What was converted (or verified), and how exact it is.

    `errors`: output name -> the greatest |error| / max(1, |truth|) over every prefix; `fingerprint`: 16 hexadecimal
    digits, empty where nothing was written; `certificate`: what the manifest keeps of it; `layers`: in the order of
    the graph, each with its rule and its slots.
    """

    model: str
    directory: Path | None
    fingerprint: str
    mode: str
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
        }

    def render(self, console: Console) -> None:
        """Prints the layers with their rules and slots, the checks, and the greatest error."""
        console.print(self._head())
        console.print(self._layers())
        console.print(self._checks())
        if labels := self.certificate.get("labels"):
            console.print(Padding(_labelled(labels), (0, 1)))
        for title, sentences in (("Repaired", self.repairs), ("Worth knowing", self.remarks)):
            for sentence in sentences:
                console.print(Padding(f"[yellow]{title}:[/] {escape(sentence)}", (0, 1)))
        console.print(self._verdict())

    def _head(self) -> RenderableType:
        mode = self.mode if self.length is None else f"{self.mode} {self.length}"
        table = Table.grid(padding=(0, 2))
        table.add_column(style="dim")
        table.add_column(overflow="fold")
        table.add_row("model", escape(self.model))
        table.add_row("input", ", ".join(escape(_shown(spec)) for spec in self.inputs))
        table.add_row("output", ", ".join(escape(_shown(spec)) for spec in self.outputs))
        table.add_row("mode", f"[bold]{mode}[/]")
        size = f"{self.words} words, {4 * self.words} bytes a key" if self.words else "none"
        table.add_row("state", size + (f", stepped in tiles of {self.tile}" if self.tile else ""))
        return Padding(table, (1, 1))

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

    def _checks(self) -> RenderableType:
        table = Table(box=box.SIMPLE_HEAD, header_style="dim", pad_edge=True)
        table.add_column("certificate")
        table.add_column("error", justify="right")
        table.add_column("tried", overflow="fold")
        for check in self.certificate["checks"]:
            mark = "[green]✓[/]" if check["passed"] else "[bold red]✗[/]"
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
        text = (
            f"[bold green]Exact[/] on every prefix: greatest error [bold]{worst:.1e}[/], tolerance {self.tolerance:.0e}"
        )
        text += f" [dim]({self.seconds:.1f} s)[/]"
        text += f"\n{spread}" if (spread := self.spread) else ""
        if self.directory:
            text += f"\n{escape(str(self.directory))}  [dim]fingerprint[/] {self.fingerprint}"
        return Panel(text, border_style="green", expand=False)


def render_refusal(refusal: ConversionRefused, console: Console) -> None:
    """Prints the layer in the way, why it is, and what to do about it."""
    lines: list[RenderableType] = [Text(refusal.fact, style="bold"), Text(refusal.cause)]
    lines.append(Text(f"{refusal.layer}: {refusal.reason}", style="dim"))
    if refusal.remedies:
        lines.append(Text("\nWhat to do:" if len(refusal.remedies) == 1 else "\nWhat to do, one of:"))
    lines += [Padding(Text(f"- {remedy}"), (0, 0, 0, 2)) for remedy in refusal.remedies]
    if refusal.report is not None:
        refusal.report.render(console)
    console.print(Panel(Group(*lines), title="not converted", border_style="red", expand=False))


def _labelled(labels: dict[str, Any]) -> str:
    said = f"{labels['measure']} of the step {labels['step']:.4g}, of the trained model {labels['model']:.4g}"
    return f"[bold]Your labels[/]: {said} ({labels['sequences']} sequences, output {escape(labels['output'])})"


def _spec(spec: TensorSpec) -> dict[str, Any]:
    return {"name": spec.name, "shape": list(spec.shape), "dtype": spec.dtype, "static": spec.static}


def _shown(spec: TensorSpec) -> str:
    return f"{spec.name}  {spec.dtype}{list(spec.shape)}"
