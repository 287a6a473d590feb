"""The embedded Kafka as a server of its own: for a first model on a machine without Docker. One broker, no security.

Invariants: one process at a time uses a data directory (a lock on a file in it); the data outlives the process.
"""

from __future__ import annotations

import contextlib
import fcntl
import signal
import socket
import time
from typing import TYPE_CHECKING, Final

from processor.errors import ConfigError
from processor.trial.kafka import EmbeddedKafka, require_installed
from processor.trial.signals import interruptible

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_CHECK_SECONDS: Final = 0.5  # between two checks of the broker


def serve(directory: Path, port: int, show: Callable[[str], None]) -> int:
    """Runs a broker at localhost:`port` until SIGINT, SIGTERM or SIGHUP.

    directory: where the data stays; a new one, or that of an earlier run. show: gets each line of progress.

    Returns:
        0 after a signal that stopped a running broker; 128 + the signal's number if it had not started yet.

    Raises:
        ConfigError: the extra is not installed; the port or the directory is in use; the directory holds other files.
        Unavailable: the broker did not start, or ended by itself; the message holds the end of its log.
    """
    require_installed()
    ready = False
    with _alone_in(directory), interruptible() as interrupts:
        kafka = EmbeddedKafka(directory, port=port)
        try:
            _require_free(port)
            show(f"Starting Apache Kafka; its data is in {directory} ...")
            kafka.start()
            ready = True
            show(f"Apache Kafka is ready at localhost:{port}. Ctrl-C stops it.")
            while True:
                kafka.check()
                time.sleep(_CHECK_SECONDS)
        except KeyboardInterrupt:
            code = 0 if ready else 128 + (interrupts.received or signal.SIGINT)
        finally:
            interrupts.ending = True
            kafka.stop()
    show(f"Stopped. The data is still in {directory}.")
    return code


@contextlib.contextmanager
def _alone_in(directory: Path) -> Iterator[None]:
    """Creates the directory, and locks it against a second process; the kernel releases the lock of a dead one."""
    if directory.exists() and not _is_usable(directory):
        raise ConfigError(
            f"{directory} is neither empty nor a directory of the embedded Kafka.",
            "",
            "Name another one: processor kafka --directory DIR.",
        )
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(
                f"Another process runs an embedded Kafka in {directory}.",
                "",
                "Use that one, or name another directory and port: processor kafka --directory DIR --port PORT.",
            ) from None
        yield


def _is_usable(directory: Path) -> bool:
    if not directory.is_dir():
        return False
    names = {path.name for path in directory.iterdir()}
    return "cluster.json" in names or names <= {"lock"}


def _require_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections of an earlier broker may linger
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise ConfigError(
                f"Port {port} cannot be used.",
                error.strerror or str(error),
                "A Kafka that runs there already can be used as it is. Or name another port: "
                "processor kafka --port PORT, and processor run --set kafka.bootstrap_servers=localhost:PORT.",
            ) from error
