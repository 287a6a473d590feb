"""Rules that look fussy, each broken on purpose. The modules enter their mutants into the table."""

from protocol.mutants import commits, ends, flush_queues, hot_keys, recoveries, stores, sweeps, weaker
from protocol.mutants.table import MUTANTS, Mutant

__all__ = [
    "MUTANTS",
    "Mutant",
    "commits",
    "ends",
    "flush_queues",
    "hot_keys",
    "recoveries",
    "stores",
    "sweeps",
    "weaker",
]
