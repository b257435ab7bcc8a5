"""Shared helpers: errors, files, identifiers, limits of memory and time, plain text, resources, the version."""
