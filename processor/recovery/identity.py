"""The past that the checkpoints of a process record, and which settings decide it.

The hash of the settings holds what differs from the defaults, so that a setting that a later version adds changes
nobody's. `former_settings_hash` is that of the versions before `max_behind_seconds`: of all fields, defaults too. A
partition that such a version left with something to replay goes on by its rules, which knew no such limit, until a
start finds nothing to replay (`resume_point`).
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from processor.config import Settings
    from processor.model.artifact import Artifact
    from processor.preflight import Topology
    from processor.recovery.partition import Partition

_VERSION: Final = 2
_FORMER_FIELDS: Final = ("gap_seconds", "idle_seconds", "max_ahead_seconds", "allowed_lateness_seconds")


@dataclass(frozen=True, slots=True)
class Identity:
    """The past that led to the states, as every checkpoint records it."""

    topic_id: str
    fingerprint: int
    settings_hash: int
    partitions: int = 0  # of the input topic
    former_hash: int | None = None  # of the same settings, as the former version counted them

    def hash_of(self, partition: Partition) -> int:
        """The settings' hash of a partition's checkpoints."""
        if partition.under_former_rules and self.former_hash is not None:
            return self.former_hash
        return self.settings_hash


def identity_of(settings: Settings, artifact: Artifact, facts: Topology) -> Identity:
    """The identity of a process with these settings over these topics."""
    return Identity(
        facts.input.topic_id,
        artifact.fingerprint,
        settings_hash(settings, artifact),
        facts.input.partitions,
        former_settings_hash(settings, artifact),
    )


def settings_hash(settings: Settings, artifact: Artifact) -> int:
    """A number (u64) of all settings that decide states: a replay under others would be another past."""
    others = settings.sequence.model_dump(exclude_defaults=True)
    return _hash({"version": _VERSION, "sequence": others, **_always(settings, artifact)})


def former_settings_hash(settings: Settings, artifact: Artifact) -> int:
    """The number that the former version had for these settings."""
    given = settings.sequence.model_dump()
    return _hash({**{name: given[name] for name in _FORMER_FIELDS}, **_always(settings, artifact)})


def _always(settings: Settings, artifact: Artifact) -> dict[str, Any]:
    return {"mode": artifact.mode, "length": artifact.length, "format": settings.input.format}


def _hash(deciding: dict[str, Any]) -> int:
    digest = hashlib.sha256(json.dumps(deciding, sort_keys=True).encode()).digest()
    return int.from_bytes(digest[:8], "little")
