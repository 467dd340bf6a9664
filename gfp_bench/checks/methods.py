"""What every method must hold."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from gfp_bench.checks.candidate import Subject, refuse_pickle, settings
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
        return self.fitted_to(self.train, self.val, seed)

    def fitted_to(self, train: ImageSet, val: ImageSet, seed: int = 0) -> Method:
        """Return a new instance, fitted to some images."""
        method = self.make()
        with seeded("check", f"fit {seed}"):  # as in a trial: layers and scikit-learn draw from the global state
            method.fit(train, val, rng=torch.Generator().manual_seed(seed))
        return method

    def reloaded(self, folder: Path, method: Method | None = None) -> Method:
        """Return a new instance with the fitted state, ours by default, as it comes back from an empty folder."""
        loaded = self.make()
        (method or self.method).save(folder)
        loaded.load(folder, device=self.test.device)
        return loaded


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


def two_sources(subject: MethodSubject) -> None:
    """Of two sources, one of which is real where the images have it, each has its column."""
    names = subject.train.sources
    first = REAL if REAL in names else names[0]
    two = sorted((first, next(name for name in names if name != first)))
    parts = (subject.train, subject.val, subject.test)
    train, val, test = (_renamed(part, {name: name for name in two}) for part in parts)
    splits = {part.split: len(part) for part in (train, val, test)}
    facts = _Facts(train.dataset, train.sources, (3, *train.image_shape[1:]), splits, {name: {} for name in two})
    if reason := subject.make().skip(facts):
        raise UncheckedError(f"it skips {' and '.join(two)}: {reason}")
    scores, _ = outputs(subject.fitted_to(train, val), test.images)
    _refuse_columns(scores, len(test), two)


def later_source(subject: MethodSubject) -> None:
    """A loaded method that has a `partial_fit` learns a further source, whose column stands where its name sorts."""
    late, *known = subject.train.sources
    first, last = (_with_later(subject, known, late, name) for name in (late, f"{known[-1]}-later"))
    if torch.allclose(first, last) and not torch.allclose(first, first.roll(-1, 1)):
        raise PluginError(
            f"scores are the same whether the source that arrives later is named {late!r} or '{known[-1]}-later'; "
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
    two_sources,
)


class _Facts(NamedTuple):
    """What a method is told of a dataset."""

    name: str
    source_names: tuple[str, ...]
    image_shape: tuple[int, int, int]
    splits: Mapping[str, int]
    sources: Mapping[str, Mapping[str, Any]]


class _Speckle(Perturbation):
    """Weak noise, to immunise against."""

    name = "speckle"
    version = 1

    def perturb(self, images: Images, rng: ImageRng) -> Images:
        return to_uint8(images + 4 * rng.normal(images.shape[1:]))


def _with_later(subject: MethodSubject, known: list[str], late: str, name: str) -> Tensor:
    """Return the test images' scores once the source ``late`` has arrived under another name."""
    train, val = (_renamed(part, {name: name for name in known}) for part in (subject.train, subject.val))
    with TemporaryDirectory() as folder:  # as in a trial: what learns further was loaded
        method = subject.reloaded(Path(folder), subject.fitted_to(train, val))
    train, val = (_renamed(part, {late: name}) for part in (subject.train, subject.val))
    with seeded("check", "arrive"):
        method.partial_fit(train, val, rng=torch.Generator().manual_seed(0))
    scores, _ = outputs(method, subject.images)
    _refuse_columns(scores, len(subject.images), sorted([*known, name]))
    return scores


def _renamed(images: ImageSet, names: Mapping[str, str]) -> ImageSet:
    """Return the images of some sources under other names, which their labels index in sorted order."""
    chosen = [index for index, label in enumerate(images.labels) if images.sources[label] in names]
    sources = sorted(names.values())
    return ImageSet(
        images.subset(chosen).images.cpu().numpy(),
        np.array([sources.index(names[images.sources[images.labels[index]]]) for index in chosen]),
        sources=sources,
        ids=[images.ids[index] for index in chosen],
        groups=[images.groups[index] for index in chosen],
        dataset=images.dataset,
        split=images.split,
        device=images.device,
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
