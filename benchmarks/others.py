"""What else one would build this with, over the same topic: Quix Streams, and a twin that is stepped event by event."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.feed import PARTITIONS, Feed
from benchmarks.rig import Rig, rate_of

if TYPE_CHECKING:
    from collections.abc import Sequence

_HERE = Path(__file__).parent
_WARM_UP = 0.3


@dataclass(frozen=True, slots=True)
class Other:
    """Events a second of another way, with the same model."""

    name: str
    rate: float


def quix(rig: Rig, feed: Feed, events: int) -> Other:
    """Quix Streams, exactly-once, in an environment of its own: it pins an older client."""
    rig.tell("installing Quix Streams into an environment of its own")
    python = rig.directory / "quix" / "bin" / "python"
    if not python.exists():
        uv = str(Path(sys.executable).with_name("uv"))
        subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, str(python.parent.parent)], check=True)
        wanted = ["--require-hashes", "-r", str(_HERE / "quix-requirements.txt")]
        subprocess.run([uv, "pip", "install", "--quiet", "--python", str(python), *wanted], check=True)
    initial = rig.directory / "initial.npy"
    rig.save_initial_state(initial)
    paths = [str(rig.directory / "quix-state"), str(rig.artifact / "step.tflite"), str(initial)]
    return Other("Quix Streams, exactly-once", _rate(rig, feed, [str(python), str(_HERE / "quix.py")], events, paths))


def seeds(rig: Rig, feed: Feed, events: int) -> Other:
    """`predict_on_batch`, event by event; no guarantee at all."""
    command = [sys.executable, "-m", "benchmarks.seeds"]
    return Other(
        "stateful twin, predict_on_batch, nothing guaranteed", _rate(rig, feed, command, events, [str(rig.model)])
    )


def _rate(rig: Rig, feed: Feed, command: Sequence[str], events: int, more: Sequence[str]) -> float:
    name, source = rig.run_name(), rig.topic_of(feed)
    rig.tell(f"{events:,} events by {' '.join(command[-2:])}")
    rig.kafka.create_topic(f"{name}-output", partitions=PARTITIONS)
    arguments = [rig.kafka.bootstrap_servers, source, f"{name}-output", str(events), *more]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr[-3000:])
    lines = [line for line in done.stdout.splitlines() if line.startswith("[")]
    return rate_of([(0.0, 0), *(tuple(json.loads(line)) for line in lines)], _WARM_UP)
