"""Properties that the Kafka clients do not take: refused before anything connects, with the name that was meant."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import confluent_kafka
import pytest

from processor.config import Settings
from processor.config.librdkafka import CONSUMER_ONLY, FROM_JAVA, NAMES, NUMBERS, PRODUCER_ONLY, advice
from processor.kafka.properties import refusal, without_effect


def with_properties(**tables: dict[str, Any]) -> Settings:
    return Settings.model_validate({"kafka": {"bootstrap_servers": "127.0.0.1:1", **tables}})


@pytest.mark.parametrize(
    ("tables", "fact", "hint"),
    [
        ({"producer": {"max.request.size": 1}}, "kafka.producer sets max.request.size", "message.max.bytes"),
        ({"consumer": {"fetch.max.bites": 1}}, "kafka.consumer sets fetch.max.bites", "fetch.max.bytes"),
        ({"consumer": {"fetch_max_bytes": 1}}, "kafka.consumer sets fetch_max_bytes", "fetch.max.bytes"),
        ({"properties": {"ssl.truststore.location": "x"}}, "kafka.properties sets ssl.trust", "ssl.ca.location"),
        ({"properties": {"sasl.jaas.config": "x"}}, "kafka.properties sets sasl.jaas.config", "sasl.username"),
        ({"consumer": {"key.deserializer": "x"}}, "kafka.consumer sets key.deserializer", "Leave it out"),
        ({"producer": {"qqqqqq": "x"}}, "kafka.producer sets qqqqqq", "CONFIGURATION.md"),
    ],
)
def test_an_unknown_name_is_refused_with_the_right_one(tables: Any, fact: str, hint: str) -> None:
    refused = refusal(with_properties(**tables))
    assert refused is not None
    assert refused.exit_code == 2
    assert refused.fact.startswith(fact)
    assert hint in refused.hint


@pytest.mark.parametrize(
    ("tables", "words"),
    [
        ({"consumer": {"fetch.max.bytes": "lots"}}, "kafka.consumer sets fetch.max.bytes to 'lots'"),
        ({"consumer": {"fetch.max.bytes": "64MB"}}, "to '64MB'"),
        ({"producer": {"batch.size": "0x100"}}, "whole number"),
        ({"producer": {"retries": 1.5}}, "kafka.producer sets retries to 1.5"),
        ({"producer": {"linger.ms": "5ms"}}, "It takes a number"),
        ({"consumer": {"session.timeout.ms": True}}, "kafka.consumer sets session.timeout.ms to True"),
        ({"consumer": {"fetch.max.bytes": -5}}, "outside allowed range"),
        ({"producer": {"compression.type": "zip"}}, "zip"),
        ({"producer": {"enable.metrics.push": "maybe"}}, "kafka.producer sets enable.metrics.push"),
        ({"properties": {"security.protocol": "foo"}}, "kafka.properties sets security.protocol to 'foo'"),
        ({"properties": {"security.protocol": "ssl", "ssl.ca.location": "/no"}}, "sets ssl.ca.location to '/no'"),
        ({"properties": {"security.protocol": "sasl_ssl", "sasl.mechanism": "PLAIN"}}, "sasl.username"),
        ({"producer": {"retries": 0}}, "retries"),
        ({"consumer": {"stats_cb": "x"}}, "stats_cb"),
        ({"producer": {"default.topic.config": "x"}}, "[kafka.producer]"),
        ({"consumer": {"socket_cb": "x"}}, "socket_cb"),
    ],
)
def test_a_value_that_the_client_does_not_take_is_refused(tables: Any, words: str) -> None:
    refused = refusal(with_properties(**tables))
    assert refused is not None
    assert refused.exit_code == 2
    assert words in str(refused)


def test_everything_that_is_wrong_is_told_at_once_and_no_secret() -> None:
    properties = {"ssl.key.passphrase": "hidden", "message.max.bytes": "lots", "security.protocol": "foo"}
    refused = refusal(with_properties(properties=properties, producer={"max.request.size": 1}))
    assert refused is not None
    for name in ("ssl.key.passphrase", "message.max.bytes", "security.protocol", "max.request.size"):
        assert refused.cause.count(f"sets {name}") == 1
    assert "hidden" not in str(refused)


@pytest.mark.parametrize("guarantee", ["exactly_once", "at_least_once"])
def test_what_the_clients_take_is_no_problem(guarantee: str) -> None:
    kafka = {
        "bootstrap_servers": "127.0.0.1:1",
        "properties": {"client.rack": "a", "socket.timeout.ms": "5000", "log_level": 3},
        "consumer": {"fetch.max.bytes": 9_000_000, "group.protocol": "consumer"},
        "producer": {"linger.ms": 0.5, "compression.type": "lz4", "enable.metrics.push": False},
    }
    settings = Settings.model_validate({"kafka": kafka, "processing": {"guarantee": guarantee}})
    assert refusal(settings) is None
    assert without_effect(settings) == []


def test_a_property_in_the_other_clients_table_has_no_effect() -> None:
    settings = with_properties(consumer={"linger.ms": 5, "client.rack": "a"}, producer={"fetch.min.bytes": 5})
    assert refusal(settings) is None
    assert [(problem.fact, problem.hint) for problem in without_effect(settings)] == [
        ("kafka.consumer sets linger.ms, which has no effect there.", "Move it to [kafka.producer]."),
        ("kafka.producer sets fetch.min.bytes, which has no effect there.", "Move it to [kafka.consumer]."),
    ]


def test_no_advice_names_what_librdkafka_does_not_have() -> None:
    assert not FROM_JAVA.keys() & NAMES
    for text in (*FROM_JAVA.values(), advice("fetch.min.byte"), advice("max.request.sizes")):
        dotted = [word.strip(".,?") for word in text.split() if "." in word.strip(".,?")]
        assert {word for word in dotted if not word.startswith("processing.")} <= NAMES | FROM_JAVA.keys(), text


def test_the_names_are_those_of_the_library_that_is_installed(tmp_path: Path) -> None:
    """The library prints its own CONFIGURATION.md. Another version may have other names: then the list is renewed."""
    bundled = list((Path(confluent_kafka.__file__).parent.parent / "confluent_kafka.libs").glob("librdkafka*"))
    if not bundled:
        pytest.skip("librdkafka is not the one of the wheel")
    library, system = ctypes.CDLL(str(bundled[0])), ctypes.CDLL(None)
    system.fopen.restype = ctypes.c_void_p
    file = ctypes.c_void_p(system.fopen(str(tmp_path / "properties").encode(), b"w"))
    library.rd_kafka_conf_properties_show(file)
    system.fclose(file)
    rows = [line.split("|") for line in (tmp_path / "properties").read_text().splitlines() if line.count("|") >= 5]
    found = {
        row[0].strip(): (row[1].strip(), "Type: integer" in row[-1] or "Type: float" in row[-1])
        for row in rows
        if "Type: " in row[-1] and "see dedicated API" not in row[-1]
    }
    assert found.keys() == NAMES
    assert {name for name, (_, is_number) in found.items() if is_number} == NUMBERS
    assert {name for name, (client, _) in found.items() if client == "C"} == CONSUMER_ONLY
    assert {name for name, (client, _) in found.items() if client == "P"} == PRODUCER_ONLY
