"""The service: checks what can be wrong, wires the components, and runs the loop until SIGTERM.

It finds what is wrong before it joins the group: settings, topics, the artifact and its golden vectors, the state
directory's lock. Then it makes the producer (`init_transactions` ends a former life's transaction), and reads only
after that.
"""

from __future__ import annotations

import gc
import signal
import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Final

from processor import failpoints
from processor.errors import Unavailable
from processor.kafka.client import KafkaException
from processor.log import get_logger
from processor.model.artifact import load_artifact
from processor.preflight import apply_topics, require
from processor.runtime import supervised
from processor.runtime.http import HttpServer
from processor.runtime.status import describe_process, liveness
from processor.runtime.wiring import longest_turn_seconds, wire

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from processor.config import Settings
    from processor.runtime.loop import Loop

_LOG = get_logger()
_COLLECT_AT: Final = (200_000, 20, 50)  # objects that could be part of a cycle; the collections of the younger ones


def run(settings: Settings, *, file: Path | None = None, create_topics: bool = False) -> int:
    """Runs the processor until SIGTERM or SIGINT; returns 0.

    file: that the settings came from, to be shown.

    Raises:
        ProcessorError: with the exit code that the command line ends with.
    """
    failpoints.arm()
    artifact = load_artifact(settings.model.artifact)
    described = describe_process(settings, artifact, file)
    _LOG.info("starting", **described)
    if create_topics:
        apply_topics(settings)
    facts = require(settings)
    supervised.report(supervised.CHECKED)
    try:
        with _Signals() as signals, ExitStack() as stack:
            loop = wire(settings, artifact, facts, stack)
            loop.metrics.model(artifact.model_id, artifact.mode)
            stack.enter_context(_serving(settings, loop, described))
            signals.call(loop.lifetime.stop)
            _spare_the_collector()
            loop.run()
    except KafkaException as error:
        raise Unavailable(
            "Kafka refused what the processor asked for.",
            error.args[0].str(),
            "Nothing is lost. If a restart ends here again, see `processor check`, and the rights of the client.",
        ) from error
    _LOG.info("stopped")
    return 0


def _spare_the_collector() -> None:
    """Keeps Python's cyclic collector out of the hot path.

    Each batch makes some ten thousand messages and dictionaries that die with it and are part of no cycle. At its own
    thresholds the collector would look through them a dozen times.
    """
    gc.collect()
    gc.freeze()  # what was made up to here stays
    gc.set_threshold(*_COLLECT_AT)


def _serving(settings: Settings, loop: Loop, described: Mapping[str, Any]) -> HttpServer:
    """The HTTP endpoints, on a thread of their own."""
    limit = longest_turn_seconds(settings)
    server = HttpServer(
        settings.http.address,
        metrics=loop.metrics.render,
        health=lambda: liveness(loop.lifetime.beat_age(), limit),
        ready=loop.status.readiness,
        status=lambda: {**described, **loop.status.describe()},
    )
    supervised.report(f"{supervised.PORT} {server.port}")
    _LOG.info("listening", host=settings.http.address.host, port=server.port)
    return server


class _Signals:
    """SIGTERM and SIGINT ask the loop to end; a second one changes nothing.

    Until `call` they end the process at once, as nothing has begun. From then on, until all is closed, they only ask:
    an exit code and a message report how the loop ended, not a signal's number.
    """

    def __init__(self) -> None:
        self._former: dict[signal.Signals, Any] = {}

    def call(self, stop: Callable[[], None]) -> None:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                self._former[number] = signal.signal(number, lambda *_: stop())

    def __enter__(self) -> _Signals:
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)
