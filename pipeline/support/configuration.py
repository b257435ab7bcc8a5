"""What every reader of pipeline.toml knows: the sections that it may have."""

SECTIONS = ("build-unity", "models", "validate")
