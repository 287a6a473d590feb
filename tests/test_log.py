"""Log lines: JSON for programs, text for people, and the Kafka clients' own words in the same form."""

from __future__ import annotations

import io
import json
import logging
import sys
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from processor.log import Repeats, configure_logging, get_logger, kafka_logger, silence_kafka

if TYPE_CHECKING:
    from collections.abc import Iterator

_MADE_AT_IMPORT = get_logger(part="early")


@pytest.fixture(autouse=True)
def _undone() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    kafka_logger().filters.clear()
    kafka_logger().setLevel(logging.NOTSET)
    root.handlers[:] = handlers
    root.setLevel(level)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_json_lines_have_event_level_timestamp_and_fields() -> None:
    stream = io.StringIO()
    configure_logging("auto", "info", stream)
    get_logger(partition=3).info("restored", records=np.int64(17), seconds=np.float32(0.5), key=b"\xff")
    (line,) = lines(stream)
    assert datetime.fromisoformat(line.pop("timestamp")).utcoffset() is not None
    assert line == {
        "event": "restored",
        "level": "info",
        "partition": 3,
        "records": 17,
        "seconds": 0.5,
        "key": "b'\\xff'",
    }


def test_the_level_drops_what_is_below() -> None:
    stream = io.StringIO()
    configure_logging("json", "warning", stream)
    get_logger().info("quiet")
    get_logger().warning("loud")
    kafka_logger().info("quiet")
    kafka_logger().error("broken: %s", "pipe")
    assert [(line["event"], line["level"]) for line in lines(stream)] == [
        ("loud", "warning"),
        ("broken: pipe", "error"),
    ]


def test_what_kafka_clients_say_is_json_too_and_other_libraries_are_heard_from_warnings_on() -> None:
    stream = io.StringIO()
    configure_logging("json", "info", stream)
    kafka_logger().info("FAIL [thrd:x]: connection refused")
    logging.getLogger("somebody").info("chatter")
    logging.getLogger("somebody").warning("trouble")
    assert [(line["event"], line["logger"]) for line in lines(stream)] == [
        ("FAIL [thrd:x]: connection refused", "kafka"),
        ("trouble", "somebody"),
    ]


def test_what_a_kafka_client_repeats_is_said_once_in_a_while() -> None:
    now = 0.0
    said: list[str] = []

    class Said(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(record.getMessage())

    logger = logging.Logger("client")
    logger.addFilter(Repeats(30.0, lambda: now))
    logger.addHandler(Said())
    for attempt in range(5):
        logger.error("broker %d: refused after %d ms", 1, attempt)
    logger.error("another thing")
    now = 29.9
    logger.error("broker 1: refused after 7 ms")
    now = 30.0
    logger.error("broker 1: refused after %d ms", 8)
    assert said == [
        "broker 1: refused after 0 ms",
        "another thing",
        "broker 1: refused after 8 ms (and 5 times more)",
    ]


def test_repeats_do_not_fill_the_memory() -> None:
    repeats = Repeats()
    for number in range(5_000):
        text = "".join(chr(ord("a") + int(digit)) for digit in str(number))
        assert repeats.filter(logging.LogRecord("client", logging.ERROR, "", 0, text, (), None))
    assert len(repeats._said) <= 1_000


def test_repeats_are_dropped_from_the_log_of_a_run() -> None:
    stream = io.StringIO()
    configure_logging("json", "info", stream)
    configure_logging("json", "info", stream)
    for _ in range(3):
        kafka_logger().error("FAIL: connection refused")
    assert len(lines(stream)) == 1


def test_kafka_clients_can_be_silenced() -> None:
    stream = io.StringIO()
    configure_logging("json", "info", stream)
    silence_kafka()
    kafka_logger().critical("FAIL: connection refused")
    assert stream.getvalue() == ""


def test_an_exception_is_one_line() -> None:
    stream = io.StringIO()
    configure_logging("json", "info", stream)
    try:
        raise ValueError("x")
    except ValueError:
        get_logger().exception("failed")
    (line,) = lines(stream)
    assert line["exception"].startswith("Traceback")
    assert line["exception"].endswith("ValueError: x")


@pytest.mark.parametrize(("form", "stream"), [("auto", Terminal()), ("console", io.StringIO())])
def test_people_read_text(form: str, stream: io.StringIO) -> None:
    configure_logging(form, "info", stream)
    get_logger().info("running", partition=3)
    assert "running" in stream.getvalue()
    assert "partition" in stream.getvalue()
    assert not stream.getvalue().startswith("{")


def test_json_on_a_terminal_when_asked_for() -> None:
    stream = Terminal()
    configure_logging("json", "info", stream)
    get_logger().info("running")
    assert lines(stream)[0]["event"] == "running"


def test_a_logger_made_at_import_follows_a_later_configuration() -> None:
    first, second = io.StringIO(), io.StringIO()
    configure_logging("json", "info", first)
    _MADE_AT_IMPORT.info("one")
    configure_logging("json", "info", second)
    _MADE_AT_IMPORT.info("two")
    assert [line["event"] for line in lines(first)] == ["one"]
    assert [(line["event"], line["part"]) for line in lines(second)] == [("two", "early")]


def test_by_default_it_is_the_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("json", "info")
    get_logger().info("running")
    sys.stderr.flush()
    out, err = capsys.readouterr()
    assert out == ""
    assert json.loads(err)["event"] == "running"
