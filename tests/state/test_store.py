"""Stores: what was written comes back or is refused; a kill leaves a prefix with a checkpoint that is true of it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import textwrap
from contextlib import closing, suppress
from typing import TYPE_CHECKING

import pytest

from processor.errors import ConfigError, Incompatible, ProcessorError, StateCorrupt, Unavailable
from processor.state.checkpoint import Checkpoint, LocalCheckpoint
from processor.state.record import CHECKPOINT_KEY, state_key
from processor.state.store import StateDirectory, Store, StoreResources

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ROWS = 6000


@pytest.fixture
def resources() -> StoreResources:
    return StoreResources(2 * 2**20)


def checkpoint_at(offset: int) -> Checkpoint:
    return Checkpoint(offset, 0, offset, "topic", 1, 2)


def row(number: int, version: int = 0) -> tuple[bytes, bytes]:
    return state_key(b"%06d" % number), b"%d/%d:" % (number, version) + b"v" * 200


def expected(numbers: range) -> list[bytes | None]:
    return [row(number)[1] for number in numbers]


def keys_of(numbers: range) -> list[bytes]:
    return [row(number)[0] for number in numbers]


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A closed store of ROWS rows with a checkpoint and a local. Copy it before damaging it."""
    path = tmp_path_factory.mktemp("filled") / "partition-0"
    with closing(Store.open(path, StoreResources(8 * 2**20))) as store:
        store.write([row(number) for number in range(ROWS)], [], LocalCheckpoint(11, 12), checkpoint_at(7))
    return path


@pytest.fixture
def copy(filled: Path, tmp_path: Path) -> Path:
    shutil.copytree(filled, tmp_path / "partition-0")
    return tmp_path / "partition-0"


# What comes back ----------------------------------------------------------------------------------------------


def test_a_new_store_is_empty(tmp_path: Path, resources: StoreResources) -> None:
    with closing(Store.open(tmp_path / "a" / "b", resources)) as store:
        assert store.get_many([]) == []
        assert store.get_many([state_key(b"x")]) == [None]
        assert store.checkpoint() is None
        assert store.local_checkpoint() is None
        assert store.sweep(None, 10) == ([], None)
        assert store.estimate_keys() == 0


def test_everything_comes_back_after_a_close(filled: Path, resources: StoreResources) -> None:
    with closing(Store.open(filled, resources)) as store:
        assert store.get_many([*keys_of(range(ROWS)), state_key(b"none")]) == [*expected(range(ROWS)), None]
        assert store.checkpoint() == checkpoint_at(7)
        assert store.local_checkpoint() == LocalCheckpoint(11, 12)
        assert store.estimate_keys() == pytest.approx(ROWS, rel=0.1)


def test_writes_replace_delete_and_leave_alone(tmp_path: Path, resources: StoreResources) -> None:
    with closing(Store.open(tmp_path / "s", resources)) as store:
        store.write([row(1), row(2), row(3)], [], LocalCheckpoint(1, None), checkpoint_at(1))
        store.write([row(2, 9)], [row(3)[0], row(4)[0]], None, None)
        assert store.get_many(keys_of(range(1, 5))) == [row(1)[1], row(2, 9)[1], None, None]
        assert (store.checkpoint(), store.local_checkpoint()) == (checkpoint_at(1), LocalCheckpoint(1, None))
        store.write([], [], None, checkpoint_at(2))
        assert (store.checkpoint(), store.local_checkpoint()) == (checkpoint_at(2), LocalCheckpoint(1, None))
        store.write([], [], None, None)


def test_keys_and_values_may_be_any_bytes(tmp_path: Path, resources: StoreResources) -> None:
    odd = [b"", b"\x00", b"\xff" * 300, b"\x01", b"a\x00b"]
    with closing(Store.open(tmp_path / "s", resources)) as store:
        store.write([(state_key(key), key[::-1]) for key in odd], [], None, checkpoint_at(5))
        assert store.get_many([state_key(key) for key in odd]) == [key[::-1] for key in odd]
        assert [key for key, _ in store.sweep(None, 100)[0]] == sorted(state_key(key) for key in odd)
        assert store.checkpoint() == checkpoint_at(5)


