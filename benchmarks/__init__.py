"""The processor's speed: one command, one broker, ratios to the bare Kafka client in the same run."""
