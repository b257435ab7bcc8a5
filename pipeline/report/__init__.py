"""The report of a build: one dictionary, many faces."""