def test_a_sweep_meets_every_record_once_in_slices(filled: Path, resources: StoreResources) -> None:
    met: list[tuple[bytes, bytes]] = []
    after = None
    with closing(Store.open(filled, resources)) as store:
        for _ in range(100):
            found, after = store.sweep(after, 700)
            assert len(found) <= 700
            met += found
            if after is None:
                break
    assert met == [row(number) for number in range(ROWS)]


def test_a_sweep_goes_on_where_its_last_record_was_deleted(tmp_path: Path, resources: StoreResources) -> None:
    with closing(Store.open(tmp_path / "s", resources)) as store:
        store.write([row(number) for number in range(4)], [], None, checkpoint_at(1))
        found, after = store.sweep(None, 2)
        store.write([], [key for key, _ in found], None, None)
        assert store.sweep(after, 2) == ([row(2), row(3)], None)


def test_the_options_that_cost_speed_hold_after_a_reopen(filled: Path, resources: StoreResources) -> None:
    """Given for the column family at every open: without that RocksDB has no bloom filter and an 8 MiB cache."""
    with closing(Store.open(filled, resources)):
        pass
    said = (filled / "LOG").read_text()
    assert "filter_policy: bloomfilter" in said
    assert "cache_index_and_filter_blocks: 1" in said
    assert f"block_cache_options:\n    capacity : {2 * 2**20}" in said


def test_many_stores_share_their_memory(tmp_path: Path) -> None:
    budget = 16 * 2**20
    resources = StoreResources(budget)
    stores = [Store.open(tmp_path / str(number), resources) for number in range(8)]
    greatest = 0
    for version in range(3):
        for store in stores:
            store.write([row(number, version) for number in range(ROWS)], [], None, checkpoint_at(1))
            store.get_many(keys_of(range(0, ROWS, 7)))
            greatest = max(greatest, resources.cache.get_usage())
    # All memtables and blocks are charged to the one cache; a write that is under way may come on top.
    assert budget / 2 < greatest < 1.25 * budget
    assert resources.memtables.get_usage() < budget
    for store in stores:
        store.close()


# Locks --------------------------------------------------------------------------------------------------------


def test_a_store_that_is_open_is_unavailable_until_it_is_closed(copy: Path, resources: StoreResources) -> None:
    store = Store.open(copy, resources)
    store.sweep(None, 3)  # leaves a cursor behind, but no iterator
    with pytest.raises(Unavailable, match="in use"):
        Store.open(copy, resources)
    store.close()
    Store.open(copy, resources).close()


def test_a_store_that_another_process_holds_is_unavailable(copy: Path, resources: StoreResources) -> None:
    with _child(f"store = Store.open(Path({str(copy)!r}), StoreResources(2**20)); print('open'); input()") as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "open\n"
        with pytest.raises(Unavailable, match="in use"):
            Store.open(copy, resources)
        child.kill()
        child.wait()
    Store.open(copy, resources).close()


