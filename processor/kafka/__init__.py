"""The Kafka client: one importer of the library, and thin helpers over it."""
