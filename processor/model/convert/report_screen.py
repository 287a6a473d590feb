"""A report of a conversion or a verification in a terminal. (`page` is the one for a browser.)"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich import box
from rich.markup import escape
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from processor.model.after_length import after_length
from processor.model.artifact import state_size

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from processor.model.convert.report import Report
    from processor.types import TensorSpec


def render(report: Report, console: Console) -> None:
    """Prints the layers with their rules and slots, the checks, and the greatest error."""
    console.print(_head(report))
    console.print(_layers(report))
    console.print(_checks(report, signs(console)))
    if labels := report.certificate.get("labels"):
        console.print(Padding(_labelled(labels), (0, 1), expand=False))
    for title, sentences in (("Repaired", report.repairs), ("Worth knowing", report.remarks)):
        for sentence in sentences:
            console.print(Padding(f"[yellow]{title}:[/] {escape(sentence)}", (0, 1), expand=False))
    console.print(_verdict(report))
    if report.passed and report.trained_length is not None:
        _after_length(report, console, report.trained_length)


def _after_length(report: Report, console: Console, trained: int) -> None:
    """What comes after the last sample that the model was trained on, and how to have it otherwise."""
    console.print(
        Padding(Text(after_length(report.mode, report.length, trained), style="yellow"), (0, 1), expand=False)
    )
    for what, command in report.offers:
        print_command(console, f"to {what}", command)
    if (said := report.apart) is not None:
        console.print(Padding(Text(said), (0, 1), expand=False))


def _head(report: Report) -> RenderableType:
    mode = report.mode if report.length is None else f"{report.mode} {report.length}"
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    table.add_row("model", escape(report.model))
    table.add_row("input", ", ".join(escape(_shown(spec)) for spec in report.inputs))
    table.add_row("output", ", ".join(escape(_shown(spec)) for spec in report.outputs))
    table.add_row("mode", f"[bold]{mode}[/]")
    size = state_size(report.words)
    table.add_row("state", size + (f", stepped in tiles of {report.tile}" if report.tile else ""))
    return Padding(table, (1, 1), expand=False)


def _layers(report: Report) -> RenderableType:
    shapes = {slot.name: slot for slot in report.layout}
    table = Table(box=box.SIMPLE_HEAD, header_style="dim", pad_edge=True)
    for title in ("layer", "class", "rule", "state"):
        table.add_column(title, overflow="fold")
    for layer in report.layers:
        slots = "\n".join(f"{escape(name)} [dim]{list(shapes[name].shape)}[/]" for name in layer["slots"])
        table.add_row(escape(layer["name"]), layer["class"], f"[dim]{layer['rule']}[/]", slots or "[dim]-[/]")
    counter = [slot for slot in report.layout if slot.dtype == "int32"]
    for slot in counter:
        table.add_row("[dim]the mode[/]", "", f"[dim]counts to {report.length}[/]", f"{slot.name} [dim]int32[/]")
    return table


def _checks(report: Report, signs: tuple[str, str]) -> RenderableType:
    table = Table(box=box.SIMPLE_HEAD, header_style="dim", pad_edge=True)
    table.add_column("certificate")
    table.add_column("error", justify="right")
    table.add_column("tried", overflow="fold")
    for check in report.certificate["checks"]:
        mark = f"[green]{signs[0]}[/]" if check["passed"] else f"[bold red]{signs[1]}[/]"
        error = "" if check["error"] is None else f"{check['error']:.1e}"
        table.add_row(f"{mark} {escape(check['name'])}", error, f"[dim]{escape(check['detail'])}[/]")
    for name, seen in report.certificate["growth"].items():
        shown = [(n, e) for n, e in seen if n & (n - 1) == 0 or n == seen[-1][0]]
        growth = "  ".join(f"{n}: {e:.0e}" for n, e in shown)
        table.add_row(f"[dim]  {escape(name)} by samples[/]", "", f"[dim]{growth}[/]")
    return table


def _verdict(report: Report) -> RenderableType:
    worst = max(report.errors.values(), default=0.0)
    if not report.passed:
        where = report.certificate["wrong_layer"]
        text = f"[bold red]Not exact.[/] Greatest error {worst:.1e}, tolerance {report.tolerance:.0e}."
        text += f" The first layer that differs is [bold]{escape(where)}[/]." if where else ""
        return Panel(text, border_style="red", expand=False)
    text = f"[bold green]Exact[/] {report.exact_on}: greatest error [bold]{worst:.1e}[/], "
    text += f"tolerance {report.tolerance:.0e}"
    text += f" [dim]({report.seconds:.1f} s)[/]"
    text += f"\n{spread}" if (spread := report.spread) else ""
    if report.directory:
        text += f"\n{escape(str(report.directory))}  [dim]fingerprint[/] {report.fingerprint}"
    return Panel(text, border_style="green", expand=False)


def signs(console: Console) -> tuple[str, str]:
    """What stands for passed and failed, as far as the console can show it."""
    return ("✓", "✗") if console.encoding.lower().startswith("utf") else ("ok", "FAILED")


def print_command(console: Console, what: str, command: str) -> None:
    """A command to be copied: on a line of its own, never wrapped."""
    console.print(Padding(Text(f"{what}:"), (0, 1), expand=False))
    console.print(Text(f"   {command}", style="bold"), soft_wrap=True)


def _labelled(labels: dict[str, Any]) -> str:
    said = f"{labels['measure']} of the step {labels['step']:.4g}, of the trained model {labels['model']:.4g}"
    return f"[bold]Your labels[/]: {said} ({labels['sequences']} sequences, output {escape(labels['output'])})"


def _shown(spec: TensorSpec) -> str:
    return f"{spec.name}  {spec.dtype}{list(spec.shape)}"
