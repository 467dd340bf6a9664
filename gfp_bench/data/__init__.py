"""Datasets: what they hold, how they are read, what they are worth."""
