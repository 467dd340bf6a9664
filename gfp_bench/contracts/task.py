"""The contract of a task: what is fitted, what is tested, what is kept of each image, which numbers come of it.

A protocol names its task; the core carries tasks out and knows none of them by name. Torch-free.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, TypeAlias

import numpy as np
from jaxtyping import Bool, Float, Float32, Int64, Shaped

from gfp_bench.contracts.dataset import DatasetFacts
from gfp_bench.contracts.settings import Configurable

CLEAN = "clean"
"""What boards and folders call a fit, or images, without an attack."""

COMPARED = 20
"""Sources that are compared with each other in fingerprint space: of more so many are drawn, once for all methods."""

Kept: TypeAlias = Mapping[str, Shaped[np.ndarray, "..."]]
"""What a record can be derived from again: arrays by name, as a published board stores them."""

How: TypeAlias = Literal["fit", "immunise", "arrive"]
"""`Method.fit`, `Method.immunise` from the state of another fit, or `Method.partial_fit` on further sources."""


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Images that a fitted method is scored on, and so one cell of a board.

    Attributes:
        attack: The label of the attack that they go through, or None.
        split: The split that they are of.
        sources: The sources that are shown, sorted; all of the dataset by default.
        dataset: Another dataset that they are of, one of `Task.datasets`; the run's own by default.
        name: What files and columns call it; the attack's label, or ``clean``, by default.
        fingerprints: How many fingerprints per source are kept, of its first images; at most 200.
    """

    attack: str | None = None
    split: str = "test"
    sources: tuple[str, ...] = ()
    dataset: str = ""
    name: str = ""
    fingerprints: int = 0

    @property
    def title(self) -> str:
        """The name that was given, or the one that follows from the attack."""
        return self.name or self.attack or CLEAN


@dataclass(frozen=True, kw_only=True)
class Fit:
    """One fitted state that a task asks a method for, and what it answers for.

    Attributes:
        evaluations: What it is tested on.
        name: What folders call it, unique among a task's fits; the condition's label, or ``clean``, by default.
        how: The way in which it comes about.
        base: The name of the fit whose state it starts from; none for ``how="fit"``.
        condition: The label of the attack that training images go through, or None.
        sources: The sources whose images it is given, sorted; all of the dataset, or those of its base, by default.
        fold: Fits that differ in this number alone repeat each other, as seeds do; their cells are averaged.
        calibration: Images that are scored first, for thresholds; never of the split ``test``.
    """

    evaluations: tuple[Evaluation, ...]
    name: str = ""
    how: How = "fit"
    base: str | None = None
    condition: str | None = None
    sources: tuple[str, ...] = ()
    fold: int = 0
    calibration: Evaluation | None = None

    @property
    def title(self) -> str:
        """The name that was given, or the one that follows from the condition."""
        return self.name or self.condition or CLEAN


@dataclass(frozen=True, kw_only=True)
class Measure:
    """A number that boards show.

    Attributes:
        key: Where it stands in a record's metrics.
        title: What boards call it.
        higher_is_better: Its direction.
        percent: Whether it is a fraction in [0, 1] that boards print in percent; else it is printed as it is.
    """

    key: str
    title: str
    higher_is_better: bool = True
    percent: bool = True


@dataclass(frozen=True, kw_only=True, eq=False)
class Shown:
    """What is true of the images of an evaluation, in the order in which they are scored.

    Attributes:
        labels: Indices into ``sources``, one per image.
        groups: What ties images together, one per image.
        sources: The names of the sources that are shown, sorted.
        metadata: What the dataset says of each source.
    """

    labels: Int64[np.ndarray, " n"]
    groups: Shaped[np.ndarray, " n"]
    sources: tuple[str, ...]
    metadata: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, eq=False)
class Outcome:
    """What became of an evaluation.

    Attributes:
        kept: What `Task.keep` kept of it; with fingerprints, ``fingerprints`` (m, d) float16, their
            ``fingerprint_scale`` (1,) and ``fingerprint_rows`` (m,), the images that they are of.
        shown: What is true of its images.
        known: The sources that the method had learnt, sorted: the columns of its scores.
        calibration: What became of the fit's calibration, if it has one.
    """

    kept: Kept
    shown: Shown
    known: tuple[str, ...]
    calibration: "Outcome | None" = None

    @property
    def fingerprints(self) -> Float32[np.ndarray, "m d"]:
        """The fingerprints that were kept; they belong to the images ``kept["fingerprint_rows"]``."""
        scaled: Float32[np.ndarray, "m d"] = self.kept["fingerprints"].astype(np.float32)
        return scaled * self.kept["fingerprint_scale"].astype(np.float32)


class Task(Configurable, ABC):
    """A question that methods are asked. Settings are keyword arguments of ``__init__``; protocols give them.

    Attributes:
        name: What protocols call it: the name of its file.
        measures: What boards show; the first is the headline, which ranks.
        separability: Whether Fréchet ratios of the known sources are measured and shown.
    """

    name: ClassVar[str]
    measures: ClassVar[tuple[Measure, ...]]
    separability: ClassVar[bool] = False

    @abstractmethod
    def fits(self, dataset: DatasetFacts, attacks: Sequence[str], *, immunise: bool) -> Sequence[Fit]:
        """Return what is fitted, each after its base, and what it is tested on.

        Args:
            dataset: The run's dataset.
            attacks: Labels of the protocol's attacks.
            immunise: Whether the protocol immunises.
        """

    @property
    def datasets(self) -> tuple[str, ...]:
        """Names of the other datasets that evaluations read."""
        return ()

    @abstractmethod
    def keep(self, scores: Float32[np.ndarray, "n k"], shown: Shown, known: tuple[str, ...]) -> Kept:
        """Return what is kept of scores, one column for each known source: small, and enough for `metrics`."""

    @abstractmethod
    def metrics(self, outcome: Outcome) -> dict[str, Any]:
        """Return every metric at full precision, as JSON can hold it; None where it is not defined."""

    @abstractmethod
    def chance(self, shown: Shown) -> float:
        """Return the headline of a method that knows nothing."""

    def credit(self, outcome: Outcome, measure: str) -> Float[np.ndarray, " n"] | Bool[np.ndarray, " n"] | None:
        """Return what each image earns, if a measure is the mean over the shown sources of their images' mean credit.

        Args:
            outcome: What became of an evaluation.
            measure: The key of one of the task's measures.
        """
        return None

    def resampled(self, outcome: Outcome, measure: str, weights: Float[np.ndarray, "r n"]) -> Float[np.ndarray, " r"]:
        """Return a measure without `credit` under each row of image weights (how often an image was drawn)."""
        raise NotImplementedError(f"task {self.name!r} has neither credit nor resampled() for measure {measure!r}")
