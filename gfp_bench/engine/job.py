"""What a trial's processes are told."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gfp_bench.engine.plan import Trial
from gfp_bench.protocols.protocol import Protocol


@dataclass(frozen=True, kw_only=True)
class Job:
    """A trial with all that its processes need to know.

    Attributes:
        trial: What to execute.
        base: The trial whose fitted state it starts from, or None.
        protocol: The recipe.
        manifests: The manifest file of each dataset that it reads, by name.
        cache: Where decoded images lie.
        results: The results folder.
        device: ``cpu`` or ``cuda:<n>``.
        limit: Images per source and split, or None.
        plugin_files: Single-file plugins.
        memory: Bytes that a trial on the CPU may allocate, or None.
        checkpoint_every: Seconds between two kept checkpoints.
        revision: The code's git revision and whether it was changed, for the record.
    """

    trial: Trial
    base: Trial | None
    protocol: Protocol
    manifests: Mapping[str, Path]
    cache: Path
    results: Path
    device: str
    limit: int | None
    plugin_files: tuple[Path, ...]
    memory: int | None
    checkpoint_every: float
    revision: dict[str, Any]
