"""The compose file and its settings: valid, in agreement with the image and with each other, and complete."""

from __future__ import annotations

import base64
import re
import subprocess
import sys
import textwrap
import tomllib
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
import yaml

from deploy.recipe import ROOT, setting
from processor.config import load_settings
from processor.config.settings import Settings
from processor.kafka.client import AdminClient, ConfigResource, ResourceType
from processor.trial.kafka import EmbeddedKafka

COMPOSE = ROOT / "deploy" / "compose.yaml"
SETTINGS = ROOT / "deploy" / "processor.toml"


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))["services"]
    return found


@pytest.fixture(scope="module")
def settings() -> Settings:
    return load_settings(SETTINGS, {}, []).settings


def test_it_is_a_compose_file() -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(COMPOSE)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_the_processor_is_given_longer_to_stop_than_it_takes(services: dict[str, Any], settings: Settings) -> None:
    grace = services["processor"]["stop_grace_period"]
    assert float(grace.removesuffix("s")) > settings.processing.shutdown_seconds
    assert services["processor"]["restart"] == "on-failure"


def test_what_the_settings_name_is_mounted(services: dict[str, Any], settings: Settings) -> None:
    mounts = {target: source for source, target, *_ in (m.split(":") for m in services["processor"]["volumes"])}
    assert setting("runtime", "CMD")[-1] in mounts
    assert setting("runtime", "CMD")[-2:] == services["topics"]["command"][2:4]
    (volume,) = setting("runtime", "VOLUME")
    assert mounts[volume] == "processor-state"
    assert PurePosixPath(settings.state.directory).is_relative_to(volume)
    assert any(PurePosixPath(settings.model.artifact).is_relative_to(target) for target in mounts)


def test_addresses_and_order(services: dict[str, Any], settings: Settings) -> None:
    kafka = services["kafka"]["environment"]
    assert f"INTERNAL://{settings.kafka.bootstrap_servers}" in kafka["KAFKA_ADVERTISED_LISTENERS"].split(",")
    port = settings.http.address.port
    assert f"127.0.0.1:{port}:{port}" in services["processor"]["ports"]
    assert settings.http.address.host == "0.0.0.0"
    assert services["topics"]["depends_on"]["kafka"]["condition"] == "service_healthy"
    assert services["processor"]["depends_on"]["topics"]["condition"] == "service_completed_successfully"


def test_its_kafka_is_the_version_that_the_tests_run(services: dict[str, Any]) -> None:
    jars = (ROOT / "processor" / "trial" / "jars.lock").read_text(encoding="utf-8")
    (version,) = re.findall(r"org\.apache\.kafka:kafka_[\d.]+:(\S+)", jars)
    assert services["kafka"]["image"] == f"apache/kafka:{version}"


def test_its_cluster_id_is_one(services: dict[str, Any]) -> None:
    """16 bytes as Kafka writes them; one that begins with a dash would be taken for an option."""
    given = services["kafka"]["environment"]["CLUSTER_ID"]
    assert base64.urlsafe_b64encode(base64.urlsafe_b64decode(given + "==")).decode() == given + "=="
    assert len(given) == 22
    assert not given.startswith("-")


def test_kafka_knows_every_setting_that_it_is_given(services: dict[str, Any], kafka: EmbeddedKafka) -> None:
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers})
    broker = ConfigResource(ResourceType.BROKER, "1")
    known = set(admin.describe_configs([broker])[broker].result(30))
    given = {name.removeprefix("KAFKA_").replace("_", ".").lower() for name in services["kafka"]["environment"]}
    assert given - known == {"cluster.id"}  # which the image's own script takes


def test_the_example_shows_every_setting_with_its_meaning_and_default(tmp_path: Path) -> None:
    text = SETTINGS.read_text(encoding="utf-8")
    shown = tomllib.loads(re.sub(r"^#(?! )", "", text, flags=re.MULTILINE))
    different = set()
    for section, table in Settings.model_fields.items():
        model: Any = table.annotation
        assert f"# {model.__doc__}\n[{section}]\n" in text
        assert list(shown[section]) == list(model.model_fields), section
        for name, field in model.model_fields.items():
            meaning = "\n".join(f"# {line}" for line in textwrap.wrap(field.description, 116))
            assert re.search(rf"^{re.escape(meaning)}\n#?{name} = ", text, re.MULTILINE), f"{section}.{name}"
            if shown[section][name] != field.get_default(call_default_factory=True):
                different.add(f"{section}.{name}")
    assert different == {"model.artifact", "kafka.bootstrap_servers", "state.directory", "http.listen"}
