"""For development: the embedded Kafka, the demo, load, and checks against the trained model."""
