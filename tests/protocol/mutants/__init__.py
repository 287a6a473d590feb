"""Rules that look fussy, each broken on purpose. The modules enter their mutants into the table."""

from protocol.mutants import commits, ends, flush_queues, hot_keys, stores, sweeps, way_back, weaker
from protocol.mutants.table import MUTANTS, Mutant

__all__ = ["MUTANTS", "Mutant", "commits", "ends", "flush_queues", "hot_keys", "stores", "sweeps", "way_back", "weaker"]
