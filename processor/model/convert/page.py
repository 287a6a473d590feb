"""The report as one HTML page: no script, nothing fetched, pictures drawn as SVG.

It holds the graph of calls with their rules and state tensors, the checks, and the error against the step on a
logarithmic scale beside the tolerance.
"""

from __future__ import annotations

import math
from html import escape
from typing import TYPE_CHECKING, Any, Final

from processor.model.after_length import after_length
from processor.model.artifact import state_size

if TYPE_CHECKING:
    from processor.model.convert.report import Report

_STYLE: Final = """
body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}
h1{font-size:1.4rem}h2{font-size:1.1rem;margin-top:2rem}table{border-collapse:collapse;width:100%}
td,th{text-align:left;padding:.25rem .6rem;border-bottom:1px solid #ddd;vertical-align:top}
.good{color:#176b2c}.bad{color:#b00020}code,.tensor{font-family:ui-monospace,monospace;font-size:.85em}
svg{max-width:100%}svg text{font:12px ui-monospace,monospace;fill:#333}
"""
_WIDTH: Final = 720
_HEIGHT: Final = 260
_LEFT: Final = 70
_BOTTOM: Final = 30
_BOX: Final = 44
_GAP: Final = 18
_COLOURS: Final = ("#1f6feb", "#b35900", "#176b2c", "#8250df", "#b00020")


def page(report: Report) -> str:
    """The whole page as text."""
    verdict = f"Exact {report.exact_on}" if report.passed else "Not exact"
    kind = "good" if report.passed else "bad"
    worst = max(report.errors.values(), default=0.0)
    mode = report.mode if report.length is None else f"{report.mode} {report.length}"
    sections = [
        f"<h1>{escape(report.model)}</h1>",
        f'<p><b class="{kind}">{verdict}</b>: greatest error {worst:.1e}, tolerance {report.tolerance:.0e}; mode '
        f"{escape(mode)}; {escape(state_size(report.words))}; fingerprint "
        f"<code>{escape(report.fingerprint)}</code></p>",
        f"<p>{escape(report.spread)}</p>",
        *_after_length(report),
        "<h2>Layers and what they remember</h2>",
        _graph(report),
        "<h2>Error against step</h2>",
        _curves(report),
        "<h2>Certificate</h2>",
        _checks(report),
        "<h2>State</h2>",
        _table(
            ("tensor", "shape", "type", "columns"),
            [[s.name, str(list(s.shape)), s.dtype, f"{s.start} to {s.stop}"] for s in report.layout],
        ),
        "<h2>Weights</h2>",
        _table(
            ("layer", "weight", "shape", "type"),
            [[w["layer"], w["name"], str(w["shape"]), w["dtype"]] for w in report.weights],
        ),
    ]
    for title, sentences in (("Repaired", report.repairs), ("Worth knowing", report.remarks)):
        if sentences:
            sections += [f"<h2>{title}</h2>", "<ul>", *(f"<li>{escape(text)}</li>" for text in sentences), "</ul>"]
    head = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(report.model)}</title>'
    return f"{head}<style>{_STYLE}</style>\n" + "\n".join(sections) + "\n</html>\n"


def _after_length(report: Report) -> list[str]:
    if report.trained_length is None:
        return []
    offers = [f"<li>To {escape(what)}: <code>{escape(command)}</code></li>" for what, command in report.offers]
    apart = report.apart
    return [
        f"<h2>After sample {report.trained_length:,}</h2>",
        f"<p>{escape(after_length(report.mode, report.length, report.trained_length))}</p>",
        *(["<ul>", *offers, "</ul>"] if offers else []),
        *([f"<p>{escape(apart)}</p>"] if apart else []),
    ]


def _table(titles: tuple[str, ...], rows: list[list[str]]) -> str:
    if not rows:
        return "<p>None.</p>"
    head = "".join(f"<th>{escape(title)}</th>" for title in titles)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"


