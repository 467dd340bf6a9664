"""How images may lie in a folder: one file a layout, each of which says what its paths stand for."""

from typing import NamedTuple


class Place(NamedTuple):
    """A file and what its path says: its source, and its split, which is empty where splits are drawn."""

    path: str
    source: str
    split: str
