"""What `processor info` shows of an artifact: a dict for programs, a page for people."""

from __future__ import annotations

import math
import shlex
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.table import Table
from rich.text import Text

from processor.model.after_length import after_length, offer
from processor.model.artifact import GOLDEN, MANIFEST, STEP_GRAPH, state_size

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from rich.console import Console

    from processor.model.artifact import Artifact
    from processor.types import TensorSpec

_LIST_ITEMS_SHOWN = 8


def describe(artifact: Artifact) -> dict[str, Any]:
    """All that an artifact contains but its tensors' values, in types that JSON can hold."""
    return {
        "directory": str(artifact.directory),
        "fingerprint": artifact.fingerprint_hex,
        "model": artifact.model_id,
        "mode": artifact.mode,
        "length": artifact.length,
        "exact_prefix": artifact.exact_prefix,
        "trained_length": artifact.trained_length,
        "other_modes": list(artifact.other_modes),
        "inputs": [_tensor(spec) for spec in artifact.inputs],
        "outputs": [_tensor(spec) for spec in artifact.outputs],
        "state": {
            "words": artifact.words,
            "bytes": 4 * artifact.words,
            "starts_as_zeros": not artifact.initial_state.view(np.uint32).any(),
            "slots": [
                {
                    "name": slot.name,
                    "shape": list(slot.shape),
                    "dtype": slot.dtype,
                    "columns": [slot.start, slot.stop],
                }
                for slot in artifact.layout
            ],
        },
        "layers": artifact.layers,
        "weights": artifact.weights,
        "parameters": sum(math.prod(weight.get("shape", ())) for weight in artifact.weights),
        "repairs": artifact.repairs,
        "tolerance": artifact.tolerance,
        "certificate": artifact.certificate,
        "golden": {
            "sequences": len(artifact.golden.state),
            "samples": next(iter(artifact.golden.features.values())).shape[1],
        },
        "tile": artifact.tile,
        "versions": artifact.versions,
        "size_bytes": {name: (artifact.directory / name).stat().st_size for name in (MANIFEST, STEP_GRAPH, GOLDEN)},
    }


def render(artifact: Artifact, console: Console) -> None:
    """Prints the same for people."""
    about = describe(artifact)
    console.print()
    console.print(Text.assemble(("artifact ", "bold"), about["directory"], "  ", (about["fingerprint"], "bold cyan")))
    console.print(_pairs(_summary(about)))
    slots = about["state"]["slots"]
    _table(console, "state", ("tensor", "shape", "dtype", "columns"), (_slot_row(slot) for slot in slots))
    _table(console, "layers", *_columns(about["layers"], ("name", "class", "rule")))
    _table(console, "weights", ("weight", "shape", "parameters"), map(_weight_row, about["weights"]))
    if artifact.trained_length is not None:
        _after_length(artifact, artifact.trained_length, console)
    _section(console, "certificate", _leaves(about["certificate"]))
    _section(console, "repairs", ((str(i + 1), repair) for i, repair in enumerate(about["repairs"])))
    _section(console, "versions", about["versions"].items())
    console.print()


