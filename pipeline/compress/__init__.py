"""Packed files: a model's weights stored as small integers, from which the model is rebuilt exactly."""