def _checks(report: Report) -> str:
    rows = []
    for check in report.certificate["checks"]:
        mark = '<span class="good">passed</span>' if check["passed"] else '<span class="bad">failed</span>'
        error = "" if check["error"] is None else f"{check['error']:.1e}"
        rows.append(
            f"<tr><td>{escape(check['name'])}</td><td>{mark}</td><td>{error}</td><td>{escape(check['detail'])}</td></tr>"
        )
    return "<table><tr><th>check</th><th></th><th>error</th><th>tried</th></tr>" + "".join(rows) + "</table>"


def _graph(report: Report) -> str:
    """Every call a box in the order of steps, its state tensors beside it, lines from what it takes."""
    layers: list[dict[str, Any]] = report.layers
    row = {layer["name"]: rank for rank, layer in enumerate(layers)}
    height = len(layers) * (_BOX + _GAP) + 10
    parts = []
    for rank, layer in enumerate(layers):
        top = rank * (_BOX + _GAP) + 5
        text = escape(f"{layer['name']} ({layer['class']})")
        parts.append(f'<rect x="60" y="{top}" width="300" height="{_BOX}" rx="6" fill="#f3f6fb" stroke="#8aa"/>')
        parts.append(f'<text x="70" y="{top + 18}">{text}</text>')
        parts.append(f'<text x="70" y="{top + 35}" style="fill:#777">{escape(layer["rule"])}</text>')
        for place, slot in enumerate(layer["slots"]):
            parts.append(f'<text x="400" y="{top + 14 + 14 * place}" class="tensor">{escape(slot)}</text>')
        for source in layer.get("from", ()):
            if source in row:
                start, reach = row[source] * (_BOX + _GAP) + 5 + _BOX, 6 * min(rank - row[source] - 1, 8)
                line = f"M 60 {start - 8} C {50 - reach} {start}, {50 - reach} {top}, 60 {top + 8}"
                near = f"M 210 {start} L 210 {top}"
                parts.append(f'<path d="{line if reach else near}" fill="none" stroke="#8aa"/>')
    return f'<svg viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" role="img" aria-label="calls">{"".join(parts)}</svg>'


def _curves(report: Report) -> str:
    """The greatest error of each output by the number of samples, both axes logarithmic."""
    growth: dict[str, list[list[float]]] = report.certificate["growth"]
    points = [(n, max(e, 1e-9)) for seen in growth.values() for n, e in seen]
    if not points:
        return "<p>Nothing was compared.</p>"
    last = max(2.0, max(n for n, _ in points))
    low = math.floor(math.log10(min(min(e for _, e in points), report.tolerance)))
    high = math.ceil(math.log10(max(max(e for _, e in points if math.isfinite(e)), report.tolerance))) + 0.3

    def x(n: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - 20) * math.log(max(n, 1)) / math.log(last)

    def y(error: float) -> float:
        share = (math.log10(min(max(error, 1e-9), 10**high)) - low) / (high - low)
        return _HEIGHT - _BOTTOM - (_HEIGHT - _BOTTOM - 10) * share

    parts = [f'<line x1="{_LEFT}" y1="{y(report.tolerance):.1f}" x2="{_WIDTH - 20}" y2="{y(report.tolerance):.1f}" '
             f'stroke="#b00020" stroke-dasharray="5 4"/><text x="{_LEFT + 4}" y="{y(report.tolerance) - 4:.1f}">'
             f"tolerance {report.tolerance:.0e}</text>"]  # fmt: skip
    for power in range(low, math.floor(high) + 1):
        parts.append(f'<text x="8" y="{y(10.0**power) + 4:.1f}">1e{power}</text>')
    steps = sorted({1, *(2**k for k in range(1, 20) if 2**k <= last), int(last)})
    shown = steps if len(steps) < 9 else steps[::2]
    parts += [f'<text x="{x(n) - 6:.1f}" y="{_HEIGHT - 8}">{n}</text>' for n in shown]
    for rank, (name, seen) in enumerate(growth.items()):
        colour = _COLOURS[rank % len(_COLOURS)]
        line = " ".join(f"{x(n):.1f},{y(e):.1f}" for n, e in sorted(seen))
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts.append(f'<text x="{_WIDTH - 200}" y="{20 + 16 * rank}" style="fill:{colour}">{escape(name)}</text>')
    drawn = "".join(parts)
    return f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" role="img" aria-label="errors">{drawn}</svg>'
