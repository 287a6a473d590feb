"""The model: artifacts, the engine that steps them, and (lazily) the converter."""
