"""Members of the group: one without partitions is ready, and takes over when the other leaves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from processor.dev.load import Load, produce
from recovery.house import House

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from processor.dev.kafka import EmbeddedKafka


def test_a_member_without_partitions_is_ready_and_stands_by(
    kafka: EmbeddedKafka, artifact: Path, tmp_path: Path, name: Callable[[str], str], topic: Callable[..., str]
) -> None:
    source = topic("input", partitions=1)
    produce(kafka.bootstrap_servers, source, Load(events=2_000, keys=10, partitions=1))
    house = House(kafka, artifact, source, name("standby"), tmp_path, static=False)
    one = house.process("one").start().wait_ready()
    two = house.process("two").start().wait_ready()
    house.wait_caught_up()
    owner, standby = (one, two) if '"running"' in (one.get("/status") or "") else (two, one)
    assert '"partitions": {}' in (standby.get("/status") or "")
    assert owner.sigterm() == 0
    standby.wait_event("running")
    produce(kafka.bootstrap_servers, source, Load(seed=2, events=1_000, keys=10, partitions=1, unnumbered_share=1.0))
    house.finish()
    predictions, _ = house.published()
    assert [record.offset for record in predictions[0]] == sorted(record.offset for record in predictions[0])
    assert len(predictions[0]) == 3_000
