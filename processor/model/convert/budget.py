"""What a certificate may cost: seconds by stage, and bytes that it holds at once. Nothing else decides that.

Memory follows from shapes alone, so a model is tried alike on every machine. Time is measured: a stage makes another
pass while that is expected to end within its seconds, and the certificate names what was compared.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import keras
import numpy as np

from processor.model.convert.flat import graph_of
from processor.model.convert.memory import available_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from processor.model.convert.graph import Graph

_COPIES: Final = 2
"""TensorFlow holds a tensor twice at times: a loop's outputs, one by one and stacked."""

_COPIES_OF_WEIGHTS: Final = 4
"""In the model, its step graph, TensorFlow's constants and a twin; an engine's copies are bounded by what is held."""


@dataclass(frozen=True)
class Budget:
    """whole: seconds of a conversion; seconds: of all stages of the certificate together; held: bytes of arrays at
    once; sequences: random ones whose errors make the statistic."""

    whole: float
    seconds: float
    held: int
    sequences: int

    def after(self, spent: float, weights: int = 0) -> Budget:
        """What is left for the certificate once loading and building took their time and the model's weights, in bytes,
        their memory; never less than a quarter."""
        seconds = max(self.seconds / 4, min(self.seconds, self.whole - spent))
        return replace(self, seconds=seconds, held=max(self.held // 4, self.held - _COPIES_OF_WEIGHTS * weights))

    def stage(self, name: str) -> Stage:
        """The clock of one stage, which starts now."""
        return Stage(self.seconds * _SHARES[name])

    def fitting(self, bytes_of_one: int, most: int) -> int:
        """The greatest power of two, up to `most`, of which so many may be held at once; at least 1."""
        fits = max(1, min(most, self.held // max(1, bytes_of_one)))
        return 1 << (fits.bit_length() - 1)


DEFAULT: Final = Budget(whole=45.0, seconds=30.0, held=640 << 20, sequences=2000)
THOROUGH: Final = Budget(whole=1800.0, seconds=1200.0, held=4 << 30, sequences=50_000)

_SHARES: Final = {"the step": 0.15, "prefixes": 0.2, "given": 0.2, "extremes": 0.05, "long run": 0.3, "errors": 0.15}


def budget_of(*, thorough: bool) -> Budget:
    """The budget of a conversion or a verification: no more than a third of the memory that there is."""
    budget, available = THOROUGH if thorough else DEFAULT, available_bytes()
    return budget if available is None else replace(budget, held=max(1, min(budget.held, available // 3)))


class Stage:
    """The time that is left of a stage, and what a pass costs: a first one is always made."""

    def __init__(self, seconds: float) -> None:
        self._ends = time.perf_counter() + seconds
        self._pace = 0.0

    @property
    def left(self) -> float:
        return self._ends - time.perf_counter()

    def allows(self, size: float) -> bool:
        """Whether a pass of that size is expected to end in time."""
        return not self._pace or self._pace * size <= self.left

    @contextlib.contextmanager
    def measured(self, size: float) -> Iterator[None]:
        """One pass of that size: the next is expected to cost as much for its size."""
        began = time.perf_counter()
        yield
        self._pace = (time.perf_counter() - began) / size


def sample_bytes(graph: Graph) -> int:
    """The bytes that a whole-sequence pass holds of each sample of a row: all tensors between its layers, and those
    inside TimeDistributed."""
    between = sum(int(np.prod(flow.shape)) for flow in graph.flows.values())
    inside = sum(
        _inside(call.layer.layer) for call in graph.calls if isinstance(call.layer, keras.layers.TimeDistributed)
    )
    return 4 * _COPIES * (between + inside)


def _inside(layer: Any) -> int:
    """The numbers that the layers of a model inside give for one sample; 0 where there is no such model."""
    if isinstance(layer, keras.layers.TimeDistributed):
        return _inside(layer.layer)
    graph = graph_of(layer) if isinstance(layer, keras.Model) else None
    if graph is None:
        return 0
    tensors = [tensor for operation in graph.operations for tensor in keras.tree.flatten(operation.output)]
    nested = sum(_inside(operation) for operation in graph.operations)
    return nested + sum(int(np.prod([size or 1 for size in tensor.shape[1:]])) for tensor in tensors)
