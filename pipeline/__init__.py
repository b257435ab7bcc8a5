"""Turns a trained image-to-image network into a folder that a Unity project can use."""

__version__ = "0.1.0"
