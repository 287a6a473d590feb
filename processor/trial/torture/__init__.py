"""The kill matrix: everything that can happen, by a seed, to processes that serve any artifact; then three checks."""

from processor.trial.torture.story import Wishes, run

__all__ = ["Wishes", "run"]
