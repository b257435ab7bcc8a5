"""Flicker of a network's output while the picture moves: clips with known motion, measurements, strips and
charts."""