def test_a_state_directory_has_one_holder_and_one_id(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "state"
    with StateDirectory(path) as directory:
        first = directory.process_id
        assert directory.store_path(3) == path / "partition-3"
        with pytest.raises(ConfigError, match="in use") as refused:
            StateDirectory(path)
        assert str(os.getpid()) in refused.value.cause
    with StateDirectory(path) as directory:
        assert directory.process_id == first
    with StateDirectory(tmp_path / "other") as other:
        assert other.process_id != first


def test_a_killed_process_lets_go_of_its_state_directory(tmp_path: Path) -> None:
    with _child(f"held = StateDirectory(Path({str(tmp_path)!r})); print(held.process_id); input()") as child:
        assert child.stdout is not None
        told = child.stdout.readline().strip()
        with pytest.raises(ConfigError, match="in use"):
            StateDirectory(tmp_path)
        child.kill()
        child.wait()
    with StateDirectory(tmp_path) as directory:
        assert directory.process_id == told


def test_a_torn_process_id_is_made_anew(tmp_path: Path) -> None:
    (tmp_path / "process-id").write_bytes(b"\xff00")
    with StateDirectory(tmp_path) as directory:
        assert len(directory.process_id) == 32


# Damage -------------------------------------------------------------------------------------------------------


def _flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 0x10
    path.write_bytes(content)


def _one(path: Path, pattern: str) -> Path:
    return next(iter(sorted(path.glob(pattern))))


def _read_all(path: Path, resources: StoreResources) -> None:
    with closing(Store.open(path, resources)) as store:
        assert store.get_many(keys_of(range(ROWS))) == expected(range(ROWS))
        assert store.checkpoint() == checkpoint_at(7)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "a bit of a table's rows": lambda path: _flip(_one(path, "*.sst"), 50_000),
    "a bit of a table's filter or index": lambda path: _flip(_one(path, "*.sst"), -3000),
    "a bit of a table's footer": lambda path: _flip(_one(path, "*.sst"), -10),
    "a missing table": lambda path: _one(path, "*.sst").unlink(),
    "a torn table": lambda path: os.truncate(_one(path, "*.sst"), 100_000),
    "an empty table": lambda path: os.truncate(_one(path, "*.sst"), 0),
    "no CURRENT": lambda path: (path / "CURRENT").unlink(),
    "an empty CURRENT": lambda path: (path / "CURRENT").write_bytes(b""),
    "a wrong CURRENT": lambda path: (path / "CURRENT").write_bytes(b"MANIFEST-999999\n"),
    "no manifest": lambda path: _one(path, "MANIFEST*").unlink(),
    "an empty manifest": lambda path: os.truncate(_one(path, "MANIFEST*"), 0),
    "a bit of the manifest": lambda path: _flip(_one(path, "MANIFEST*"), 40),
    "a manifest of garbage": lambda path: _one(path, "MANIFEST*").write_bytes(bytes(range(256)) * 2),
    "a file in its place": lambda path: path.rename(path.with_suffix(".away")) and path.write_bytes(b"x"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_store_is_corrupt_and_can_be_wiped(copy: Path, resources: StoreResources, damage: str) -> None:
    DAMAGE[damage](copy)
    with pytest.raises(StateCorrupt):
        _read_all(copy, resources)
    Store.wipe(copy)
    assert not copy.exists()
    Store.wipe(copy)  # nothing there: nothing to do
    with closing(Store.open(copy, resources)) as store:
        assert store.checkpoint() is None


def test_damage_that_a_compaction_finds_fails_the_writes_and_the_closing_and_says_which_store_it_is(
    tmp_path: Path, resources: StoreResources
) -> None:
    """Nobody has read the damaged block: RocksDB comes upon it in the background, and takes no write from then on."""
    path = tmp_path / "store"
    for turn in range(4):  # so many tables lie there that the next opening puts them together
        with closing(Store.open(path, resources)) as store:
            rows = [(key, b"%d" % turn * 1000) for key in keys_of(range(100))]
            store.write(rows, [], LocalCheckpoint(turn, None), checkpoint_at(turn))
    for table in path.glob("*.sst"):
        _flip(table, 50_000)
    store = Store.open(path, resources)

    def write_on() -> None:
        for turn in range(1000):
            store.write([(b"s-new", b"x" * 100_000)], [], LocalCheckpoint(turn, None), checkpoint_at(turn))
            store.flush()

    with pytest.raises(StateCorrupt) as raised:
        write_on()
    assert raised.value.path == path
    with suppress(StateCorrupt):
        store.close()
    Store.wipe(path)
    with closing(Store.open(path, resources)) as store:
        assert store.checkpoint() is None


def test_a_torn_manifest_is_an_older_store_or_corrupt(copy: Path, resources: StoreResources) -> None:
    """RocksDB takes a torn end for a crash. What remains must then be without its checkpoint, too."""
    manifest = _one(copy, "MANIFEST*")
    os.truncate(manifest, manifest.stat().st_size // 2)
    try:
        with closing(Store.open(copy, resources)) as store:
            assert store.get_many(keys_of(range(ROWS))) == [None] * ROWS
            assert (store.checkpoint(), store.local_checkpoint()) == (None, None)
    except StateCorrupt:
        pass


def test_what_can_be_made_anew_does_no_harm(copy: Path, resources: StoreResources) -> None:
    for pattern in ("OPTIONS-*", "LOG", "IDENTITY", "*.json"):
        _one(copy, pattern).write_bytes(b"\xffgarbage")
    _read_all(copy, resources)


def test_a_corrupt_row_never_ends_a_sweep_in_silence(copy: Path, resources: StoreResources) -> None:
    _flip(_one(copy, "*.sst"), 50_000)
    with closing(Store.open(copy, resources)) as store, pytest.raises(StateCorrupt):
        store.sweep(None, ROWS)
    Store.open(copy, resources).close()  # the failure left no iterator that would hold the lock


@pytest.mark.parametrize(
    ("value", "error"), [(b"", StateCorrupt), (b"\x01torn", StateCorrupt), (b"\x09", Incompatible)]
)
def test_a_checkpoint_that_cannot_be_read_is_refused(
    tmp_path: Path, resources: StoreResources, value: bytes, error: type[ProcessorError]
) -> None:
    with closing(Store.open(tmp_path / "s", resources)) as store:
        store.write([(CHECKPOINT_KEY, value)], [], None, None)
        with pytest.raises(error):
            store.checkpoint()


# Disks --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/dev/null/state", "/proc/1/state"])
def test_a_directory_that_cannot_be_is_a_config_error(path: str, resources: StoreResources) -> None:
    from pathlib import Path

    for attempt in (lambda: StateDirectory(Path(path)), lambda: Store.open(Path(path) / "partition-0", resources)):
        with pytest.raises(ConfigError) as refused:
            attempt()
        assert "state.directory" in refused.value.hint


def test_a_directory_of_others_is_a_config_error(copy: Path) -> None:
    copy.parent.chmod(0o755)
    answers = _told(
        f"""
        import os, stat
        path = Path({str(copy)!r})
        if os.getuid() == 0:
            os.setuid(65534)
        else:
            for file in path.iterdir():
                file.chmod(0o444)
            path.chmod(0o555)
        report(lambda: Store.open(path, StoreResources(2**20)))
        report(lambda: StateDirectory(path))
        """
    )
    if os.getuid() != 0:
        copy.chmod(0o755)
    assert [answer.split()[0] for answer in answers] == ["ConfigError", "ConfigError"]


def test_a_full_disk_is_unavailable_and_loses_only_the_end(tmp_path: Path, resources: StoreResources) -> None:
    path = tmp_path / "s"
    answers = _told(
        f"""
        import resource, signal
        from processor.state.checkpoint import Checkpoint
        from processor.state.record import state_key
        store = Store.open(Path({str(path)!r}), StoreResources(2**20))
        store.write([(state_key(b"first"), b"1")], [], None, Checkpoint(1, 0, 1, "topic", 1, 2))
        store.flush()
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        def fill():
            for offset in range(2, 50):
                rows = [(state_key(b"%d" % number), b"x" * 400) for number in range(2000)]
                store.write(rows, [], None, Checkpoint(offset, 0, offset, "topic", 1, 2))
        report(fill)
        report(store.flush)
        report(store.close)
        """
    )
    assert [answer.split()[0] for answer in answers] == ["Unavailable"] * 3
    assert "full" in answers[0]
    with closing(Store.open(path, resources)) as store:
        assert store.get_many([state_key(b"first")]) == [b"1"]
        assert store.checkpoint() == checkpoint_at(1)


def test_too_few_files_are_no_corruption(copy: Path, resources: StoreResources) -> None:
    for limit in range(8, 40):
        answers = _told(
            f"""
            import resource
            resource.setrlimit(resource.RLIMIT_NOFILE, ({limit}, {limit}))
            report(lambda: Store.open(Path({str(copy)!r}), StoreResources(2**20)).get_many([b"\\x01000001"]))
            """
        )
        if answers[0].split()[0] == "fine":
            break
        assert answers[0].split()[0] == "ConfigError", answers
    assert answers[0].split()[0] == "fine"
    assert limit > 8
    _read_all(copy, resources)


# Crashes ------------------------------------------------------------------------------------------------------

KEYS, ROUND = 700, 4500  # more than two chunks to a round, each key several times


@pytest.mark.parametrize("rounds", [1, 4, 9])
def test_a_kill_leaves_a_prefix_with_its_position(tmp_path: Path, resources: StoreResources, rounds: int) -> None:
    path = tmp_path / "s"
    with _child(
        f"""
        from processor.state.checkpoint import LocalCheckpoint, Checkpoint
        from processor.state.record import state_key
        store = Store.open(Path({str(path)!r}), StoreResources(2**20))
        for number in range(10**6):
            done = number * {ROUND}
            rows = [(state_key(b"%d" % (i % {KEYS})), b"%d" % i + b" " * 300) for i in range(done, done + {ROUND})]
            store.write(rows, [], LocalCheckpoint(done + {ROUND}, 1), Checkpoint(done + {ROUND}, 0, 0, "topic", 1, 2))
            print(number, flush=True)
        """
    ) as child:
        assert child.stdout is not None
        for _ in range(rounds):
            child.stdout.readline()
        child.send_signal(signal.SIGKILL)
        child.wait()
    with closing(Store.open(path, resources)) as store:
        values = store.get_many([state_key(b"%d" % key) for key in range(KEYS)])
        checkpoint, local = store.checkpoint(), store.local_checkpoint()
    written = [int(value.split()[0]) if value else -1 for value in values]
    length = max(written) + 1
    # A prefix of the writes: each key has the last version of it below `length`, and no other.
    for key, version in enumerate(written):
        assert version == max((v for v in range(key, length, KEYS)[-1:]), default=-1)
    # Its checkpoint: all that it speaks for is there, and no more than one round beyond.
    spoken_for = checkpoint.replay_from if checkpoint else 0
    assert spoken_for <= length <= spoken_for + ROUND
    assert local == (LocalCheckpoint(spoken_for, 1) if checkpoint else None)
    assert length > 0 or rounds == 1


# Children -----------------------------------------------------------------------------------------------------

_PRELUDE = """
import json, logging.handlers, pickle, resource
from pathlib import Path
from processor.errors import ProcessorError
from processor.state.store import StateDirectory, Store, StoreResources

def report(call):
    try:
        call()
        print("fine")
    except ProcessorError as error:
        print(type(error).__name__, str(error).replace(chr(10), " "))
"""


class _child:  # noqa: N801 (used like a function)
    """A real process with the store at hand, that does not outlive the block."""

    def __init__(self, code: str) -> None:
        self._code = _PRELUDE + textwrap.dedent(code)

    def __enter__(self) -> subprocess.Popen[str]:
        command = [sys.executable, "-u", "-c", self._code]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        return self._process

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()


def _told(code: str) -> list[str]:
    """What a child printed, line by line."""
    command = [sys.executable, "-u", "-c", _PRELUDE + textwrap.dedent(code)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()
