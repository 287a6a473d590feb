"""What stands in for the outside world, and, for a mutant, for the processor's own names."""

from __future__ import annotations

import importlib
from contextlib import ExitStack, contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any, Final
from unittest.mock import patch

from protocol.abstract.client import Message
from protocol.abstract.consumer import ChangelogConsumer, GroupConsumer
from protocol.abstract.disk import AbstractStore, WriteBatch
from protocol.abstract.producer import Producer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from protocol.process import Process
    from protocol.world import World


def ignore(*_: Any, **__: Any) -> None:
    """A call that nobody looks at."""


class _Nothing:
    """Metrics and log lines that nobody looks at."""

    def __getattr__(self, _name: str) -> Any:
        return ignore


NOTHING: Any = _Nothing()
_worlds: list[World] = []


@contextmanager
def inside(world: World) -> Iterator[None]:
    """The world that all clients and clocks belong to."""
    _worlds.append(world)
    try:
        yield
    finally:
        _worlds.pop()


def running() -> Process:
    """The process that runs just now."""
    process = _worlds[-1].process
    assert process is not None
    return process


def _hit(point: str) -> None:
    if _worlds and _worlds[-1].process is not None:
        _worlds[-1].process.at(point)


def _once(call: Any, *_: Any) -> Any:
    """The abstract broker asks for no repetition."""
    return call()


OUTSIDE: Final[dict[str, Any]] = {
    "processor.failpoints._hit": _hit,
    "processor.kafka.consumer.Consumer": lambda *_, **__: GroupConsumer(running()),
    "processor.kafka.consumer.Message": Message,
    "processor.kafka.consumer.kafka_logger": ignore,
    "processor.kafka.consumer.repeat": _once,
    "processor.kafka.producer.Producer": lambda properties, **_: Producer(running(), properties),
    "processor.kafka.producer.kafka_logger": ignore,
    "processor.kafka.producer.repeat": _once,
    "processor.recovery.changelog.Consumer": lambda *_, **__: ChangelogConsumer(running()),
    "processor.recovery.changelog.kafka_logger": ignore,
    "processor.recovery.restore.Store": AbstractStore,
    "processor.recovery.stores.Store": AbstractStore,
    "processor.state.store.rocksdb.WriteBatch": WriteBatch,
    "processor.state.store.rocksdb._CHUNK": 2,
    "processor.stepping.pipeline._SHORTEST_RUN": 2,
    "processor.runtime.committing._LEAVING_AT_ONCE": 2,
    "processor.runtime.pacer._LEAST_ROWS": 3,
    "processor.runtime.loop._LOG": NOTHING,
    "processor.runtime.committing._LOG": NOTHING,
    "processor.runtime.rebalances._LOG": NOTHING,
    "processor.recovery.assignment._LOG": NOTHING,
    "processor.recovery.recoveries._LOG": NOTHING,
    "processor.recovery.stores._LOG": NOTHING,
    "processor.recovery.commit._LOG": NOTHING,
    "processor.kafka.consumer._LOG": NOTHING,
}


@contextmanager
def replaced(replacements: dict[str, Any]) -> Iterator[None]:
    """Puts something else in place of each `module.[Class.]name`."""
    with ExitStack() as stack:
        for path, value in replacements.items():
            module, *classes, name = _split(path)
            target: Any = importlib.import_module(module)
            for part in classes:
                target = getattr(target, part)
            stack.enter_context(patch.object(target, name, value))
        yield


@cache
def _split(path: str) -> tuple[str, ...]:
    parts = path.split(".")
    depth = next(n for n in range(len(parts) - 1, 0, -1) if _is_module(".".join(parts[:n])))
    return (".".join(parts[:depth]), *parts[depth:])


def _is_module(name: str) -> bool:
    try:
        importlib.import_module(name)
    except ImportError:
        return False
    return True
