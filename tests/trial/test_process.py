"""A processor process is watched by its log and its port, and killed for real. The program here is a stand-in."""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING

import psutil
import pytest

from processor.errors import Unavailable
from processor.trial.process import ProcessorProcess

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

# Logs its arguments and failpoints, listens, is ready at the second question, and ends with 0 at a SIGTERM.
PROGRAM = """
import json, os, signal, sys
from http.server import BaseHTTPRequestHandler, HTTPServer
asked = 0
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        global asked
        asked += self.path == "/readyz"
        self.send_response(200 if self.path == "/status" or asked > 1 else 503)
        self.end_headers()
        self.wfile.write(b"body of " + self.path.encode())
    def log_message(self, *_):
        pass
def log(**line):
    print(json.dumps(line), file=sys.stderr, flush=True)
log(event="started", arguments=sys.argv[1:], failpoints=os.environ.get("PROCESSOR_FAILPOINTS"))
print("a line that is no JSON { at all", flush=True)
if "refuse=true" in sys.argv:
    sys.exit("a setting is wrong")
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
server = HTTPServer(("127.0.0.1", 0), Handler)
log(event="listening", port=server.server_address[1])
server.serve_forever()
"""


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Callable[..., ProcessorProcess]]:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    made: list[ProcessorProcess] = []

    def make(**overrides: object) -> ProcessorProcess:
        one = ProcessorProcess(
            tmp_path / "processor.toml",
            log=tmp_path / "logs" / "log.txt",
            overrides=overrides,
            command=(sys.executable, str(program)),
        )
        made.append(one)
        return one

    yield make
    for one in made:
        one.close()


def test_it_is_started_with_settings_and_failpoints_and_becomes_ready(
    process: Callable[..., ProcessorProcess], tmp_path: Path
) -> None:
    with process(accept_gap=False).start("commit.done=kill@2") as one:
        one.wait_ready(30)
        started = one.wait_event("started")
        assert started["failpoints"] == "commit.done=kill@2"
        assert started["arguments"][:3] == ["run", "-c", str(tmp_path / "processor.toml")]
        assert {"http.listen=127.0.0.1:0", "accept_gap=false"} <= set(started["arguments"])
        assert one.get("/status") == "body of /status"
        assert one.is_ready()
    assert one.exit_code == -signal.SIGKILL


def test_sigterm_gives_the_exit_code_and_a_new_start_has_a_log_of_its_own(
    process: Callable[..., ProcessorProcess],
) -> None:
    one = process().start().wait_ready(30)
    first = one.port
    assert one.sigterm(30) == 0
    assert not one.running
    one.start().wait_ready(30)
    assert one.wait_event("started")["failpoints"] is None
    assert len([line for line in one.events() if line["event"] == "started"]) == 1
    assert one.port != first or one.log_path.read_text().count("listening") == 2
    one.sigkill()
    assert one.wait_exit() == -signal.SIGKILL


def test_the_same_place_cannot_be_started_twice(process: Callable[..., ProcessorProcess]) -> None:
    one = process().start()
    with pytest.raises(RuntimeError, match="already"):
        one.start()


def test_a_process_that_refuses_is_reported_with_its_words(process: Callable[..., ProcessorProcess]) -> None:
    one = process(refuse=True).start()
    with pytest.raises(Unavailable, match=r"(?s)exit code 1.*a setting is wrong"):
        one.wait_ready(30)
    with pytest.raises(Unavailable, match="did not log 'running'"):
        one.wait_event("running", 30)


def test_it_can_be_stopped_and_continued(process: Callable[..., ProcessorProcess]) -> None:
    one = process().start().wait_ready(30)
    one.pause()
    with pytest.raises(Unavailable, match="still ran"):
        one.wait_exit(0.1)
    assert psutil.Process(one.pid).status() == psutil.STATUS_STOPPED
    one.resume()
    assert one.sigterm(30) == 0
