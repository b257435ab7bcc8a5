"""`.sentis` files: the package's own serialised models, which keep packed weights packed."""
