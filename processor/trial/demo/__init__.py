"""The demo: all of it on this machine. Trains, converts, runs, kills, and compares every prediction with Keras."""

from processor.trial.demo.story import run

__all__ = ["run"]
