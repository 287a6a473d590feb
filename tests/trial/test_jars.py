"""The jars are what the lock pins, or nothing runs from them."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import zipfile
from typing import TYPE_CHECKING

import pytest

from processor.errors import Incompatible, Unavailable
from processor.trial import jars

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def cache(embedded_kafka_installed: None, tmp_path: Path) -> Path:
    """A cache directory with every pinned jar."""
    for path in jars.class_path():
        shutil.copy(path, tmp_path / path.name)
    return tmp_path


def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> Path:
        raise OSError("no route to host")

    monkeypatch.setattr(jars, "_download", refuse)
    monkeypatch.setattr(jars, "_ATTEMPTS", 1)


def test_the_lock_pins_every_jar_and_names_no_host() -> None:
    text = jars.LOCK.read_text()
    assert all(re.fullmatch(r"[0-9a-f]{64}", jar.sha256) for jar in jars.pinned())
    assert len({jar.name for jar in jars.pinned()}) == len(jars.pinned())
    assert "://" not in text
    assert [f"{jar.group}:{jar.artifact}:{jar.version}" for jar in jars.pinned()][:2] == list(jars.COORDINATES)


def test_a_full_cache_needs_no_network(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    no_network(monkeypatch)
    assert [path.name for path in jars.class_path(cache)] == [jar.name for jar in jars.pinned()]
    assert all(zipfile.is_zipfile(path) for path in jars.class_path(cache))


def test_a_jar_that_was_changed_is_not_used_but_fetched_anew(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changed = cache / jars.pinned()[3].name
    good = changed.read_bytes()
    changed.write_bytes(good + b"x")
    fetched: list[str] = []

    def fetch(jar: jars.Jar, directory: Path) -> Path:
        fetched.append(jar.name)
        (directory / jar.name).write_bytes(good)
        return directory / jar.name

    monkeypatch.setattr(jars, "_download", fetch)
    jars.class_path(cache)
    assert fetched == [changed.name]
    assert changed.read_bytes() == good


def test_what_is_fetched_must_have_the_pinned_hash(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    missing = cache / jars.pinned()[0].name
    missing.unlink()

    def fetch(jar: jars.Jar, directory: Path) -> Path:
        (directory / jar.name).write_bytes(b"something else")
        return directory / jar.name

    monkeypatch.setattr(jars, "_download", fetch)
    with pytest.raises(Incompatible, match="SHA-256"):
        jars.class_path(cache)
    assert not missing.exists()


def test_without_a_network_the_message_names_the_jar_and_the_cause(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (cache / jars.pinned()[5].name).unlink()
    no_network(monkeypatch)
    with pytest.raises(Unavailable, match=rf"(?s){jars.pinned()[5].artifact}.*no route to host"):
        jars.class_path(cache)


FETCHING = """
import sys
from pathlib import Path
from processor.trial import jars
source, cache = Path(sys.argv[1]), Path(sys.argv[2])
def fetch(jar, directory):
    with (cache / "fetched").open("a") as log:
        log.write(jar.name + chr(10))
    target = directory / jar.name
    target.write_bytes((source / jar.name).read_bytes())
    return target
jars._download = fetch
jars.class_path(cache)
"""


def test_of_two_processes_that_start_at_once_one_fetches(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    empty = tmp_path_factory.mktemp("empty")
    both = [subprocess.Popen([sys.executable, "-c", FETCHING, str(cache), str(empty)]) for _ in range(2)]
    assert [process.wait(120) for process in both] == [0, 0]
    assert sorted((empty / "fetched").read_text().split()) == sorted(jar.name for jar in jars.pinned())
