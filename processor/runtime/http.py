"""The operator's window: `/metrics`, `/healthz`, `/readyz` and `/status`, on threads of their own.

It knows nothing of what it shows: everything comes from callables. GET and HEAD only, at the listen address only, and
no more than a few requests at once, so that a scraper that hangs takes nothing from the loop.
"""

from __future__ import annotations

import json
import socket
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

from processor.errors import ConfigError
from processor.log import get_logger
from processor.metrics import CONTENT_TYPE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_LOG = get_logger()
_REQUEST_SECONDS: Final = 10.0  # how long a client may take to send its request or to take its response
_REQUESTS_AT_ONCE: Final = 16
_JSON: Final = "application/json"


class _Response(NamedTuple):
    status: HTTPStatus
    content_type: str
    body: bytes


class HttpServer:
    """Listens from its construction on, and responds from `start` (or `with`) to `close`."""

    def __init__(
        self,
        address: tuple[str, int],
        *,
        metrics: Callable[[], bytes],
        health: Callable[[], tuple[bool, str]],
        ready: Callable[[], tuple[bool, str]],
        status: Callable[[], Mapping[str, Any]],
    ) -> None:
        """address: host and port; port 0 takes a free one. health, ready: whether, and why.

        Raises:
            ConfigError: the address cannot be listened at.
        """

        def readiness() -> _Response:
            is_ready, reason = ready()
            return _json(HTTPStatus.OK if is_ready else HTTPStatus.SERVICE_UNAVAILABLE, ready=is_ready, reason=reason)

        def liveness() -> _Response:
            alive, reason = health()
            return _json(HTTPStatus.OK if alive else HTTPStatus.SERVICE_UNAVAILABLE, alive=alive, reason=reason)

        routes: dict[str, Callable[[], _Response]] = {
            "/metrics": lambda: _Response(HTTPStatus.OK, CONTENT_TYPE, metrics()),
            "/healthz": liveness,
            "/readyz": readiness,
            "/status": lambda: _json(HTTPStatus.OK, **status()),
        }
        self._server = _listening(address, routes)
        self._thread: threading.Thread | None = None

    @property
    def port(self) -> int:
        """The port in use, also where 0 was asked for."""
        return int(self._server.server_address[1])

    def start(self) -> None:
        """Responds from here on."""
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, name="http", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Responds no more; the port is free. Closing twice is harmless."""
        if self._thread is not None:
            self._server.shutdown()
            self._thread.join()
            self._thread = None
        self._server.server_close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def refuse_address(address: tuple[str, int]) -> None:
    """Raises ConfigError where nothing can listen at host and port now. Listens for no longer than that takes."""
    _listening(address, {}).server_close()


def _json(status: HTTPStatus, **fields: object) -> _Response:
    return _Response(status, _JSON, json.dumps(fields, default=str).encode() + b"\n")


def _listening(address: tuple[str, int], routes: Mapping[str, Callable[[], _Response]]) -> _Server:
    host, port = address
    try:
        family, _, _, _, location = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return _Server(family, location, routes)
    except OSError as error:
        raise ConfigError(
            f"http.listen is {host}:{port}, and nothing can listen there.",
            f"{error.strerror or error}.",
            "Choose another with --set http.listen=HOST:PORT; port 0 takes a free one.",
        ) from None


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # The default of 5 lets a burst of scrapers wait for the network's own repetitions, a second and more.
    request_queue_size = 128
    # A request that hangs must not hold up the exit.
    block_on_close = False

    def __init__(
        self, family: socket.AddressFamily, location: Any, routes: Mapping[str, Callable[[], _Response]]
    ) -> None:
        self.address_family = family
        self.routes = routes
        self._free = threading.BoundedSemaphore(_REQUESTS_AT_ONCE)
        super().__init__(location, _Handler)

    def server_bind(self) -> None:
        # HTTPServer's own looks its name up in DNS, which can take many seconds; nobody needs the name.
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:  # no thread could be started: the slot would be lost for ever
            self._free.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away in the middle; the standard library would print a traceback."""
        _LOG.debug("http.client_gone", client=str(client_address))


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    server_version = "processor"
    sys_version = ""
    timeout = _REQUEST_SECONDS

    def do_GET(self) -> None:
        self._send(self._respond(), with_body=True)

    def do_HEAD(self) -> None:
        self._send(self._respond(), with_body=False)

    def do_POST(self) -> None:
        refusal = _Response(HTTPStatus.METHOD_NOT_ALLOWED, "text/plain; charset=utf-8", b"GET and HEAD only\n")
        self._send(refusal, with_body=True)

    do_PUT = do_DELETE = do_PATCH = do_OPTIONS = do_TRACE = do_CONNECT = do_POST  # noqa: N815

    def _respond(self) -> _Response:
        path = self.path.partition("?")[0]
        route = self.server.routes.get(path)
        if route is None:
            known = " ".join(self.server.routes)
            return _Response(HTTPStatus.NOT_FOUND, "text/plain; charset=utf-8", f"only {known}\n".encode())
        try:
            return route()
        except Exception:
            # The loop goes on while this reads. A read that fails is logged, and never ends the process.
            _LOG.exception("http.failed", path=path)
            return _Response(HTTPStatus.INTERNAL_SERVER_ERROR, "text/plain; charset=utf-8", b"see the log\n")

    def _send(self, response: _Response, *, with_body: bool) -> None:
        self.send_response(response.status)
        if response.status is HTTPStatus.METHOD_NOT_ALLOWED:
            self.send_header("Allow", "GET, HEAD")
        self.send_header("Content-Type", response.content_type)
        self.send_header("Content-Length", str(len(response.body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        if with_body:
            self.wfile.write(response.body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: a scrape every few seconds is no news."""
