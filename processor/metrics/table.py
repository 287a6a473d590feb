"""All metrics in one table: type, meaning, and what to do about each. The documents are held to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from processor.types import Reason

PREFIX: Final = "processor_"
PHASES: Final = ("assigned", "restoring", "replaying", "running")
STAGES: Final = ("poll", "decode", "step", "produce", "commit")
OUTCOMES: Final = ("committed", "failed")

_COMMIT_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_EVENT_SECONDS: Final = (0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, 600.0)
_SLICE_EVENTS: Final = (1, 10, 100, 300, 1_000, 3_000, 10_000)


@dataclass(frozen=True, slots=True)
class Spec:
    """One metric: its name without the prefix, and what its reader needs to know."""

    name: str
    type: Literal["counter", "gauge", "histogram", "info"]
    help: str
    advice: str
    label: str = ""
    values: tuple[str, ...] = ()  # all that the label can be
    buckets: tuple[float, ...] = ()
    is_sum: bool = False  # a gauge that is added up over the processes of a supervisor


TABLE: Final = (
    Spec(
        "events_total",
        "counter",
        "Input events taken for the first time: predicted, dead letters, duplicates and forgotten keys.",
        "Zero while the lag grows: look at partitions and at the log's last line.",
    ),
    Spec(
        "predictions_total",
        "counter",
        "Predictions handed to the producer.",
        "Far below events: see dead letters and duplicates.",
    ),
    Spec(
        "dead_letters_total",
        "counter",
        "Events that went to the dead-letter topic, by reason.",
        "Read some of the topic: the headers have the reason and name the input record.",
        "reason",
        tuple(Reason),
    ),
    Spec(
        "duplicates_total",
        "counter",
        "Events dropped because their sequence number was not above the key's last.",
        "A steady share is a producer that repeats itself; a burst is one that was started again.",
    ),
    Spec(
        "commits_total",
        "counter",
        "Commits by outcome. After a failed one comes recovery: restore, replay, run.",
        "More than a few failed: look for broker trouble, or another process with the same identity.",
        "outcome",
        OUTCOMES,
    ),
    Spec(
        "commit_seconds",
        "histogram",
        "Seconds that a commit took, from its snapshot to the store.",
        "Near the transaction's timeout: brokers or the disk are too slow; lower the load or raise the timeout.",
        buckets=_COMMIT_SECONDS,
    ),
    Spec(
        "event_commit_seconds",
        "histogram",
        "Seconds from an event's record timestamp to the commit of its prediction, by the clocks of both machines.",
        "Far above processing.commit_interval_seconds: see lag and commit_seconds. Clocks that differ look the same.",
        buckets=_EVENT_SECONDS,
    ),
    Spec(
        "slice_events",
        "histogram",
        "Events that were stepped at once.",
        "Small ones with a lag: the arena is too small for its keys; raise state.memory_mib.",
        buckets=_SLICE_EVENTS,
    ),
    Spec(
        "lag_events",
        "gauge",
        "Input events that are not processed yet, of all partitions of this process.",
        "Growing: add a process, up to one for each partition.",
        is_sum=True,
    ),
    Spec(
        "lag_worst_events",
        "gauge",
        "Input events that are not processed yet, of the partition that has most of them.",
        "Far above the others' share: few keys have most of the events.",
    ),
    Spec(
        "partitions",
        "gauge",
        "Partitions that this process holds, by phase.",
        "Long in restoring or replaying: that is how long a takeover takes; see the log for its progress.",
        "phase",
        PHASES,
        is_sum=True,
    ),
    Spec(
        "keys",
        "gauge",
        "Keys whose state is in memory.",
        "At its ceiling, states are read from disk again and again; raise state.memory_mib if that is slow.",
        is_sum=True,
    ),
    Spec(
        "arena_hits_total",
        "counter",
        "Events whose key's state was in memory.",
        "Compare with the misses.",
    ),
    Spec(
        "arena_misses_total",
        "counter",
        "Keys whose state was not in memory: read from the disk, or seen for the first time.",
        "A steady tenth of the hits, and more: raise state.memory_mib.",
    ),
    Spec(
        "dirty_keys",
        "gauge",
        "Keys whose state has changed since its record was last written: what a takeover replays.",
        "Near the keys in memory: lower state.snapshot_interval_seconds or raise state.memory_mib.",
        is_sum=True,
    ),
    Spec(
        "snapshot_records_total",
        "counter",
        "Records written to the changelog and the store.",
        "The greatest cost beside stepping: a longer state.snapshot_interval_seconds writes fewer.",
    ),
    Spec(
        "snapshot_bytes_total",
        "counter",
        "Bytes of the records written to the changelog and the store.",
        "Plan the changelog topic's disk and network by it.",
    ),
    Spec(
        "restored_records_total",
        "counter",
        "Changelog records read to bring stores to the changelog's end.",
        "Large after a start with its disk in place: the state directory was not kept.",
    ),
    Spec(
        "replayed_events_total",
        "counter",
        "Input events stepped again without publishing, in recoveries.",
        "Large after a clean stop: the shutdown ran out of time; raise processing.shutdown_seconds.",
    ),
    Spec(
        "gap_events_total",
        "counter",
        "Input events that a replay needed and the input no longer had, accepted by processing.accept_gap.",
        "Any: states miss these events. Raise the input topic's retention above the snapshot interval.",
    ),
    Spec(
        "stage_seconds_total",
        "counter",
        "Seconds that the loop spent in each of its stages.",
        "The stage with the largest share is the one to look at; mostly poll means that there is time to spare.",
        "stage",
        STAGES,
    ),
    Spec(
        "model_info",
        "info",
        "The artifact that is served: its fingerprint's first digits, its mode, and this program's version.",
        "Differs between the processes of a group: a roll-out is under way, or was left half done.",
    ),
)

SUPERVISOR_TABLE: Final = (
    Spec(
        "processes",
        "gauge",
        "Processes of this supervisor (`run --processes`), by state.",
        "Not all running for long: the log has the exit code and the message of those that wait for their next start.",
        "state",
        ("waiting", "starting", "running", "ended"),
    ),
    Spec(
        "process_restarts_total",
        "counter",
        "Times that the supervisor restarted a process that had ended by itself.",
        "Rising: the log has the exit code and the message; see the exit codes.",
        "process",
    ),
)
"""What a supervisor adds to the metrics of its processes."""
