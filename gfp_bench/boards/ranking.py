"""What a leaderboard shows, before it is rounded: estimates over seeds and images, ranks and ties. Torch-free."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, TypeAlias

import numpy as np
from jaxtyping import Float

from gfp_bench.boards.board import Board, Place, Result
from gfp_bench.contracts.task import Measure, Outcome, Shown, Task
from gfp_bench.engine.plan import Row
from gfp_bench.errors import RecordError
from gfp_bench.metrics.confidence import bootstrap, image_weights, interval, mean_credit, spread, ties

_Key: TypeAlias = tuple[str, Place]  # row and place


@dataclass(frozen=True)
class Estimate:
    """A measure, averaged over seeds and folds.

    Attributes:
        value: The estimate.
        low: Lower end of the 95 % interval over images.
        high: Upper end.
        spread: Standard deviation over seeds and folds (ddof 1), or None for a single one.
        best: Whether no ranked row has a better one.
        tied: Whether it cannot be told from the best, which itself is tied too.
    """

    value: float
    low: float
    high: float
    spread: float | None
    best: bool = False
    tied: bool = False


@dataclass(frozen=True)
class Standing:
    """A row with its rank and what it has at each place.

    Attributes:
        row: The row.
        rank: None for a floor, or while cells are missing.
        results: By place, one for each seed and fold.
        estimates: Of the headline, at each place where all seeds are done.
        measures: Of the task's other measures, at the first place: by key an estimate, or why there is none.
    """

    row: Row
    rank: int | None
    results: Mapping[Place, tuple[Result, ...]]
    estimates: Mapping[Place, Estimate]
    measures: Mapping[str, Estimate | str] = field(default_factory=dict)

    @property
    def all_results(self) -> list[Result]:
        """Every planned cell, by place, then by seed."""
        return [result for seeds in self.results.values() for result in seeds]


def standings(board: Board) -> list[Standing]:
    """Return the rows in order: those ranked, then floors, then those that miss cells.

    Raises:
        RecordError: If what is kept of a done cell does not belong to the test images or to its metrics.
    """
    headline, *others = board.task.measures
    results = {row.title: _by_place(one for one in board.results if one.row == row.title) for row in board.rows}
    done = {
        (title, place): seeds
        for title, places in results.items()
        for place, seeds in places.items()
        if all(result.status == "done" for result in seeds)
    }
    columns = _columns(board.task, headline, done)
    ranked = [
        row.title
        for row in board.rows
        if not row.floor and all((row.title, place) in columns for place in board.places)
    ]
    sign = 1 if headline.higher_is_better else -1
    first = {title: sign * columns[title, board.first].value for title in ranked}
    estimates = _estimates(columns, ranked, headline)
    at_first = {title: seeds for (title, place), seeds in done.items() if place == board.first}
    measures = {measure.key: _measured(board, measure, at_first, ranked) for measure in others}
    found = []
    for row in board.rows:
        rank = 1 + sum(other > first[row.title] for other in first.values()) if row.title in first else None
        own = {place: estimate for (title, place), estimate in estimates.items() if title == row.title}
        told = {key: by_row[row.title] for key, by_row in measures.items() if row.title in by_row}
        found.append(Standing(row, rank, results[row.title], own, told))
    return sorted(found, key=lambda standing: _order(standing, board.first, sign))


def _order(standing: Standing, first: Place, sign: int) -> tuple[int, float, str]:
    part = 0 if standing.rank else 1 if standing.row.floor else 2
    estimate = standing.estimates.get(first)
    return part, -sign * estimate.value if estimate else 1.0, standing.row.title


def _by_place(results: Iterable[Result]) -> dict[Place, tuple[Result, ...]]:
    ordered = sorted(results, key=lambda result: (result.place, result.seed, result.fold))
    return {place: tuple(seeds) for place, seeds in groupby(ordered, key=lambda result: result.place)}


@dataclass(frozen=True, eq=False)
class _Column:
    """One row at one place, all seeds done."""

    value: float
    spread: float | None
    resampled: Float[np.ndarray, " r"]


def _columns(task: Task, measure: Measure, done: Mapping[_Key, Sequence[Result]]) -> dict[_Key, _Column]:
    """Return what is complete, all that shows the same images drawn with the same resamples."""
    earned = {key: [_credit(task, measure, result) for result in seeds] for key, seeds in done.items()}
    shown = {key: _outcome(seeds[0]).shown for key, seeds in done.items()}
    found: dict[_Key, _Column] = {}
    for images in {id(one): one for one in shown.values()}.values():
        own = [key for key in done if shown[key] is images]
        found |= _credited(images, {key: earned[key] for key in own if earned[key][0] is not None})
        found |= {key: _resampled(task, measure, images, done[key]) for key in own if key not in found}
    return {key: found[key] for key in done}


def _credited(images: Shown, earned: Mapping[_Key, Sequence[Any]]) -> dict[_Key, _Column]:
    """Return columns whose measure is a mean of credit, (n,) per seed: all are resampled in one go."""
    if not earned:
        return {}
    by_seed = [np.stack(seeds) for seeds in earned.values()]
    averaged = np.stack([seeds.mean(axis=0) for seeds in by_seed])
    values = mean_credit(averaged, images.labels).tolist()
    resampled = bootstrap(averaged, images.labels, images.groups).T
    spreads = [spread(mean_credit(seeds, images.labels)) for seeds in by_seed]
    return dict(zip(earned, map(_Column, values, spreads, resampled), strict=True))


def _resampled(task: Task, measure: Measure, images: Shown, seeds: Sequence[Result]) -> _Column:
    values = np.array([result.metrics[measure.key] for result in seeds], dtype=np.float64)
    drawn = [
        np.concatenate(
            [
                task.resampled(_outcome(result), measure.key, weights)
                for weights in image_weights(images.labels, images.groups)
            ]
        )
        for result in seeds
    ]
    return _Column(float(values.mean()), spread(values), np.mean(drawn, axis=0))


def _outcome(result: Result) -> Outcome:
    if result.outcome is None:
        raise RecordError(f"{_title(result)} is done, but nothing is kept of its images; run it again")
    return result.outcome


def _title(result: Result) -> str:
    return f"cell {result.row} {result.condition}/{result.column} seed {result.seed}"


def _credit(task: Task, measure: Measure, result: Result) -> Float[np.ndarray, " n"] | None:
    """Return what each image earns, once it is known to belong to the images and to give the recorded value."""
    outcome = _outcome(result)
    for name, kept in outcome.kept.items():
        if not name.startswith("fingerprint") and len(kept) != len(outcome.shown.labels):
            raise RecordError(
                f"{_title(result)} has {len(kept)} values of {name!r}, expected {len(outcome.shown.labels)}, one per "
                "test image; run it again"
            )
    credit = task.credit(outcome, measure.key)
    if credit is None:
        return None
    earned = np.asarray(credit, dtype=np.float64)
    derived, recorded = mean_credit(earned[None], outcome.shown.labels).item(), result.metrics[measure.key]
    if abs(derived - recorded) > 1e-9:
        raise RecordError(
            f"{_title(result)} records a {measure.title} of {recorded}, but its outcomes give {derived}; "
            "one of its files was changed: restore both or run it again"
        )
    return earned


def _estimates(columns: Mapping[_Key, _Column], ranked: list[str], measure: Measure) -> dict[_Key, Estimate]:
    """Return every column's estimate, the best and their ties marked at each place among the ranked rows."""
    best: set[_Key] = set()
    tied: set[_Key] = set()
    sign = 1 if measure.higher_is_better else -1
    for place in {place for _, place in columns}:
        rivals = [(title, place) for title in ranked if (title, place) in columns]
        if rivals:
            values = np.array([sign * columns[rival].value for rival in rivals])
            alike = ties(values, sign * np.stack([columns[rival].resampled for rival in rivals], axis=1))
            best.update(rival for rival, value in zip(rivals, values, strict=True) if value == values.max())
            tied.update(rival for rival, one in zip(rivals, alike, strict=True) if one)
    return {
        key: Estimate(column.value, *interval(column.resampled), column.spread, key in best, key in tied)
        for key, column in columns.items()
    }


def _measured(
    board: Board, measure: Measure, done: Mapping[str, Sequence[Result]], ranked: list[str]
) -> dict[str, Estimate | str]:
    """Return a measure of each row at the first place, or why it has no value there."""
    reasons = {
        title: next(
            (str(one.metrics["undefined"][measure.key]) for one in seeds if one.metrics.get(measure.key) is None), ""
        )
        for title, seeds in done.items()
    }
    defined = {(title, board.first): seeds for title, seeds in done.items() if not reasons[title]}
    estimates = _estimates(_columns(board.task, measure, defined), ranked, measure)
    told: dict[str, Estimate | str] = {title: reason for title, reason in reasons.items() if reason}
    return told | {title: estimate for (title, _), estimate in estimates.items()}
