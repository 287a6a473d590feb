"""What a restore begins with: a store that may be trusted, an empty one, or a refusal that leaves nothing open."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from processor.errors import StateCorrupt
from processor.recovery.restore import open_store
from processor.state.checkpoint import Checkpoint, LocalCheckpoint
from processor.state.record import state_key
from processor.state.store import Store, StoreResources

if TYPE_CHECKING:
    from pathlib import Path

NOW_MS, RETENTION_MS = 1_700_000_000_000, 86_400_000
CHECKPOINT = Checkpoint(7, 0, 7, "topic", 1, 2)


@pytest.fixture
def resources() -> StoreResources:
    return StoreResources(2 * 2**20)


def filled(path: Path, resources: StoreResources, local: LocalCheckpoint) -> Path:
    with closing(Store.open(path, resources)) as store:
        store.write([(state_key(b"%d" % number), b"x" * 200) for number in range(500)], [], local, CHECKPOINT)
    return path


@pytest.mark.parametrize(("complete_as_of_ms", "kept"), [(NOW_MS - 1_000, True), (NOW_MS - 2 * RETENTION_MS, False)])
def test_one_that_may_keep_what_was_deleted_is_wiped(
    tmp_path: Path, resources: StoreResources, complete_as_of_ms: int, kept: bool
) -> None:
    path = filled(tmp_path / "store", resources, LocalCheckpoint(11, complete_as_of_ms))
    with closing(open_store(path, resources, NOW_MS, RETENTION_MS)) as store:
        assert (store.checkpoint() == CHECKPOINT) is kept
        assert (store.get_many([state_key(b"1")]) != [None]) is kept


def test_one_that_never_was_complete_is_wiped(tmp_path: Path, resources: StoreResources) -> None:
    path = filled(tmp_path / "store", resources, LocalCheckpoint(11, None))
    with closing(open_store(path, resources, NOW_MS, RETENTION_MS)) as store:
        assert (store.checkpoint(), store.local_checkpoint()) == (None, None)


def test_one_that_cannot_be_read_is_closed_again_so_that_it_can_be_wiped(
    tmp_path: Path, resources: StoreResources
) -> None:
    path = filled(tmp_path / "store", resources, LocalCheckpoint(11, NOW_MS))
    table = next(path.glob("*.sst"))
    content = bytearray(table.read_bytes())
    content[20] ^= 0x10  # in the first block, in which local and checkpoint are
    table.write_bytes(content)
    with pytest.raises(StateCorrupt):
        open_store(path, resources, NOW_MS, RETENTION_MS)
    Store.wipe(path)
    with closing(open_store(path, resources, NOW_MS, RETENTION_MS)) as store:
        assert store.checkpoint() is None
