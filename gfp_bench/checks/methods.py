"""What every method must hold."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gfp_bench.checks.candidate import Splits, Subject, refuse_pickle, settings
from gfp_bench.checks.candidate import declared as declared_at_all
from gfp_bench.checks.findings import UncheckedError
from gfp_bench.contracts.attack import Perturbation, to_uint8
from gfp_bench.contracts.dataset import REAL
from gfp_bench.contracts.images import ImageSet
from gfp_bench.contracts.method import Method
from gfp_bench.contracts.rng import ImageRng
from gfp_bench.contracts.types import Images
from gfp_bench.errors import PluginError
from gfp_bench.seeding import seeded

_TOLERANCE = 1e-3  # between batch sizes, of an image's largest value: float32 sums of 8,000 terms in another order
_OUTPUTS = ("scores", "fingerprints")

Outputs = tuple[Tensor, Tensor]  # (n, s) scores and (n, d) fingerprints


class MethodSubject(Subject[Method]):
    """A method, fitted when first asked for."""

    @cached_property
    def method(self) -> Method:
        """The method as first fitted."""
        return self.fitted(seed=0)

    @cached_property
    def expected(self) -> Outputs:
        """What the method says of all test images in one batch."""
        return outputs(self.method, self.images)

    def fitted(self, seed: int) -> Method:
        """Return a new instance, fitted."""
        method = self.make()
        with seeded("check", f"fit {seed}"):  # as in a trial: layers and scikit-learn draw from the global state
            method.fit(self.train, self.val, rng=torch.Generator().manual_seed(seed))
        return method

    def reloaded(self, folder: Path) -> Method:
        """Return a new instance with the fitted state as it comes back from an empty folder."""
        method = self.make()
        self.method.save(folder)
        method.load(folder, device=self.test.device)
        return method


def outputs(method: Method, images: Images, *, size: int | None = None, seed: int = 0) -> Outputs:
    """Return what a method says of images, given ``size`` at a time, each time as a copy of its own."""
    starts = range(0, len(images), size or len(images))
    parts = [images[start : start + (size or len(images))] for start in starts]
    with torch.no_grad(), seeded("check", f"score {seed}"):
        scores = [method.scores(part.clone()) for part in parts]
        return torch.cat(scores), torch.cat([method.fingerprints(part.clone()) for part in parts])


def declared(subject: MethodSubject) -> None:
    """The class says what it is, where it was published and whether the seed matters."""
    declared_at_all(subject)
    cls = subject.cls
    for name, kind in (("paper", str), ("stochastic", bool), ("floor", bool)):
        if not isinstance(getattr(cls, name, None), kind):
            raise PluginError(f"{name} is {getattr(cls, name, 'not set')!r}, expected {kind.__name__}")


def fit(subject: MethodSubject) -> None:
    """Fitting works."""
    assert subject.method  # noqa: S101 - fits


def shape(subject: MethodSubject) -> None:
    """Scores are float32 (n, s), fingerprints floating (n, d)."""
    scores, fingerprints = subject.expected
    n = len(subject.images)
    _refuse_columns(scores, n, subject.test.sources)
    if (
        fingerprints.ndim != 2
        or len(fingerprints) != n
        or not fingerprints.numel()
        or not fingerprints.is_floating_point()
    ):
        raise PluginError(
            f"fingerprints are {fingerprints.dtype} of shape {tuple(fingerprints.shape)}, "
            f"expected a floating type and shape ({n}, d): one row per image"
        )


def same_scores_again(subject: MethodSubject) -> None:
    """Scoring draws nothing."""
    _agree(
        outputs(subject.method, subject.images, seed=1), subject.expected, "when scored twice; scoring must not draw"
    )


def finite(subject: MethodSubject) -> None:
    """Scores and fingerprints are numbers."""
    for name, values in zip(_OUTPUTS, subject.expected, strict=True):
        if strange := int((~values.isfinite()).any(dim=1).sum()):
            raise PluginError(f"{name} of {strange} of {len(values)} images are not finite")


def input_unchanged(subject: MethodSubject) -> None:
    """Scoring leaves the images as they were."""
    for name in _OUTPUTS:
        images = subject.images.clone()
        with torch.no_grad():
            getattr(subject.method, name)(images)
        if not images.equal(subject.images):
            raise PluginError(f"{name} changed the images it was given; work on a copy")


def batch_invariance(subject: MethodSubject) -> None:
    """An image's scores do not depend on how many images come with it."""
    for size in (1, 7):
        values = outputs(subject.method, subject.images, size=size)
        _agree(values, subject.expected, f"between batches of {size} and all at once", _TOLERANCE)


