"""An artifact that loads, and settings of topics that no other test has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from model.graphs import recurrent
from processor.config import Settings
from processor.model.artifact import Parts, write_artifact

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from processor.trial.kafka import EmbeddedKafka

    Make = Callable[..., Settings]


@pytest.fixture(scope="session")
def small_artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("preflight") / "model"
    write_artifact(directory, Parts(**recurrent()))
    return directory


@pytest.fixture
def make(kafka: EmbeddedKafka, small_artifact: Path, tmp_path: Path, name: Callable[[str], str]) -> Make:
    """`make(section={...})` -> settings with topics of their own, none of which is there."""
    given: dict[str, dict[str, Any]] = {
        "model": {"artifact": small_artifact},
        "kafka": {"bootstrap_servers": kafka.bootstrap_servers, "group_id": name("group")},
        "input": {"topic": name("input")},
        "output": {"topic": name("output")},
        "dead_letter": {"topic": name("dead-letter")},
        "state": {"directory": tmp_path / "state"},
    }

    def made(**sections: dict[str, Any]) -> Settings:
        names = {*given, *sections}
        return Settings.model_validate({key: {**given.get(key, {}), **sections.get(key, {})} for key in names})

    return made
