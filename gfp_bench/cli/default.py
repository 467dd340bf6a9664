"""What `gfp-bench run` does without arguments: the file `default.toml`, and its reader."""

from pathlib import Path

from gfp_bench.documents import Document, read_document
from gfp_bench.errors import UsageError

_FILE = Path(__file__).with_name("default.toml")


class Default(Document):
    """What a run without arguments does."""

    dataset: str
    protocol: str
    methods: tuple[str, ...]
    seeds: tuple[int, ...]


def load_default() -> Default:
    """Return what a run without arguments does."""
    return read_document(_FILE, Default, kind="default run", error=UsageError, otherwise="install gfp-bench again")