def order_invariance(subject: MethodSubject) -> None:
    """An image's scores do not depend on where it stands, nor on what was scored before."""
    order = torch.arange(len(subject.images)).flip(0)
    scores, fingerprints = outputs(subject.method, subject.images[order])
    _agree((scores[order], fingerprints[order]), subject.expected, "when the order is reversed", _TOLERANCE)


def save_and_load(subject: MethodSubject) -> None:
    """A method that was saved and loaded says the same, to the bit; no pickle is involved."""
    with TemporaryDirectory() as folder:
        _agree(outputs(subject.reloaded(Path(folder)), subject.images), subject.expected, "after save and load")
        refuse_pickle(Path(folder))


def no_labels(subject: MethodSubject) -> None:
    """What `fit` was given is not read when scoring: no label, no id, no group."""
    before = outputs(subject.method, subject.images)
    with _shuffled(subject.train), _shuffled(subject.val):
        after = outputs(subject.method, subject.images)
    _agree(after, before, "once the training labels and ids are shuffled; keep no ImageSet")


def repeatable_fit(subject: MethodSubject) -> None:
    """A seed gives the same scores every time; for a method that is not stochastic, all seeds give the same."""
    seed = 0 if subject.method.stochastic else 1
    what = "one seed" if seed == 0 else "two seeds, though stochastic is False"
    _agree(outputs(subject.fitted(seed), subject.images), subject.expected, f"when fitted twice with {what}")


def immunise(subject: MethodSubject) -> None:
    """A loaded method can be immunised, and scores afterwards."""
    with TemporaryDirectory() as folder:
        method = subject.reloaded(Path(folder))
    train, val = (images.perturbed(_Speckle(), seed=0) for images in (subject.train, subject.val))
    with seeded("check", "immunise"):
        method.immunise(train, val, rng=torch.Generator().manual_seed(0))
    scores, _ = outputs(method, subject.images)
    if scores.shape != subject.expected[0].shape:
        raise PluginError(f"scores after immunise are of shape {tuple(scores.shape)}, expected as before")


def immunisation_stated(subject: MethodSubject) -> None:
    """A method with an `immunise` of its own says in `fine_tuning` how many updates it makes, or that it fits anew."""
    method = subject.make()
    if not method.states_immunisation:
        raise PluginError(
            "immunise() is overridden and fine_tuning() is not, so boards cannot say what it does; return the number "
            "of its updates there, or None if it fits anew"
        )
    updates = method.fine_tuning(len(subject.train))
    if updates is not None and (isinstance(updates, bool) or not isinstance(updates, int) or updates < 1):
        raise PluginError(
            f"fine_tuning returned {updates!r}, expected a number of updates from 1, or None for a new fit"
        )


def two_sources(subject: MethodSubject) -> None:
    """Two sources are enough, real images and those of one model: as many columns, all of them numbers."""
    two = sorted(subject.train.sources, key=lambda name: name != REAL)[:2]
    pair = _with(subject, two)
    splits = Splits(pair.train, pair.val, pair.test)
    if reason := pair.make().skip(_Facts.of(splits)):
        raise UncheckedError(f"it skips such a dataset: {reason}")
    shape(pair)
    finite(pair)


def later_source(subject: MethodSubject) -> None:
    """A loaded method that has a `partial_fit` learns a further source, whose column stands where its name sorts."""
    late, *known = subject.train.sources
    last = f"{known[-1]}-later"
    as_first, as_last = (_scores_with_later(subject, known, late, name) for name in (late, last))
    if torch.allclose(as_first, as_last) and not torch.allclose(as_first, as_last.roll(1, dims=1)):
        raise PluginError(
            f"scores are the same whether the source that arrives later is named {late!r} or {last!r}; "
            "sort the columns by the names of all sources known"
        )


ESSENTIAL = (declared, settings, fit, shape, same_scores_again)
FURTHER = (
    finite,
    input_unchanged,
    batch_invariance,
    order_invariance,
    save_and_load,
    no_labels,
    repeatable_fit,
    immunise,
    immunisation_stated,
    two_sources,
)


