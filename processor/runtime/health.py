"""Where a running processor can be asked over HTTP, and how; `python -m processor.runtime.health` for containers.

That is what `processor health` does, with the standard library alone: a container runs it every few seconds.
"""

from __future__ import annotations

import http.client
import json
import os
import sys
import tomllib
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Final, NamedTuple

from processor.errors import ConfigError, ProcessorError, Unavailable

DEFAULT: Final = "127.0.0.1:9108"
_FILE: Final = Path("processor.toml")
_SECONDS: Final = 5.0
_LOOPBACK: Final = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]", "": "127.0.0.1"}
# No proxy of the environment stands between this machine and the processor.
_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Reply(NamedTuple):
    """What the endpoint replied."""

    status: int
    body: str

    @property
    def is_good(self) -> bool:
        return self.status == 200

    @property
    def reason(self) -> str:
        """Why it is ready or alive, or not."""
        try:
            return str(self.json()["reason"])
        except (ValueError, KeyError, TypeError):
            return f"it replies {self.status}"

    def json(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found


def check(place: str, *, ready: bool = False) -> str:
    """What the processor at `HOST:PORT` replies, where it is alive (ready: where all its partitions run).

    Raises:
        Unavailable: nobody replies, or it is not; with the reason.
    """
    reply = ask(place, "/readyz" if ready else "/healthz")
    if not reply.is_good:
        raise Unavailable(f"The processor at {place} is not {'ready' if ready else 'alive'}.", f"{reply.reason}.", "")
    return reply.reason


def address(at: str | None, file: Path | None) -> str:
    """`HOST:PORT` to ask: as given, else where the settings let the processor listen.

    The settings are read here without their checks: a health check must cost no more than it has to.
    """
    host, _, port = (at or _listen(file)).rpartition(":")
    if not port.isdecimal():
        raise ConfigError(f"{at!r} is no address.", "", f"Give HOST:PORT, as {DEFAULT}.")
    # Where the processor listens at every address, its loopback is one of them.
    return f"{_LOOPBACK.get(host, host)}:{port}"


def _listen(file: Path | None) -> str:
    if "PROCESSOR_HTTP__LISTEN" in os.environ:
        return os.environ["PROCESSOR_HTTP__LISTEN"]
    path = file or _FILE
    if not path.is_file():
        if file is not None:
            raise ConfigError(f"There is no file {file}.", "", "Name the settings' file, or the address with --at.")
        return DEFAULT
    try:
        return str(tomllib.loads(path.read_text(encoding="utf-8")).get("http", {}).get("listen", DEFAULT))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, AttributeError) as error:
        raise ConfigError(f"{path} is no TOML.", f"{error}", "See `processor check`.") from None


def ask(place: str, path: str) -> Reply:
    """The reply of the processor at `HOST:PORT` to a GET of `path`.

    Raises:
        Unavailable: nobody replies.
    """
    try:
        with _direct.open(f"http://{place}{path}", timeout=_SECONDS) as reply:
            return Reply(reply.status, reply.read().decode(errors="replace"))
    except urllib.error.HTTPError as error:
        return Reply(error.code, error.read().decode(errors="replace"))
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        raise Unavailable(
            f"No processor replies at http://{place}.",
            f"{reason}.",
            "Start it with `processor run`, or name its address with --at HOST:PORT.",
        ) from None


def main() -> None:
    """`[SETTINGS]`: the settings' file. Ends with 0 and the reply, or with 1 and the reason."""
    try:
        print(check(address(None, Path(sys.argv[1]) if len(sys.argv) > 1 else None)))
    except ProcessorError as error:
        sys.exit(f"{error.fact} {error.cause}")


if __name__ == "__main__":
    main()
