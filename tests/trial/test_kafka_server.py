"""`processor kafka`: a broker to try things on. It is where it was asked for, it keeps its data, it ends in order."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from processor.errors import ConfigError
from processor.kafka.client import AdminClient, NewTopic
from processor.trial.kafka import free_ports
from processor.trial.kafka_server import serve
from processor.trial.load import Event, send
from processor.trial.reader import read_topic


@contextmanager
def serving(directory: Path, port: int) -> Iterator[subprocess.Popen[str]]:
    """The command, once it has printed that the broker is ready."""
    command = [sys.executable, "-m", "processor", "kafka", "--directory", str(directory), "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            lines = [process.stdout.readline() for _ in range(2)]
            assert str(directory) in lines[0]
            assert f"ready at localhost:{port}" in lines[1], (lines, process.stderr and process.stderr.read())
            yield process
        finally:
            process.kill()


def ended(process: subprocess.Popen[str], how: signal.Signals) -> tuple[int, str, str]:
    process.send_signal(how)
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


@pytest.mark.usefixtures("embedded_kafka_installed")
def test_it_keeps_its_data_also_where_its_ports_change(tmp_path: Path) -> None:
    directory = tmp_path / "data"
    first, second = free_ports(2)
    with serving(directory, first) as process:
        servers = f"localhost:{first}"
        admin = AdminClient({"bootstrap.servers": servers})
        admin.create_topics([NewTopic("samples", 1)])["samples"].result(30)
        send(servers, "samples", [Event(0, b"k", b"kept")])
        with pytest.raises(ConfigError, match="Another process runs"):
            serve(directory, second, print)
        with pytest.raises(ConfigError, match=f"Port {first} cannot be used"):
            serve(tmp_path / "other", first, print)
        assert ended(process, signal.SIGINT) == (0, f"Stopped. The data is still in {directory}.\n", "")

    with socket.socket() as other:  # another program took the port that the controller had
        other.bind(("127.0.0.1", json.loads((directory / "cluster.json").read_text())["controller"]))
        other.listen()
        with serving(directory, second) as process:
            (record,) = read_topic(f"localhost:{second}", "samples")[0]
            assert record.value == b"kept"
            assert ended(process, signal.SIGTERM)[0] == 0


def test_a_directory_with_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").touch()
    with pytest.raises(ConfigError, match="neither empty nor"):
        serve(tmp_path, 9092, print)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
