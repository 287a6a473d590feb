"""One real broker for a test run, and topics with names of their own for each test."""

from __future__ import annotations

import gc
import itertools
import os
import re
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest
import structlog

from processor.errors import ConfigError
from processor.trial.kafka import require_installed
from shared_kafka import shared_kafka

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from processor.trial.kafka import EmbeddedKafka

    TopicFactory = Callable[..., str]

CONVERSIONS = Path(__file__).parent / "model" / "convert"

pytest_plugins = ["pytester", "rotation"]

_numbers = itertools.count(1)

hypothesis.settings.register_profile("ci", derandomize=True)  # the same examples each time; a person's are new ones
if os.environ.get("CI"):
    hypothesis.settings.load_profile("ci")


def pytest_configure() -> None:
    """A shell's background job ignores Ctrl-C, and so would each process that a test starts and interrupts."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks what asks for a broker, itself or by a fixture, and what converts: `make test-fast` leaves them out."""
    for item in items:
        fixtures = item.fixturenames if isinstance(item, pytest.Function) else []
        if CONVERSIONS in item.path.parents or "artifact" in fixtures:
            item.add_marker("conversions")
        if "embedded_kafka_installed" in fixtures:
            item.add_marker("kafka")
    # What waits for a broker begins first, on one of the workers, while others convert; they share what is left.
    items.sort(key=lambda item: (item.get_closest_marker("kafka") is None, item.get_closest_marker("timeout") is None))


def pytest_collection_finish() -> None:
    """What was imported (TensorFlow, Keras, the tests) stays to the end: the garbage collector need not look at it
    again. A conversion collects garbage, and is a quarter faster for it."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def log_of_its_own() -> Iterator[None]:
    """What a command configures ends with its test: the stream it wrote to is closed by then."""
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def embedded_kafka_installed() -> None:
    """Skips (in CI: fails) where the packages of the embedded Kafka are missing."""
    try:
        require_installed()
    except ConfigError as error:
        if os.environ.get("CI"):
            pytest.fail(str(error), pytrace=False)
        pytest.skip(f"NO KAFKA, NOTHING SHOWN: {error}")


@pytest.fixture(scope="session")
def kafka(embedded_kafka_installed: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedKafka]:
    """The one broker of this test run. Nobody may kill it: a test of broker failures starts a cluster of its own."""
    base = tmp_path_factory.getbasetemp()
    with shared_kafka((base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "kafka") as cluster:
        yield cluster


@pytest.fixture
def name(request: pytest.FixtureRequest) -> Callable[[str], str]:
    """`name("group")` -> a name that no other test has: for groups, transactional ids, topics not made here."""
    test = re.sub(r"[^a-zA-Z0-9]+", "-", request.node.name.removeprefix("test_"))[:80].strip("-")
    prefix = f"{test}-{next(_numbers)}"
    return lambda what: f"{prefix}-{what}"


@pytest.fixture
def topic(kafka: EmbeddedKafka, name: Callable[[str], str]) -> Iterator[TopicFactory]:
    """`topic("input", partitions=4, config={...})` -> the name of a new topic, which is deleted after the test."""
    created: list[str] = []

    def create(what: str = "topic", *, partitions: int = 4, config: dict[str, str] | None = None) -> str:
        made = kafka.create_topic(name(what), partitions=partitions, config=config)
        created.append(made)
        return made

    yield create
    if created:
        kafka.delete_topics(*created)
