"""The hash of the settings that decide states: what differs from the defaults; and the former version's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from pydantic import Field

from processor.config import Settings
from processor.config.settings import SequenceSettings
from processor.recovery.identity import former_settings_hash, settings_hash


@dataclass
class Served:
    """What the hash asks of an artifact."""

    mode: str = "carry"
    length: int | None = None


SERVED: Any = Served()


def hashes(served: Any = None, **sections: Any) -> tuple[int, int]:
    settings = Settings.model_validate(sections)
    return settings_hash(settings, served or SERVED), former_settings_hash(settings, served or SERVED)


def test_both_numbers_are_for_ever() -> None:
    """They stand in checkpoints: another number would refuse every group that was killed before an upgrade."""
    assert hashes() == (18058567602766967779, 8035785339412050719)
    some = hashes(sequence={"gap_seconds": 20.0, "idle_seconds": 40.0, "allowed_lateness_seconds": 30.0})
    assert some == (10355541464956409489, 2102819013370699596)


@pytest.mark.parametrize(
    ("served", "sections"),
    [
        (None, {"sequence": {"gap_seconds": 1.0}}),
        (None, {"sequence": {"max_ahead_seconds": 0.0}}),
        (None, {"sequence": {"max_behind_seconds": 5.0}}),
        (None, {"input": {"format": "float32"}}),
        (Served("tumbling", 5), {}),
        (Served("tumbling", 6), {}),
    ],
)
def test_whatever_decides_states_is_in_it(served: Any, sections: Any) -> None:
    now, former = hashes(served, **sections)
    assert now != hashes()[0]
    assert (former != hashes()[1]) == ("max_behind_seconds" not in sections.get("sequence", {}))


def test_a_default_that_is_given_is_a_default() -> None:
    assert hashes(sequence={"gap_seconds": 0, "max_behind_seconds": 946_728_000}) == hashes()


def test_a_setting_that_is_added_changes_nobodys_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    class Later(SequenceSettings):
        added_seconds: float = Field(default=7.0)

    settings = Settings()
    before = hashes()
    object.__setattr__(settings, "sequence", Later())
    assert (settings_hash(settings, SERVED), former_settings_hash(settings, SERVED)) == before
    object.__setattr__(settings, "sequence", Later(added_seconds=8.0))
    assert settings_hash(settings, SERVED) != before[0]
