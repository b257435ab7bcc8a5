"""8 bits at rest: a model's weights as small integers in a packed file, which rebuilds it exactly."""