def _summary(about: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    state, golden, sizes = about["state"], about["golden"], about["size_bytes"]
    length = "" if about["length"] is None else f" {about['length']}"
    yield "mode", f"{about['mode']}{length}" + ("" if about["exact_prefix"] else ", exact at the last step only")
    for kind in ("inputs", "outputs"):
        yield kind, ", ".join(map(_spec, about[kind]))
    start = "zeros" if state["starts_as_zeros"] else "values of the model's own"
    yield "state", f"{state_size(state['words'])}; starts as {start}"
    yield "parameters", f"{about['parameters']:,}"
    yield "tolerance", f"{about['tolerance']:g}"
    yield "golden", f"{golden['sequences']:,} sequences of {golden['samples']:,} samples"
    yield "rows a call", "any number" if about["tile"] is None else f"always {about['tile']:,}"
    yield "size", ", ".join(f"{name} {_bytes(size)}" for name, size in sizes.items())


def _after_length(artifact: Artifact, trained: int, console: Console) -> None:
    console.print(Text(f"\nafter sample {trained:,}", style="bold"))
    console.print(Text(f"  {after_length(artifact.mode, artifact.length, trained)}"))
    for mode in artifact.other_modes:
        command = f"processor convert MODEL -o {shlex.quote(str(artifact.directory))} --mode {mode}"
        console.print(Text(f"  to {offer(mode, trained)}:  {command}"), soft_wrap=True)


def _tensor(spec: TensorSpec) -> dict[str, Any]:
    return {"name": spec.name, "shape": list(spec.shape), "dtype": spec.dtype, "static": spec.static}


def _spec(one: Mapping[str, Any]) -> str:
    return f"{one['name']} {one['dtype']}{_shape(one['shape'])}" + (" static" if one["static"] else "")


def _slot_row(slot: Mapping[str, Any]) -> tuple[str, str, str, str]:
    start, stop = slot["columns"]
    return slot["name"], _shape(slot["shape"]), slot["dtype"], f"{start}:{stop}"


def _weight_row(weight: Mapping[str, Any]) -> tuple[str, str, str]:
    shape, name = weight.get("shape", ()), str(weight.get("name", "")).rpartition("/")[2]
    return f"{weight.get('layer', '')} {name}".strip(), _shape(shape), f"{math.prod(shape):,}"


def _columns(items: list[dict[str, Any]], first: tuple[str, ...]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """The items as rows: the columns that all have come first, then what only some have."""
    others = {key: None for item in items for key in item if key not in first}
    header = (*first, *others)
    return header, [tuple(_value(item.get(key)) for key in header) for item in items]


def _leaves(value: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, str]]:
    for key, inner in value.items():
        name = f"{path} / {key}" if path else str(key)
        if isinstance(inner, dict):
            yield from _leaves(inner, name)
        elif isinstance(inner, list) and inner and all(isinstance(item, dict) and "name" in item for item in inner):
            yield from ((f"{name} / {item['name']}", _finding(item)) for item in inner)
        elif _value(inner):
            yield name.replace("_", " "), _value(inner)


def _finding(item: Mapping[str, Any]) -> str:
    """One line of a list of named findings; what it found comes first, and what is empty is left out."""
    passed = {True: "passed", False: "FAILED"}.get(item.get("passed", ""), "")
    rest = (f"{key} {_value(value)}" for key, value in item.items() if key not in ("name", "passed", "detail"))
    parts = [passed, *(text for text in rest if not text.endswith(" ")), _value(item.get("detail"))]
    return "; ".join(filter(None, parts))


def _value(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.2g}"
    if isinstance(value, list) and value and all(isinstance(item, list) and len(item) == 2 for item in value):
        # A curve: what matters is where it ends, so it is thinned out and not cut off.
        picked = sorted({round(i * (len(value) - 1) / _LIST_ITEMS_SHOWN) for i in range(_LIST_ITEMS_SHOWN + 1)})
        return ", ".join(f"{_value(where)}: {_value(what)}" for where, what in (value[i] for i in picked))
    if isinstance(value, list):
        shown = ", ".join(map(_value, value[:_LIST_ITEMS_SHOWN]))
        return f"{shown}, ... ({len(value):,})" if len(value) > _LIST_ITEMS_SHOWN else shown
    if isinstance(value, dict):
        return ", ".join(f"{key} {_value(inner)}" for key, inner in value.items())
    return f"{value:,}" if isinstance(value, int) else str(value)


def _shape(shape: Iterable[int]) -> str:
    return f"({', '.join(map(str, shape))})"


def _bytes(size: int) -> str:
    return (
        f"{size:,} B"
        if size < 1024
        else f"{size / 1024:,.1f} KiB"
        if size < 1 << 20
        else f"{size / (1 << 20):,.1f} MiB"
    )


def _section(console: Console, title: str, pairs: Iterable[tuple[str, str]]) -> None:
    items = list(pairs)
    if items:
        console.print(Text(f"\n{title}", style="bold"))
        console.print(_pairs(items))


def _pairs(pairs: Iterable[tuple[str, str]]) -> Table:
    table = Table.grid(padding=(0, 2))
    for name, value in pairs:
        # As Text, so that a layer called "[red]" is printed and not obeyed.
        table.add_row(Text(f"  {name}", style="dim"), Text(value))
    return table


def _table(console: Console, title: str, header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> None:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", pad_edge=False)
    for name in ("", *header):
        table.add_column(name)
    for row in rows:
        table.add_row("", *map(Text, row))
    if table.row_count:
        console.print(Text(f"\n{title}", style="bold"))
        console.print(table)