class _Speckle(Perturbation):
    """Weak noise, to immunise against."""

    name = "speckle"
    version = 1

    def perturb(self, images: Images, rng: ImageRng) -> Images:
        return to_uint8(images + 4 * rng.normal(images.shape[1:]))


@dataclass(frozen=True)
class _Facts:
    """What a method is told of a dataset."""

    name: str
    source_names: tuple[str, ...]
    image_shape: tuple[int, int, int]
    splits: Mapping[str, int]
    sources: Mapping[str, Mapping[str, Any]]

    @classmethod
    def of(cls, splits: Splits) -> "_Facts":
        train, (_, height, width) = splits.train, splits.train.image_shape
        counts = {split: len(images) for split, images in splits._asdict().items()}
        return cls(train.dataset, train.sources, (3, height, width), counts, {name: {} for name in train.sources})


def _scores_with_later(subject: MethodSubject, known: Sequence[str], late: str, name: str) -> Tensor:
    """Return the test images' scores once the source ``late`` has arrived under another name."""
    with TemporaryDirectory() as folder:  # as in a trial: what learns further was loaded
        method = _with(subject, known).reloaded(Path(folder))
    train, val = (_renamed(images, {late: name}) for images in (subject.train, subject.val))
    with seeded("check", "arrive"):
        method.partial_fit(train, val, rng=torch.Generator().manual_seed(0))
    scores, _ = outputs(method, subject.images)
    _refuse_columns(scores, len(subject.images), sorted([*known, name]))
    return scores


def _with(subject: MethodSubject, sources: Sequence[str]) -> MethodSubject:
    """Return the same method with the images of some sources."""
    names = {name: name for name in sources}
    splits = Splits(*(_renamed(images, names) for images in (subject.train, subject.val, subject.test)))
    return MethodSubject(subject.cls, subject.given, splits)


def _renamed(images: ImageSet, names: Mapping[str, str]) -> ImageSet:
    """Return the images of some sources, each under the name that it is given."""
    sources = sorted(names.values())
    numbers = {images.sources.index(old): sources.index(new) for old, new in names.items()}
    labels = images.labels.cpu().numpy()
    part = images.subset(np.flatnonzero(np.isin(labels, list(numbers))))
    return ImageSet(
        part.images.cpu().numpy(),
        np.array([numbers[label] for label in part.labels.tolist()]),
        sources=sources,
        ids=part.ids,
        groups=part.groups,
        dataset=part.dataset,
        split=part.split,
        device=part.device,
    )


def _refuse_columns(scores: Tensor, n: int, sources: Sequence[str]) -> None:
    """Refuse scores that are anything but float32 of a row per image and a column per source."""
    if scores.shape != (n, len(sources)) or scores.dtype != torch.float32:
        raise PluginError(
            f"scores are {scores.dtype} of shape {tuple(scores.shape)}, expected torch.float32 of shape "
            f"{(n, len(sources))}: one row per image, one column per source ({', '.join(sources)})"
        )


@contextmanager
def _shuffled(images: ImageSet) -> Iterator[None]:
    """Put every label and name of a set to another image, in new arrays: those that ``fit`` has kept stay right."""
    kept = images._labels, images.ids, images.groups
    images._labels, images.ids, images.groups = np.roll(kept[0], 1), kept[1][::-1], kept[2][::-1]
    try:
        yield
    finally:
        images._labels, images.ids, images.groups = kept


def _agree(values: Outputs, expected: Outputs, when: str, tolerance: float = 0.0) -> None:
    """Refuse outputs that differ by more than ``tolerance`` times an image's largest value, or in a clear arg-max."""
    for name, mine, theirs in zip(_OUTPUTS, values, expected, strict=True):
        allowed = tolerance * theirs.abs().amax(dim=1, keepdim=True)
        alike = ((mine - theirs).abs() <= allowed) | (mine == theirs) | (mine.isnan() & theirs.isnan())
        if strange := int((~alike).any(dim=1).sum()):
            most = float((mine - theirs).abs().max())
            raise PluginError(f"{name} of {strange} of {len(mine)} images differ (by up to {most:.2g}) {when}")
    scores, others = values[0], expected[0]
    best = others.topk(2, dim=1).values
    clear = best[:, 0] - best[:, 1] > tolerance * others.abs().amax(dim=1)
    if (clear & (scores.argmax(dim=1) != others.argmax(dim=1))).any():
        raise PluginError(f"the source that is named differs {when}")
