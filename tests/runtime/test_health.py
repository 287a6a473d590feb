"""Where a processor is asked whether it is alive, and what comes of the reply."""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from processor.cli import app
from processor.errors import ConfigError, Unavailable
from processor.runtime.health import DEFAULT, address, check

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.mark.parametrize(
    ("environment", "file", "asked"),
    [
        ({}, "", DEFAULT),
        ({}, '[http]\nlisten = "0.0.0.0:1"', "127.0.0.1:1"),
        ({}, '[http]\nlisten = "[::]:1"', "[::1]:1"),
        ({"PROCESSOR_HTTP__LISTEN": "127.0.0.1:2"}, '[http]\nlisten = "0.0.0.0:1"', "127.0.0.1:2"),
    ],
)
def test_it_asks_where_the_processor_listens(
    environment: dict[str, str], file: str, asked: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PROCESSOR_HTTP__LISTEN", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    assert address(None, None) == environment.get("PROCESSOR_HTTP__LISTEN", DEFAULT)
    (tmp_path / "processor.toml").write_text(file, encoding="utf-8")
    assert address(None, None) == address(None, tmp_path / "processor.toml") == asked
    assert address("0.0.0.0:7", None) == "127.0.0.1:7"


@pytest.mark.parametrize("text", ["[http", "http = 3"])
def test_settings_that_cannot_be_read(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PROCESSOR_HTTP__LISTEN", raising=False)
    (tmp_path / "wrong.toml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"wrong\.toml"):
        address(None, tmp_path / "wrong.toml")
    with pytest.raises(ConfigError, match="no file"):
        address(None, tmp_path / "nothing.toml")
    with pytest.raises(ConfigError, match="no address"):
        address("localhost", None)


class Replies(BaseHTTPRequestHandler):
    alive = True

    def do_GET(self) -> None:
        self.send_response(200 if self.alive else 503)
        self.end_headers()
        self.wfile.write(json.dumps({"alive": self.alive, "reason": f"asked for {self.path}"}).encode())

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@pytest.fixture
def place() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Replies) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


def test_the_reply_decides(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert check(place) == "asked for /healthz"
    assert check(place, ready=True) == "asked for /readyz"
    assert CliRunner().invoke(app, ["health", "--at", place]).stdout == "asked for /healthz\n"
    monkeypatch.setattr(Replies, "alive", False)
    with pytest.raises(Unavailable, match="is not alive"):
        check(place)
    assert CliRunner().invoke(app, ["health", "--ready", "--at", place]).exit_code == Unavailable.exit_code


def test_nobody_is_there(place: str) -> None:
    port = int(place.rpartition(":")[2])
    with HTTPServer(("127.0.0.1", 0), Replies) as closed:
        port = closed.server_port
    with pytest.raises(Unavailable, match="No processor replies"):
        check(f"127.0.0.1:{port}")
