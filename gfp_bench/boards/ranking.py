"""What a leaderboard shows, before it is rounded: estimates over seeds and images, ranks and marks. Torch-free."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import TypeAlias

import numpy as np
from jaxtyping import Float

from gfp_bench.boards.board import Board, Place, Result
from gfp_bench.contracts.task import Measure, Outcome, Task
from gfp_bench.engine.plan import Row
from gfp_bench.errors import RecordError
from gfp_bench.metrics.comparison import ByGroups, ByResamples, Rivals, alike, not_above
from gfp_bench.metrics.confidence import (
    Clusters,
    Variance,
    image_weights,
    interval_of,
    mean_credit,
    spread,
    variance_over_images,
    variance_over_resamples,
    variance_over_seeds,
)

FEWEST = 10
"""Groups that a source must have for any mark to rest on them."""

_Key: TypeAlias = tuple[str, Place]  # row and place


@dataclass(frozen=True)
class Estimate:
    """A measure, averaged over seeds and folds.

    Attributes:
        value: The estimate.
        low: Lower end of the 95 % interval over images and seeds.
        high: Upper end.
        spread: Standard deviation over seeds and folds (ddof 1), or None for a single one.
        best: Whether no contender has a better one, and it is above the best floor.
        tied: Whether it cannot be told from the best, which itself is tied too.
        not_above_floor: Whether it cannot be shown to be above the best floor.
    """

    value: float
    low: float
    high: float
    spread: float | None
    best: bool = False
    tied: bool = False
    not_above_floor: bool = False


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
    ranked = [
        row.title for row in board.rows if not row.floor and all((row.title, place) in done for place in board.places)
    ]
    estimates = _estimates(board, headline, done, ranked)
    sign = 1 if headline.higher_is_better else -1
    first = {title: sign * estimates[title, board.first].value for title in ranked}
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
    """One row at one place, all seeds done.

    Attributes:
        value: The mean over seeds and folds.
        spread: Their standard deviation.
        seeds: The variance of the mean that comes of seeds; all folds are there, so they are no sample.
        images: That which comes of images.
        ends: Those of the interval.
        kind: What the images say, given the next of all rows.
        evidence: What each cluster of images adds to the value, or the value under common resamples.
    """

    value: float
    spread: float | None
    seeds: Variance
    images: Variance
    ends: tuple[float, float]
    kind: type[ByGroups] | type[ByResamples]
    evidence: Float[np.ndarray, " e"]


def _estimates(
    board: Board, measure: Measure, done: Mapping[_Key, Sequence[Result]], ranked: Sequence[str]
) -> dict[_Key, Estimate]:
    """Return a measure's estimates, those that are marked marked at each place."""
    found: dict[_Key, Estimate] = {}
    for place in dict.fromkeys(place for _, place in done):
        there = {title: seeds for (title, own), seeds in done.items() if own == place}
        found |= {(title, place): one for title, one in _at_place(board, measure, there, ranked).items()}
    return found


def _at_place(
    board: Board, measure: Measure, done: Mapping[str, Sequence[Result]], ranked: Sequence[str]
) -> dict[str, Estimate]:
    shown = _outcome(next(iter(done.values()))[0]).shown
    clusters = Clusters.of(shown.labels, shown.groups)
    columns = {title: _column(board.task, measure, clusters, seeds) for title, seeds in done.items()}
    sign = 1 if measure.higher_is_better else -1
    evidence = next(iter(columns.values())).kind(sign * np.stack([one.evidence for one in columns.values()]), clusters)
    values = sign * np.array([column.value for column in columns.values()])
    rivals = Rivals(values, [column.seeds for column in columns.values()], evidence)
    marks = _marks(board, rivals, list(columns), ranked) if clusters.counts.min() >= FEWEST else _Marks()
    return {
        title: Estimate(
            column.value, *column.ends, column.spread, title in marks.best, title in marks.tied, title in marks.below
        )
        for title, column in columns.items()
    }


@dataclass(frozen=True)
class _Marks:
    """Titles of the rows of a place that are marked."""

    best: frozenset[str] = frozenset()
    tied: frozenset[str] = frozenset()
    below: frozenset[str] = frozenset()


