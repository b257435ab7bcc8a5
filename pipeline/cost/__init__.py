"""The cost model, and rearrangements that make a graph cheaper."""
