"""How much styles flicker while the picture moves: clips of known movement, and what is drawn of them."""
