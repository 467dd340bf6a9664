"""What a leaderboard shows, before it is rounded: estimates over seeds and images, ranks and ties."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np
from jaxtyping import Bool, Float, Integer, Shaped

from gfp_bench.errors import RecordError
from gfp_bench.metrics.confidence import balanced_accuracy, bootstrap, interval, spread, ties

CLEAN = "clean"
Status = Literal["done", "failed", "timeout", "skipped", "not run"]
Place: TypeAlias = tuple[str, str]
"""Condition and attack of a cell, each an attack's label or ``clean``."""


@dataclass(frozen=True)
class Row:
    """One method with one set of settings.

    Attributes:
        title: Name and settings given, as the command line takes them; no two rows share it.
        settings: All settings, for the CSV.
        weights: "scratch", "imagenet", "local", or "" without trained weights.
        budget: "smoke", "full", or "" where there is none.
        floor: Whether it is a mark to be above rather than a contender.
        deviations: What differs from the paper, a phrase each.
        device: Where its cells ran.
    """

    title: str
    settings: str = ""
    weights: str = ""
    budget: str = ""
    floor: bool = False
    deviations: tuple[str, ...] = ()
    device: str = "cpu"


@dataclass(frozen=True, eq=False)
class Cell:
    """One planned evaluation.

    Attributes:
        row: Title of its row.
        condition: What the method was immunised against, or ``clean``.
        attack: What the test images went through, or ``clean``.
        seed: The trial's seed.
        status: Whether there are numbers.
        reason: Why not.
        correct: Per test image, whether its source was named; of a done cell.
        metrics: As recorded; of a done cell.
        separability: Fields of `gfp_bench.metrics.separability.Separability`; of a done cell.
    """

    row: str
    condition: str
    attack: str
    seed: int
    status: Status
    reason: str = ""
    correct: Bool[np.ndarray, " n"] | None = None
    metrics: Mapping[str, Any] = field(default_factory=dict)
    separability: Mapping[str, Any] = field(default_factory=dict)

    @property
    def place(self) -> Place:
        """Condition and attack."""
        return self.condition, self.attack


@dataclass(frozen=True)
class Ladder:
    """One attack at several severities.

    Attributes:
        title: What the ladder is called.
        axis: What a severity is, with its unit.
        severities: From mild to harsh, as the protocol writes them.
        attacks: Labels, likewise.
    """

    title: str
    axis: str
    severities: tuple[str, ...]
    attacks: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Board:
    """All that a leaderboard is made of; equal boards give equal bytes.

    Attributes:
        dataset: Its name.
        digest: The manifest's, hexadecimal.
        protocol: Name and version.
        draft: Whether the protocol is one.
        sources: Names in sorted order.
        labels: True source of each test image, in the manifest's order.
        groups: What ties test images together, likewise.
        attacks: Labels in the protocol's order, those of ladders included.
        rows: In any order.
        cells: All that were planned, with numbers or without.
        provenance: What every cell ran with, a phrase each.
        rederive: The command that makes this board again.
        ladders: Attacks that belong together.
        figure: Name of the file with the ladders' curves.
    """

    dataset: str
    digest: str
    protocol: str
    draft: bool
    sources: tuple[str, ...]
    labels: Integer[np.ndarray, " n"]
    groups: Shaped[np.ndarray, " n"]
    attacks: tuple[str, ...]
    rows: tuple[Row, ...]
    cells: tuple[Cell, ...]
    provenance: tuple[str, ...]
    rederive: str
    ladders: tuple[Ladder, ...] = ()
    figure: str = ""

    @property
    def single_attacks(self) -> tuple[str, ...]:
        """Labels that stand in no ladder."""
        stepped = {attack for ladder in self.ladders for attack in ladder.attacks}
        return tuple(attack for attack in self.attacks if attack not in stepped)

    @property
    def immunised(self) -> bool:
        """Whether the protocol immunises."""
        return any(cell.condition != CLEAN for cell in self.cells)

    @property
    def places(self) -> list[Place]:
        """What a row needs in order to be ranked."""
        immunised = [(attack, attack) for attack in self.attacks] if self.immunised else []
        return [(CLEAN, CLEAN), *((CLEAN, attack) for attack in self.attacks), *immunised]


@dataclass(frozen=True)
class Estimate:
    """A balanced accuracy in [0, 1], averaged over seeds.

    Attributes:
        accuracy: The estimate.
        low: Lower end of the 95 % interval over images.
        high: Upper end.
        spread: Standard deviation over seeds (ddof 1), or None for one seed.
        best: Whether no ranked row has a higher one.
        tied: Whether it cannot be told from the best, which itself is tied too.
    """

    accuracy: float
    low: float
    high: float
    spread: float | None
    best: bool = False
    tied: bool = False


