"""Trained generators, and datasets made of what they draw."""