def _marks(board: Board, rivals: Rivals, titles: Sequence[str], ranked: Sequence[str]) -> _Marks:
    """Return the marks of a place: first what is not above the best floor, then the best and what is tied to it."""
    rows = {row.title: row for row in board.rows}
    values = rivals.values.tolist()
    floors = [index for index, title in enumerate(titles) if rows[title].floor]
    contenders = [index for index, title in enumerate(titles) if not rows[title].floor]
    below: list[int] = []
    if floors and contenders:
        floor = max(floors, key=lambda index: (values[index], titles[index]))
        below = [one for one, low in zip(contenders, not_above(rivals, contenders, floor), strict=True) if low]
    able = [index for index in contenders if titles[index] in ranked and titles[index] not in board.of_one_seed]
    highest = max((values[index] for index in able), default=None)
    best = [index for index in able if values[index] == highest and index not in below]
    tied: list[int] = []
    if best:
        surest = min(best, key=lambda index: (rivals.seeds[index].value, titles[index]))
        tied = [one for one, same in zip(able, alike(rivals, able, surest), strict=True) if same or one in best]
    return _Marks(*(frozenset(titles[index] for index in kind) for kind in (best, tied, below)))


def _column(task: Task, measure: Measure, clusters: Clusters, seeds: Sequence[Result]) -> _Column:
    credit = _credit(task, measure, seeds)
    return _resampled(task, measure, clusters, seeds) if credit is None else _credited(credit, clusters, seeds)


def _credited(earned: Float[np.ndarray, "k n"], clusters: Clusters, seeds: Sequence[Result]) -> _Column:
    """Return a row whose measure is a mean of credit, which is given for each seed and fold."""
    mean, labels = earned.mean(axis=0)[None], _outcome(seeds[0]).shown.labels
    value = float(mean_credit(mean, labels)[0])
    each = mean_credit(earned, labels)
    parts = clusters.parts(mean)[0]
    over_seeds, over_images = _over_seeds(each, seeds), variance_over_images(parts, clusters)
    ends = interval_of(value, over_images, over_seeds, worth=clusters.worth)
    return _Column(value, spread(each), over_seeds, over_images, ends, ByGroups, parts)


def _resampled(task: Task, measure: Measure, clusters: Clusters, seeds: Sequence[Result]) -> _Column:
    """Return a row whose measure is no mean of credit."""
    each = np.array([result.metrics[measure.key] for result in seeds], dtype=np.float64)
    shown = _outcome(seeds[0]).shown
    drawn = [
        np.concatenate(
            [
                task.resampled(_outcome(result), measure.key, weights)
                for weights in image_weights(shown.labels, shown.groups)
            ]
        )
        for result in seeds
    ]
    mean = np.mean(drawn, axis=0)
    worth = float(clusters.effective.min()) if measure.percent else None
    over_seeds, over_images = _over_seeds(each, seeds), variance_over_resamples(mean, clusters, worth=worth)
    ends = interval_of(float(each.mean()), over_images, over_seeds, worth=worth)
    return _Column(float(each.mean()), spread(each), over_seeds, over_images, ends, ByResamples, mean)


def _over_seeds(each: Float[np.ndarray, " k"], results: Sequence[Result]) -> Variance:
    seeds = np.array([result.seed for result in results])
    return variance_over_seeds(np.array([each[seeds == seed].mean() for seed in np.unique(seeds)]))


def _outcome(result: Result) -> Outcome:
    if result.outcome is None:
        raise RecordError(f"{_title(result)} is done, but nothing is kept of its images; run it again")
    return result.outcome


def _title(result: Result) -> str:
    return f"cell {result.row} {result.condition}/{result.column} seed {result.seed}"


def _credit(task: Task, measure: Measure, results: Sequence[Result]) -> Float[np.ndarray, "k n"] | None:
    """Return what each image earns in each result, or None where the measure is no mean of it."""
    earned = [_earned(task, measure, result) for result in results]
    known = [one for one in earned if one is not None]
    return np.stack(known) if known else None


def _earned(task: Task, measure: Measure, result: Result) -> Float[np.ndarray, " n"] | None:
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
    estimates = _estimates(board, measure, defined, ranked)
    told: dict[str, Estimate | str] = {title: reason for title, reason in reasons.items() if reason}
    return told | {title: estimate for (title, _), estimate in estimates.items()}
