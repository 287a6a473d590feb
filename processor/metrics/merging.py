"""The metrics of several processes as one page.

Counters, histograms and the gauges that the table marks as sums are added up. All others have one series for each
process, with the label `process`. A sum never falls: what a process had counted before it died stays in it.
(Prometheus takes a counter that falls for one that began again at zero, and would count all the others twice.)
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Final

from prometheus_client.parser import text_string_to_metric_families

from processor.metrics.page import Series, series_in
from processor.metrics.table import PREFIX, TABLE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from prometheus_client import Metric

_LABEL: Final = "process"
_STARTED: Final = "process_start_time_seconds"
_SUMMED_GAUGES: Final = frozenset(PREFIX + spec.name for spec in TABLE if spec.is_sum)


class Merged:
    """The pages of several processes. `take` each of them, then `page`."""

    def __init__(self) -> None:
        self._families: dict[str, Metric] = {}  # for their order, types and helps
        self._now: dict[int, dict[Series, float]] = {}  # process -> what it last showed
        self._before: defaultdict[int, dict[Series, float]] = defaultdict(dict)  # sums of the process' former lives
        self._began: dict[int, float | None] = {}  # process -> when its present life began

    def take(self, process: int, page: str) -> None:
        """A page of a process."""
        families = list(text_string_to_metric_families(page))
        samples = series_in(families)
        self._families |= {family.name: family for family in families}
        former = self._now.get(process, {})
        if self._has_restarted(process, former, samples):
            ended = self._before[process]
            for series, value in former.items():
                if self._keeps_counting(series):
                    ended[series] = ended.get(series, 0.0) + value
        self._now[process] = samples

    def _has_restarted(self, process: int, former: Mapping[Series, float], samples: Mapping[Series, float]) -> bool:
        began = samples.get(Series(_STARTED))
        known, self._began[process] = self._began.get(process, began), began
        if began is not None:
            return known != began
        # Not every system reports when a process began. A counter that falls shows it, too.
        return any(value < former.get(series, 0.0) for series, value in samples.items() if self._keeps_counting(series))

    def gone(self, process: int) -> None:
        """The process does not respond: its counters stay, and its gauges are left out."""
        self._now[process] = {
            series: value for series, value in self._now.get(process, {}).items() if self._keeps_counting(series)
        }

    def page(self) -> str:
        """All of it, in Prometheus' text format."""
        summed: defaultdict[Series, float] = defaultdict(float)
        each: dict[Series, float] = {}
        for process, samples in sorted(self._now.items()):
            for (name, labels), value in samples.items():
                if self._is_summed(name):
                    summed[Series(name, labels)] += value
                else:
                    each[Series(name, ((_LABEL, str(process)), *labels))] = value
            for series, value in self._before[process].items():
                summed[series] += value
        return "".join(self._shown({**summed, **each}))

    def _shown(self, values: Mapping[Series, float]) -> Iterable[str]:
        of: defaultdict[str, list[str]] = defaultdict(list)
        for (name, labels), value in values.items():
            shown = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels)
            of[self._family_of(name).name].append(f"{name}{{{shown}}} {value!r}\n" if shown else f"{name} {value!r}\n")
        for family in self._families.values():
            if family.name in of:
                name = f"{family.name}_total" if family.type == "counter" else family.name
                yield f"# HELP {name} {_escaped(family.documentation, quotes=False)}\n# TYPE {name} {family.type}\n"
                yield from of[family.name]

    def _family_of(self, name: str) -> Metric:
        for ending in ("", "_total", "_bucket", "_sum", "_count", "_info"):
            if name.endswith(ending) and (family := self._families.get(name.removesuffix(ending))) is not None:
                return family
        raise KeyError(name)

    def _is_summed(self, name: str) -> bool:
        if not name.startswith(PREFIX):
            return False  # of the operating system's process: its memory, its open files
        return self._family_of(name).type in ("counter", "histogram") or name in _SUMMED_GAUGES

    def _keeps_counting(self, series: Series) -> bool:
        return self._is_summed(series[0]) and series[0] not in _SUMMED_GAUGES


def _escaped(text: str, *, quotes: bool = True) -> str:
    text = text.replace("\\", r"\\").replace("\n", r"\n")
    return text.replace('"', r"\"") if quotes else text
