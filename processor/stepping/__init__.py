"""From polled events to predictions: slices, waves, sequences, and what is published."""
