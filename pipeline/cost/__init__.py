"""What a network costs: the cost model, timing on this machine, and rearrangements that make a graph cheaper."""
