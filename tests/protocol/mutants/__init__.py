"""Rules that look fussy, each broken on purpose. The modules enter their mutants into the table."""

from protocol.mutants import commits, ends, hot_keys, stores, sweeps, way_back, weaker, wheels
from protocol.mutants.table import MUTANTS, Mutant

__all__ = ["MUTANTS", "Mutant", "commits", "ends", "hot_keys", "stores", "sweeps", "way_back", "weaker", "wheels"]
