"""What a trial's processes are told."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gfp_bench.engine.plan import Trial
from gfp_bench.protocols.protocol import Protocol
from gfp_bench.registry.plugins import Source


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
        sources: Where the plugins that it needs come from, beside those that gfp-bench brings.
        digests: What identifies the content of each dataset as it was planned, by name.
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
    sources: tuple[Source, ...]
    digests: Mapping[str, str]
    memory: int | None
    checkpoint_every: float
    revision: dict[str, Any]
