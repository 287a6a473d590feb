"""The clients' properties, tried before anything connects: every client that `run` makes is made, and dropped.

Without `bootstrap.servers` a client knows nobody to connect to: nothing is asked, and no group is joined.
"""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Any, Final

from processor.config import admin_properties, consumer_properties, producer_properties, reader_properties
from processor.config.librdkafka import CONSUMER_ONLY, FRACTIONS, FROM_JAVA, NUMBERS, PRODUCER_ONLY, advice
from processor.config.names import MASK, is_secret
from processor.config.problems import Problem, error_of
from processor.kafka.client import AdminClient, Consumer, KafkaException, Producer

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterator, Mapping, Sequence

    from processor.config import Settings
    from processor.config.settings import Property
    from processor.errors import ConfigError

_UNKNOWN: Final = re.compile(r'No such configuration property: "(.*)"')
_TOGETHER: Final = "Failed to create"  # each property is right by itself
_WHOLE: Final = re.compile(r"\s*[+-]?\d+\s*", re.ASCII)
_FRACTION: Final = re.compile(r"\s*\d*\.?\d+\s*", re.ASCII)
_MUTE: Final = logging.Logger("processor.kafka.properties", logging.CRITICAL + 1)


def refusal(settings: Settings) -> ConfigError | None:
    """Why the clients cannot be made with the properties of [kafka.*], all of it at once; None where they can."""
    wrong = {**_of_java(settings), **_no_numbers(settings)}
    problems = list(dict.fromkeys([*wrong.values(), *_refused(settings, wrong)]))
    return error_of(problems) if problems else None


def without_effect(settings: Settings) -> list[Problem]:
    """Properties of the one client in the other's table: librdkafka takes them, and ignores them."""
    kafka = settings.kafka
    tables = (("kafka.consumer", kafka.consumer, PRODUCER_ONLY), ("kafka.producer", kafka.producer, CONSUMER_ONLY))
    return [
        Problem(
            f"{table} sets {name}, which has no effect there.",
            f"It is a property of the {'producer' if foreign is PRODUCER_ONLY else 'consumer'} alone.",
            f"Move it to [kafka.{'producer' if foreign is PRODUCER_ONLY else 'consumer'}].",
        )
        for table, properties, foreign in tables
        for name in properties
        if name in foreign
    ]


def _tables(settings: Settings) -> dict[str, Mapping[str, Property]]:
    kafka = settings.kafka
    return {"kafka.properties": kafka.properties, "kafka.consumer": kafka.consumer, "kafka.producer": kafka.producer}


def _of_java(settings: Settings) -> dict[str, Problem]:
    """Property -> what to write instead. librdkafka's own refusals of some of them name no property."""
    return {
        name: _unknown(table, name, "It is a property of the Java client.")
        for table, properties in _tables(settings).items()
        for name in properties
        if name in FROM_JAVA
    }


def _unknown(table: str, name: str, cause: str) -> Problem:
    return Problem(f"{table} sets {name}, which librdkafka does not have.", cause, advice(name))


def _no_numbers(settings: Settings) -> dict[str, Problem]:
    """Property -> what is wrong: the client would read it in part (`64MB` as 64), or refuse it without a word why."""
    wrong = {}
    for table, properties in _tables(settings).items():
        for name, value in properties.items():
            form = _FRACTION if name in FRACTIONS else _WHOLE
            if name in NUMBERS and (isinstance(value, bool) or not form.fullmatch(str(value))):
                cause = f"It takes a {'number' if name in FRACTIONS else 'whole number'}, without a unit."
                wrong[name] = Problem(f"{table} sets {name} to {value!r}.", cause)
    return wrong


def _refused(settings: Settings, but: Container[str]) -> Iterator[Problem]:
    """The complaints of each client of `run` about the properties, without those that are known to be wrong."""
    reading, writing = ("kafka.consumer", "kafka.properties"), ("kafka.producer", "kafka.properties")
    clients: tuple[tuple[Callable[..., Any], Mapping[str, Any], Sequence[str]], ...] = (
        (Consumer, consumer_properties(settings), reading),
        (Consumer, reader_properties(settings), reading),
        (Producer, producer_properties(settings, "check"), writing),
        (AdminClient, admin_properties(settings), writing[1:]),
    )
    for make, properties, tables in clients:
        given = {name: value for name, value in properties.items() if name != "bootstrap.servers" and name not in but}
        yield from _tried(settings, make, given, tables)


def _tried(
    settings: Settings, make: Callable[..., Any], properties: dict[str, Any], tables: Sequence[str]
) -> Iterator[Problem]:
    """Makes one client. A property that it refuses is left out, and it is made again, for what else there is."""
    while True:
        try:
            client = make(properties, logger=_MUTE)
        except KafkaException as error:
            text = error.args[0].str().strip()
        except (AttributeError, TypeError, ValueError) as error:  # of confluent_kafka's own properties (error_cb, ...)
            text = str(error)
        else:
            if make is Consumer:
                client.close()
            return
        table, name = _blamed(settings, text, tables)
        if name is None:
            yield Problem(f"The Kafka client does not take the properties in {table}.", f"{text}.")
        elif _UNKNOWN.fullmatch(text):
            yield _unknown(table, name, f"{text}.")
        else:
            shown = MASK if is_secret(f"{table}.{name}") else repr(properties.get(name))
            yield Problem(f"{table} sets {name} to {shown}, which the Kafka client does not take.", f"{text}.")
        if name not in properties or _TOGETHER in text:
            return
        del properties[name]


def _blamed(settings: Settings, text: str, tables: Sequence[str]) -> tuple[str, str | None]:
    """The table and name of the user's property that the client's text is about; no name if it has none."""
    given = _tables(settings)
    for table in tables:
        for name in given[table]:
            if name and re.search(rf"(?<![\w.]){re.escape(name)}(?![\w.])", text):
                return table, name
    return " and ".join(f"[{table}]" for table in tables if given[table]) or "[kafka]", None
