"""All that a leaderboard is made of, before anything is estimated. Torch-free."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, TypeAlias

from gfp_bench.contracts.task import CLEAN, Outcome, Shown, Task
from gfp_bench.engine.plan import Row
from gfp_bench.protocols.protocol import Ladder

Status: TypeAlias = Literal["done", "failed", "timeout", "skipped", "not run"]
Place: TypeAlias = tuple[str, str]
"""Condition of the fit, an attack's label or ``clean``, and column: what a cell is called."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Result:
    """What a board has of one planned cell.

    Attributes:
        row: Title of its row.
        condition: What the method was immunised against, or ``clean``.
        column: What the cell is called: the label of the attack on the images, or ``clean``.
        seed: The trial's seed.
        fold: The fit's fold.
        status: Whether there are numbers.
        reason: Why not.
        outcome: What is kept of the images; of a done cell.
        metrics: As recorded; of a done cell.
        separability: Fields of `gfp_bench.metrics.separability.Separability`, of a done cell; empty if not measured.
        device: Where it ran; of a done cell.
    """

    row: str
    condition: str
    column: str
    seed: int
    fold: int = 0
    status: Status
    reason: str = ""
    outcome: Outcome | None = None
    metrics: Mapping[str, Any] = field(default_factory=dict)
    separability: Mapping[str, Any] = field(default_factory=dict)
    device: str = ""

    @property
    def place(self) -> Place:
        """Condition and column."""
        return self.condition, self.column


@dataclass(frozen=True, kw_only=True, eq=False)
class Board:
    """All that a leaderboard is made of; equal boards give equal bytes.

    Attributes:
        dataset: Its name.
        digest: The manifest's, hexadecimal.
        leakage: What splits share because the manifest allows it, a sentence each.
        protocol: Name and version.
        draft: Whether the protocol is one.
        task: What was asked.
        shown: The test images of the first column.
        columns: What methods face as they were fitted, in the order of the plan; the first one ranks.
        rows: In any order.
        results: All planned cells, with numbers or without.
        provenance: What every cell ran with, a phrase each.
        rederive: The command that makes this board again.
        ladders: Attacks that belong together.
        figure: Name of the file with the ladders' curves.
        notes: By an attack's label, what stands in brackets after it.
        remarks: What else a reader has to know, a sentence each.
    """

    dataset: str
    digest: str
    protocol: str
    draft: bool
    task: Task
    shown: Shown
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    results: tuple[Result, ...]
    provenance: tuple[str, ...]
    rederive: str
    ladders: tuple[Ladder, ...] = ()
    figure: str = ""
    notes: Mapping[str, str] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    leakage: tuple[str, ...] = ()

    def heading(self, column: str) -> str:
        """Return what tables call a column."""
        return f"{column} ({self.notes[column]})" if self.notes.get(column) else column

    @property
    def first(self) -> Place:
        """The place that ranks, where all measures are shown."""
        return CLEAN, self.columns[0]

    @property
    def single_columns(self) -> tuple[str, ...]:
        """Columns after the first that stand in no ladder."""
        stepped = {attack for ladder in self.ladders for attack in ladder.attacks}
        return tuple(column for column in self.columns[1:] if column not in stepped)

    @cached_property
    def folded(self) -> bool:
        """Whether fits are repeated on other folds."""
        return any(result.fold for result in self.results)

    @cached_property
    def devices(self) -> Mapping[str, tuple[str, ...]]:
        """Where each row's cells ran, sorted."""
        found: dict[str, set[str]] = {row.title: set() for row in self.rows}
        for result in self.results:
            found.setdefault(result.row, set()).update({result.device} - {""})
        return {title: tuple(sorted(devices)) for title, devices in found.items()}

    @cached_property
    def immunised(self) -> bool:
        """Whether the protocol immunises."""
        return any(result.condition != CLEAN for result in self.results)

    @cached_property
    def of_one_seed(self) -> frozenset[str]:
        """Titles of stochastic rows that have results of a single seed, so that nothing is known of others."""
        seeds: dict[str, set[int]] = {}
        for result in self.results:
            seeds.setdefault(result.row, set()).add(result.seed)
        done = {result.row for result in self.results if result.status == "done"}
        return frozenset(
            row.title for row in self.rows if row.stochastic and row.title in done and len(seeds[row.title]) == 1
        )

    @cached_property
    def places(self) -> list[Place]:
        """What a row needs in order to be ranked: every column, and immunised methods under their own attack."""
        planned = {result.place for result in self.results}
        own = [(column, column) for column in self.columns[1:]]
        return [*((CLEAN, column) for column in self.columns), *(place for place in own if place in planned)]
