"""Datasets that are made on first use, found by lying here."""
