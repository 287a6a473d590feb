"""Asks the processor in this container whether its main loop is alive: exit code 0, or 1 with the reason.

Standard library only. The port is that of `http.listen`, from the environment or from the settings' file.
"""

import os
import sys
import tomllib
import urllib.error
import urllib.request
from pathlib import Path

SETTINGS = Path("/etc/processor/processor.toml")
DEFAULT = "127.0.0.1:9108"
LOOPBACK = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}
SECONDS = 5


def listening_at(settings: Path) -> str:
    """`http.listen` as the processor reads it, but for --set."""
    if "PROCESSOR_HTTP__LISTEN" in os.environ:
        return os.environ["PROCESSOR_HTTP__LISTEN"]
    if not settings.is_file():
        return DEFAULT
    return str(tomllib.loads(settings.read_text(encoding="utf-8")).get("http", {}).get("listen", DEFAULT))


def asked_at(listen: str) -> str:
    """host:port to ask. Where the processor listens at every address, its loopback is one of them."""
    host, _, port = listen.rpartition(":")
    return f"{LOOPBACK.get(host, host)}:{port}"


def main() -> None:
    settings = Path(sys.argv[1]) if len(sys.argv) > 1 else SETTINGS
    url = f"http://{asked_at(listening_at(settings))}/healthz"
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(url, timeout=SECONDS) as answer:
            print(answer.read().decode(errors="replace").strip())
    except urllib.error.HTTPError as error:
        sys.exit(f"{url}: {error.code} {error.read().decode(errors='replace').strip()}")
    except OSError as error:
        sys.exit(f"{url}: {error}")


if __name__ == "__main__":
    main()
