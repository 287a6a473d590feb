"""The jars of Apache Kafka: pinned by hash in `jars.lock`, fetched once, kept in the user's cache directory.

`python -m processor.trial.jars` fetches what is missing. With `--lock` it resolves the coordinates below again and
rewrites the lock, which is what a new version of Kafka needs.

Invariant: a file that bears a jar's name in the cache directory was complete and had the pinned hash when it got it.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential

from processor.errors import Incompatible, Unavailable
from processor.extras import MissingExtra

if TYPE_CHECKING:
    from collections.abc import Iterator

COORDINATES: Final = ("org.apache.kafka:kafka_2.13:4.3.1", "org.slf4j:slf4j-simple:1.7.36")
LOCK: Final = Path(__file__).with_name("jars.lock")
_TIMEOUT_SECONDS: Final = 30
_ATTEMPTS: Final = 4
_DOWNLOADS_AT_ONCE: Final = 6


@dataclass(frozen=True, slots=True)
class Jar:
    """One pinned jar: its Maven coordinates and the SHA-256 of its bytes, in hex."""

    group: str
    artifact: str
    version: str
    sha256: str

    @property
    def name(self) -> str:
        return f"{self.artifact}-{self.version}.jar"


def pinned() -> list[Jar]:
    """The jars of the lock, in its order, which is the class path's."""
    lines = [line for line in LOCK.read_text().splitlines() if line and not line.startswith("#")]
    jars = []
    for line in lines:
        sha256, coordinates = line.split()
        group, artifact, version = coordinates.split(":")
        jars.append(Jar(group, artifact, version, sha256))
    return jars


def class_path(cache: Path | None = None) -> list[Path]:
    """Every pinned jar as a file with the pinned hash; what is missing is fetched first, with its progress on stderr.

    Two processes may call this at once: one fetches, the other waits for it.

    Raises:
        ConfigError: the package that fetches is not installed.
        Unavailable: a jar could not be fetched.
        Incompatible: what was fetched is not what the lock pins.
    """
    if cache is None:
        cache = _cache_directory()
    jars = pinned()
    if any(not _is_there(cache, jar) for jar in jars):
        cache.mkdir(parents=True, exist_ok=True)
        with _alone_in(cache):
            missing = [jar for jar in jars if not _is_there(cache, jar)]
            if missing:
                _fetch_all(missing, cache)
    return [cache / jar.name for jar in jars]


def _cache_directory() -> Path:
    try:
        from platformdirs import user_cache_path
    except ImportError as error:
        raise not_installed(error) from error
    return user_cache_path("sequence-processor") / "kafka"


def not_installed(error: ImportError) -> MissingExtra:
    return MissingExtra("The embedded Apache Kafka is not installed.", "trial", error)


def _is_there(cache: Path, jar: Jar) -> bool:
    path = cache / jar.name
    return path.is_file() and _sha256(path) == jar.sha256


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def _alone_in(cache: Path) -> Iterator[None]:
    """Holds the cache directory's lock; the kernel takes it back from a process that dies."""
    with (cache / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _fetch_all(jars: list[Jar], cache: Path) -> None:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    label = "Fetching Apache Kafka (once)"
    if not console.is_terminal:
        console.print(f"{label}: {len(jars)} jars ...")
    with (
        tempfile.TemporaryDirectory(dir=cache) as scratch,
        Progress(*columns, console=console, disable=not console.is_terminal) as progress,
        ThreadPoolExecutor(_DOWNLOADS_AT_ONCE) as pool,
    ):
        task = progress.add_task(label, total=len(jars))
        futures = [pool.submit(_fetch, jar, Path(scratch), cache) for jar in jars]
        try:
            for future in futures:
                future.result()
                progress.advance(task)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _fetch(jar: Jar, scratch: Path, cache: Path) -> None:
    """Fetches one jar aside, looks at its hash, and only then gives it its name in the cache."""
    try:
        for attempt in Retrying(
            retry=retry_if_exception_type((OSError, RuntimeError)),
            stop=stop_after_attempt(_ATTEMPTS),
            wait=wait_exponential(max=5),
            reraise=True,
        ):
            with attempt:
                path = _download(jar, Path(tempfile.mkdtemp(dir=scratch)))
    except (OSError, RuntimeError) as error:
        raise Unavailable(
            f"The jar {jar.name} of Apache Kafka could not be fetched.",
            str(error),
            "Look at the network (HTTPS_PROXY, REQUESTS_CA_BUNDLE) and try again; what was fetched so far is kept.",
        ) from error
    found = _sha256(path)
    if found != jar.sha256:
        raise Incompatible(
            f"The jar {jar.name} of Apache Kafka is not the one that this version of the project pins.",
            f"Its SHA-256 is {found}, the lock contains {jar.sha256}.",
            "Something between here and the repository changes files; try from another network.",
        )
    path.replace(cache / jar.name)


def _download(jar: Jar, directory: Path) -> Path:
    context = _maven(directory)
    path: Path = context.project(jar.group, jar.artifact).at_version(jar.version).artifact().resolve()
    return path


def _maven(repository: Path) -> Any:
    try:
        from jgo.maven import MavenContext
    except ImportError as error:
        raise not_installed(error) from error
    return MavenContext(repo_cache=repository, timeout=_TIMEOUT_SECONDS)


def _resolve() -> list[Jar]:
    """What the coordinates need to run, by the newest answer of the repository."""
    from jgo.maven import Dependency

    with tempfile.TemporaryDirectory() as scratch:
        context = _maven(Path(scratch))
        roots = []
        for coordinates in COORDINATES:
            group, artifact, version = coordinates.split(":")
            roots.append(Dependency(context.project(group, artifact).at_version(version).artifact()))
        inputs, transitive = context.resolver.resolve(roots)
        return [
            Jar(d.groupId, d.artifactId, d.version, _sha256(d.artifact.resolve()))
            for d in [*inputs, *sorted(transitive, key=lambda d: (d.groupId, d.artifactId))]
            if d.artifact.packaging == "jar" and d.scope in (None, "compile", "runtime")
        ]


def _write_lock() -> None:
    head = (
        "# The jars of the embedded Apache Kafka: SHA-256 and Maven coordinates. Written by processor/trial/jars.py.\n"
    )
    lines = [f"{jar.sha256} {jar.group}:{jar.artifact}:{jar.version}\n" for jar in _resolve()]
    LOCK.write_text(head + "".join(lines))


if __name__ == "__main__":
    if sys.argv[1:] == ["--lock"]:
        _write_lock()
    class_path()
