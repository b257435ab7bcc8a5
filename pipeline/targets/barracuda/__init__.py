"""Barracuda, com.unity.barracuda 1.0 to 3.0: one JSON file per version, and the code."""
