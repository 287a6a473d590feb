"""What Kafka adds to a record."""

from __future__ import annotations

from typing import Final

RECORD_OVERHEAD_BYTES: Final = 128
"""More than a record batch with one record adds to its key and value (61 + at most 40), to stay on the safe side."""
