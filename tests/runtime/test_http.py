"""The HTTP endpoints, asked by real requests."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from typing import TYPE_CHECKING, Any

import pytest

from processor.errors import ConfigError
from processor.metrics import Metrics
from processor.runtime.http import HttpServer
from processor.runtime.status import liveness

if TYPE_CHECKING:
    from collections.abc import Iterator


class Shown:
    """What a server shows; a test changes it between two requests."""

    def __init__(self) -> None:
        self.metrics = Metrics()
        self.ready: tuple[bool, str] = (False, "partition 3 is restoring")
        self.status: dict[str, Any] = {"partitions": {"3": {"phase": "restoring"}}}
        self.age = 0.5

    def looked(self) -> dict[str, Any]:
        if not self.status:
            raise RuntimeError("dictionary changed size during iteration")
        return self.status


@pytest.fixture
def said() -> Shown:
    return Shown()


@pytest.fixture
def server(said: Shown) -> Iterator[HttpServer]:
    with made(said) as server:
        yield server


def made(said: Shown, host: str = "127.0.0.1", port: int = 0) -> HttpServer:
    return HttpServer(
        (host, port),
        metrics=said.metrics.render,
        health=lambda: liveness(said.age, 60),
        ready=lambda: said.ready,
        status=said.looked,
    )


def ask(
    server: HttpServer, path: str, method: str = "GET", host: str = "127.0.0.1"
) -> tuple[int, bytes, dict[str, str]]:
    connection = http.client.HTTPConnection(host, server.port, timeout=10)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, answer.read(), dict(answer.getheaders())
    finally:
        connection.close()


def test_ready_tells_why(server: HttpServer, said: Shown) -> None:
    status, body, headers = ask(server, "/readyz")
    assert (status, json.loads(body)) == (503, {"ready": False, "reason": "partition 3 is restoring"})
    assert headers["Content-Type"] == "application/json"
    said.ready = (True, "all partitions run")
    status, body, _ = ask(server, "/readyz")
    assert (status, json.loads(body)) == (200, {"ready": True, "reason": "all partitions run"})


def test_health_is_the_loops_heartbeat(server: HttpServer, said: Shown) -> None:
    said.age = 60.0
    assert ask(server, "/healthz")[0] == 200
    said.age = 61.0
    status, body, _ = ask(server, "/healthz")
    assert (status, json.loads(body)) == (503, {"alive": False, "reason": "the main loop has been stuck for 61 s"})


def test_metrics_and_status(server: HttpServer, said: Shown) -> None:
    said.metrics.gap(7)
    status, body, headers = ask(server, "/metrics?name%5B%5D=x")
    assert status == 200
    assert headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert b"processor_gap_events_total 7.0" in body
    assert json.loads(ask(server, "/status")[1]) == said.status


@pytest.mark.parametrize("path", ["/", "/metrics/", "/metricsx", "/../etc/passwd", "/status/x", "*"])
def test_every_other_path_is_not_found(server: HttpServer, path: str) -> None:
    status, body, _ = ask(server, path)
    assert status == 404
    assert b"processor_" not in body


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_only_get_and_head(server: HttpServer, method: str) -> None:
    status, _, headers = ask(server, "/metrics", method)
    assert (status, headers["Allow"]) == (405, "GET, HEAD")


def test_head_has_the_headers_and_no_body(server: HttpServer) -> None:
    status, body, headers = ask(server, "/status", "HEAD")
    assert (status, body) == (200, b"")
    assert int(headers["Content-Length"]) == len(ask(server, "/status")[1])


def test_a_look_that_fails_is_told_and_the_server_goes_on(server: HttpServer, said: Shown) -> None:
    said.status = {}
    status, body, _ = ask(server, "/status")
    assert (status, body) == (500, b"see the log\n")
    assert ask(server, "/healthz")[0] == 200


def test_clients_that_hang_hold_nobody_up(server: HttpServer) -> None:
    hanging = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(5)]
    try:
        assert ask(server, "/healthz")[0] == 200
    finally:
        for client in hanging:
            client.close()


def test_no_more_than_a_few_requests_at_once(said: Shown) -> None:
    """Hundreds of connections that hang make no hundreds of threads; once they are gone, it answers again."""
    with made(said) as server:
        before = threading.active_count()
        hanging = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(100)]
        # The hundredth was accepted or refused once one more request is answered or dropped.
        with pytest.raises((OSError, http.client.HTTPException)):
            ask(server, "/healthz")
        assert threading.active_count() - before <= 16
        for client in hanging:
            client.close()
        for _ in range(1000):
            try:
                assert ask(server, "/healthz")[0] == 200
                break
            except (OSError, http.client.HTTPException):
                continue
        else:
            pytest.fail("it never answered again")


def test_only_the_listen_address_answers(said: Shown) -> None:
    with made(said, "127.0.0.2") as server:
        assert ask(server, "/healthz", host="127.0.0.2")[0] == 200
        with pytest.raises(OSError, match="refused"):
            ask(server, "/healthz", host="127.0.0.1")


def test_a_port_in_use_is_a_wrong_setting(server: HttpServer, said: Shown) -> None:
    with pytest.raises(ConfigError) as caught:
        made(said, port=server.port)
    assert caught.value.fact == f"http.listen is 127.0.0.1:{server.port}, and nothing can listen there."
    assert "in use" in caught.value.cause
    assert "http.listen" in caught.value.hint


def test_an_address_of_another_machine_is_a_wrong_setting(said: Shown) -> None:
    with pytest.raises(ConfigError, match="nothing can listen there"):
        made(said, "192.0.2.1")


def test_closing_frees_the_port(said: Shown) -> None:
    server = made(said)
    port = server.port
    server.start()
    server.close()
    server.close()
    with made(said, port=port) as again:
        assert ask(again, "/healthz")[0] == 200


def test_closing_before_the_start_is_harmless(said: Shown) -> None:
    made(said).close()
