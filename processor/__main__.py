"""`python -m processor`: the same program as `processor`."""

from __future__ import annotations

from processor.cli import main

if __name__ == "__main__":
    main()
