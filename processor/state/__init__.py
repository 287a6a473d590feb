"""State of keys: records, stores, the arena in memory, and the changelog."""
