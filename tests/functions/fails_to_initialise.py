"""Fails while it is loaded."""

raise RuntimeError("this function does not initialise")
