"""Logging: people read coloured lines on a terminal, programs read one JSON object a line. Both go to standard error.

A line is written when something changes (assigned, restored, running, revoked), never for an event of the input. What
the Kafka clients log through the standard library comes out in the same form.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import time
from typing import TYPE_CHECKING, Any, Final, cast

import structlog

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import TextIO

    from structlog.typing import FilteringBoundLogger, Processor

KAFKA_LOGGER: Final = "kafka"
"""Name of the standard library's logger that is given to the Kafka clients."""

_REPEAT_SECONDS: Final = 30.0
_MOST_REMEMBERED: Final = 1_000


def configure_logging(
    form: str, level: str, stream: TextIO | None = None, *, fields: Mapping[str, object] | None = None
) -> None:
    """Sends every log line from here on to `stream` (default: standard error as it is now).

    form: `console`, `json`, or `auto`: console where the stream is a terminal. level: `debug`, `info`, `warning` or
    `error`; lines of less importance are dropped before they are built. fields: that every line carries.
    """
    target = sys.stderr if stream is None else stream
    for_people = form == "console" or (form == "auto" and target.isatty())
    number = logging.getLevelNamesMapping()[level.upper()]
    renderer = _console(target) if for_people else _json()
    structlog.configure(
        processors=[*_enriched(fields or {}), *renderer],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(target),
        # Loggers made at import bind themselves at first use; a later call of this function must reach them too.
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(target)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[
                *_enriched(fields or {}),
                structlog.stdlib.ExtraAdder(),
                structlog.stdlib.add_logger_name,
            ],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderer],
        )
    )
    logging.basicConfig(level=max(number, logging.WARNING), handlers=[handler], force=True)
    kafka = logging.getLogger(KAFKA_LOGGER)
    kafka.setLevel(number)
    kafka.filters[:] = [Repeats()]


def silence_kafka() -> None:
    """Drops the Kafka clients' own lines: for commands whose report has what matters of them."""
    logging.getLogger(KAFKA_LOGGER).setLevel(logging.CRITICAL + 1)


class Repeats(logging.Filter):
    """Lets a text through once in a while, however often it is logged. Texts that differ in numbers alone are one text.

    While a broker is away, a client logs that many times a second.
    """

    def __init__(self, seconds: float = _REPEAT_SECONDS, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._seconds, self._clock = seconds, clock
        self._said: dict[str, tuple[float, int]] = {}  # text -> when it was let through, and how often dropped since

    def filter(self, record: logging.LogRecord) -> bool:
        text, now = re.sub(r"\d+", "0", record.getMessage()), self._clock()
        said_at, dropped = self._said.get(text, (-self._seconds, 0))
        if now - said_at < self._seconds:
            self._said[text] = said_at, dropped + 1
            return False
        if len(self._said) >= _MOST_REMEMBERED:
            self._said.clear()
        self._said[text] = now, 0
        if dropped:
            record.msg, record.args = f"{record.getMessage()} (and {dropped} times more)", ()
        return True


def get_logger(**fields: Any) -> FilteringBoundLogger:
    """A logger whose lines carry `fields`; `logger.info("running", partition=3)` is the form of a call."""
    return cast("FilteringBoundLogger", structlog.get_logger(**fields))


def kafka_logger() -> logging.Logger:
    """The standard library's logger for a Kafka client's `logger` argument."""
    return logging.getLogger(KAFKA_LOGGER)


def _enriched(fields: Mapping[str, object]) -> list[Processor]:
    return [
        lambda _logger, _method, line: {**fields, **line},
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]


def _console(target: TextIO) -> list[Processor]:
    return [structlog.dev.ConsoleRenderer(colors=target.isatty())]


def _json() -> list[Processor]:
    return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(serializer=_dumps)]


def _dumps(line: object, **_options: object) -> str:
    return json.dumps(line, default=_plain)


def _plain(value: object) -> object:
    """What JSON has for a value it does not know: NumPy's numbers and arrays as numbers, anything else as text."""
    return value.tolist() if hasattr(value, "tolist") else str(value)
