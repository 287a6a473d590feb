"""What `processor top` shows: two looks at a processor's endpoints, and what happened between them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from processor.errors import Unavailable
from processor.metrics import PREFIX
from processor.metrics.page import Series, by_label, quantile, series_of, total
from processor.trial.live_display import duration

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import RenderableType

    from processor.runtime.health import Reply


@dataclass(frozen=True, slots=True)
class Look:
    """One look. at: monotonic seconds."""

    at: float
    is_ready: bool
    reason: str
    status: Mapping[str, Any]
    metrics: Mapping[Series, float]


def look_of(at: float, readiness: Reply, status: Reply, metrics: Reply) -> Look:
    """What the three endpoints replied.

    Raises:
        Unavailable: it is no processor that replies, or it is about to end.
    """
    try:
        ready = readiness.json()
        return Look(at, bool(ready["ready"]), str(ready["reason"]), status.json(), series_of(metrics.body))
    except (ValueError, KeyError, TypeError) as error:
        raise Unavailable(
            "What replies there is no processor, or it is about to end.",
            f"{type(error).__name__}: {error}.",
            "Name another address with --at HOST:PORT.",
        ) from None


def document(first: Look, second: Look) -> dict[str, Any]:
    """The same as `picture`, for programs. Rates: per second. Latency: seconds, None where nothing was committed."""
    seconds = second.at - first.at
    between = _between(first.metrics, second.metrics)
    event = f"{PREFIX}event_commit_seconds"
    commit = f"{PREFIX}commit_seconds"
    return {
        "ready": second.is_ready,
        "reason": second.reason,
        "events_per_second": total(between, f"{PREFIX}events_total") / seconds,
        "predictions_per_second": total(between, f"{PREFIX}predictions_total") / seconds,
        "dead_letters": _counted(by_label(second.metrics, f"{PREFIX}dead_letters_total")),
        "commits": _counted(by_label(second.metrics, f"{PREFIX}commits_total")),
        "event_to_commit_seconds": {share: quantile(between, event, float(share)) for share in ("0.5", "0.99")},
        "commit_seconds": {share: quantile(between, commit, float(share)) for share in ("0.5", "0.99")},
        "lag_events": total(second.metrics, f"{PREFIX}lag_events"),
        "keys_in_memory": total(second.metrics, f"{PREFIX}keys"),
        "dirty_keys": total(second.metrics, f"{PREFIX}dirty_keys"),
        "status": second.status,
    }


def picture(first: Look, second: Look) -> RenderableType:
    """For a terminal."""
    shown = document(first, second)
    status = second.status
    head = Text()
    head.append("ready  " if second.is_ready else "not ready  ", style="bold green" if second.is_ready else "bold red")
    head.append(second.reason)
    parts: list[RenderableType] = [head, _facts(shown, status), _partitions(status)]
    if "processes" in status:
        parts.append(_processes(status["processes"]))
    return Group(*parts)


def _facts(shown: Mapping[str, Any], status: Mapping[str, Any]) -> Table:
    of_one = next(iter(status["processes"].values()), {}) if "processes" in status else status
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim")
    table.add_column()
    rows = [
        ("model", f"{of_one.get('model', '?')} ({of_one.get('mode', '?')})"),
        ("group", f"{of_one.get('group', '?')}: {of_one.get('input', '?')} -> {of_one.get('output', '?')}"),
        ("events", f"{shown['events_per_second']:,.0f} a second, {shown['lag_events']:,.0f} behind"),
        ("predictions", f"{shown['predictions_per_second']:,.0f} a second"),
        ("event to commit", _quantiles(shown["event_to_commit_seconds"])),
        ("commit", _quantiles(shown["commit_seconds"])),
        ("keys", f"{shown['keys_in_memory']:,.0f} in memory, {shown['dirty_keys']:,.0f} not written yet"),
        ("dead letters", ", ".join(f"{reason} {n:,}" for reason, n in shown["dead_letters"].items()) or "none"),
        ("failed commits", f"{shown['commits'].get('failed', 0):,}"),
    ]
    for name, value in rows:
        table.add_row(name, Text(value))
    return table


def _partitions(status: Mapping[str, Any]) -> Table:
    table = Table("partition", "phase", "next offset", "lag", title_justify="left")
    for number, one in status.get("partitions", {}).items():
        lag = one.get("lag_events")
        running = one["phase"] == "running"
        table.add_row(
            str(number),
            Text(one["phase"], style="green" if running else "yellow"),
            f"{one['next_offset']:,}",
            "?" if lag is None else f"{lag:,}",
        )
    return table


def _processes(processes: Mapping[str, Mapping[str, Any]]) -> Table:
    table = Table("process", "state", "pid", "restarts", "partitions")
    for number, one in processes.items():
        held = ", ".join(one.get("partitions", {}))
        table.add_row(number, one["state"], str(one["pid"] or ""), str(one["restarts"]), held)
    return table


def _between(first: Mapping[Series, float], second: Mapping[Series, float]) -> dict[Series, float]:
    """What was counted between two looks. A counter that fell belongs to a new life, and began at zero."""
    grown = {series: value - first.get(series, 0.0) for series, value in second.items()}
    return {series: second[series] if value < 0 else value for series, value in grown.items()}


def _counted(values: Mapping[str, float]) -> dict[str, int]:
    return {name: int(value) for name, value in values.items() if value}


def _quantiles(seconds: Mapping[str, float | None]) -> str:
    if seconds["0.5"] is None or seconds["0.99"] is None:
        return "nothing committed since the last look"
    return f"p50 {duration(seconds['0.5'])}, p99 {duration(seconds['0.99'])}"
