"""The console script `processor`, and `python -m processor`: the command line, where its packages are installed."""

from __future__ import annotations

import sys

from processor.extras import MissingExtra, missing_extra


def main() -> None:
    """Runs the command line. Prints which extra to install where the command line itself is missing."""
    try:
        from processor.cli import main as run
    except ImportError as error:
        if (missing := missing_extra(error)) is None:
            raise
        if sys.argv[1:2] in (["convert"], ["verify"]):
            missing = MissingExtra("This needs the extra `convert`, which is not installed.", "convert", error)
        sys.stderr.write(f"error {missing.fact}\n{missing.cause}\nhint {missing.hint}\n")
        sys.exit(missing.exit_code)
    run()


if __name__ == "__main__":
    main()