@dataclass(frozen=True)
class Standing:
    """A row with its rank (None for a floor, or while cells are missing) and what it has at each place."""

    row: Row
    rank: int | None
    cells: Mapping[Place, tuple[Cell, ...]]
    estimates: Mapping[Place, Estimate]

    @property
    def all_cells(self) -> list[Cell]:
        """Every planned cell, by place, then by seed."""
        return [cell for seeds in self.cells.values() for cell in seeds]


def standings(board: Board) -> list[Standing]:
    """Return the rows in order: those ranked, then floors, then those that miss cells.

    Raises:
        RecordError: If a done cell's outcomes do not belong to the test images or to its metrics.
    """
    cells = {row.title: _by_place(cell for cell in board.cells if cell.row == row.title) for row in board.rows}
    columns = _columns(board, cells)
    ranked = [
        row.title
        for row in board.rows
        if not row.floor and all((row.title, place) in columns for place in board.places)
    ]
    clean = {title: columns[title, (CLEAN, CLEAN)].accuracy for title in ranked}
    estimates = _estimates(columns, ranked)
    found = []
    for row in board.rows:
        rank = 1 + sum(other > clean[row.title] for other in clean.values()) if row.title in clean else None
        own = {place: estimate for (title, place), estimate in estimates.items() if title == row.title}
        found.append(Standing(row, rank, cells[row.title], own))
    return sorted(found, key=_order)


def _order(standing: Standing) -> tuple[int, float, str]:
    part = 0 if standing.rank else 1 if standing.row.floor else 2
    clean = standing.estimates.get((CLEAN, CLEAN))
    return part, -clean.accuracy if clean else 1.0, standing.row.title


def _by_place(cells: Iterable[Cell]) -> dict[Place, tuple[Cell, ...]]:
    places: dict[Place, tuple[Cell, ...]] = {}
    for cell in sorted(cells, key=lambda cell: (cell.place, cell.seed)):
        places[cell.place] = (*places.get(cell.place, ()), cell)
    return places


@dataclass(frozen=True, eq=False)
class _Column:
    """One row at one place, all seeds done."""

    accuracy: float
    spread: float | None
    resampled: Float[np.ndarray, " r"]


def _columns(board: Board, cells: Mapping[str, Mapping[Place, tuple[Cell, ...]]]) -> dict[tuple[str, Place], _Column]:
    """Return what is complete, all drawn with the same resamples."""
    correct = {
        (title, place): np.stack([_outcomes(board, cell) for cell in seeds])
        for title, places in cells.items()
        for place, seeds in places.items()
        if all(cell.status == "done" for cell in seeds)
    }
    if not correct:
        return {}
    averaged = np.stack([seeds.mean(axis=0) for seeds in correct.values()])
    accuracy = balanced_accuracy(averaged, board.labels).tolist()
    resampled = bootstrap(averaged, board.labels, board.groups).T
    spreads = [spread(balanced_accuracy(seeds, board.labels)) for seeds in correct.values()]
    return dict(zip(correct, map(_Column, accuracy, spreads, resampled), strict=True))


def _outcomes(board: Board, cell: Cell) -> Float[np.ndarray, " n"]:
    what = f"cell {cell.row} {cell.condition}/{cell.attack} seed {cell.seed}"
    if cell.correct is None or len(cell.correct) != len(board.labels):
        got = "no" if cell.correct is None else len(cell.correct)
        raise RecordError(f"{what} has {got} outcomes, expected {len(board.labels)}, one a test image; run it again")
    correct = cell.correct.astype(np.float64)
    derived, recorded = balanced_accuracy(correct[None], board.labels).item(), cell.metrics["balanced_accuracy"]
    if abs(derived - recorded) > 1e-9:
        raise RecordError(
            f"{what} records a balanced accuracy of {recorded}, but its outcomes give {derived}; "
            "one of its files was changed: restore both or run it again"
        )
    return correct


def _estimates(columns: Mapping[tuple[str, Place], _Column], ranked: list[str]) -> dict[tuple[str, Place], Estimate]:
    """Return every column's estimate, the best and their ties marked at each place among the ranked rows."""
    best: set[tuple[str, Place]] = set()
    tied: set[tuple[str, Place]] = set()
    for place in {place for _, place in columns}:
        rivals = [(title, place) for title in ranked if (title, place) in columns]
        if rivals:
            accuracy = np.array([columns[rival].accuracy for rival in rivals])
            alike = ties(accuracy, np.stack([columns[rival].resampled for rival in rivals], axis=1))
            best.update(rival for rival, value in zip(rivals, accuracy, strict=True) if value == accuracy.max())
            tied.update(rival for rival, one in zip(rivals, alike, strict=True) if one)
    return {
        key: Estimate(column.accuracy, *interval(column.resampled), column.spread, key in best, key in tied)
        for key, column in columns.items()
    }
