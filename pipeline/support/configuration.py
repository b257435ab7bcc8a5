"""The sections that pipeline.toml may have, for every reader of the file."""

SECTIONS = ("build-unity", "models", "validate")
