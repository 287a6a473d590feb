"""Bytes of events, predictions and dead letters, as columns."""
