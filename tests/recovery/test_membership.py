"""Members of the group: one without partitions is ready, and takes over when the other leaves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from processor.trial.load import Load, produce
from recovery.deployment import Deployment

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from processor.trial.kafka import EmbeddedKafka


def test_a_member_without_partitions_is_ready_and_stands_by(
    kafka: EmbeddedKafka, artifact: Path, tmp_path: Path, name: Callable[[str], str], topic: Callable[..., str]
) -> None:
    source = topic("input", partitions=1)
    produce(kafka.bootstrap_servers, source, Load(events=2_000, keys=10, partitions=1))
    deployment = Deployment(kafka, artifact, source, name("standby"), tmp_path, static=False)
    one = deployment.process("one").start().wait_ready()
    two = deployment.process("two").start().wait_ready()
    deployment.wait_caught_up()
    owner, standby = (one, two) if '"running"' in (one.get("/status") or "") else (two, one)
    assert '"partitions": {}' in (standby.get("/status") or "")
    assert owner.sigterm() == 0
    standby.wait_event("running")
    produce(kafka.bootstrap_servers, source, Load(seed=2, events=1_000, keys=10, partitions=1, unnumbered_share=1.0))
    deployment.finish()
    predictions, _ = deployment.published()
    assert [record.offset for record in predictions[0]] == sorted(record.offset for record in predictions[0])
    assert len(predictions[0]) == 3_000
