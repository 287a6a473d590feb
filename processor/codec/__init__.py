"""What records look like from outside: events in, predictions and dead letters out.

A codec is a pure function of a batch: no clock, no memory of earlier batches, and a row's result never depends on the
rows beside it. `formats.FORMATS` is the one list of the formats there are.
"""

from __future__ import annotations

from processor.codec.dead_letter import DeadLetter, dead_letter
from processor.codec.formats import FORMATS, PredictionEncoder, event_decoder, prediction_encoder

__all__ = ["FORMATS", "DeadLetter", "PredictionEncoder", "dead_letter", "event_decoder", "prediction_encoder"]
