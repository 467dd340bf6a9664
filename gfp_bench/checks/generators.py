"""What every generator must hold."""

from collections.abc import Callable
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import torch
from safetensors.torch import load_file
from torch import Tensor

from gfp_bench.checks.candidate import Subject, refuse_pickle, settings
from gfp_bench.checks.candidate import declared as declared_at_all
from gfp_bench.checks.findings import UncheckedError
from gfp_bench.contracts.generator import Generator
from gfp_bench.contracts.monitor import Monitor
from gfp_bench.contracts.settings import resolved_settings
from gfp_bench.contracts.state import State, load_state, save_state
from gfp_bench.contracts.types import Images
from gfp_bench.errors import PluginError, UsageError
from gfp_bench.seeding import seeded

_STEPS = 4  # enough for a training in stages
_SAMPLES = 5
_FACTORS = ("family", "loss", "upsampling", "downsampling", "normalisation", "nonlinearity", "skips")


class Kept(NamedTuple):
    """A checkpoint as it comes back from its file, and the training's random stream at that moment."""

    state: State
    stream: Tensor


class Watcher(Monitor):
    """Keeps every checkpoint, lets a training go on from one, and may ask for previews."""

    def __init__(self, rng: torch.Generator, begin: Kept | None = None, *, looks: bool = False) -> None:
        self.rng, self.begin, self.looks = rng, begin, looks
        self.kept: list[Kept] = []
        self.previews = 0

    def checkpoint(self, state: State) -> None:
        with TemporaryDirectory() as folder:
            save_state(Path(folder) / "checkpoint.safetensors", state)
            self.kept.append(Kept(load_state(Path(folder) / "checkpoint.safetensors"), self.rng.get_state()))

    def restored(self) -> State:
        if self.begin is None:
            return None
        self.rng.set_state(self.begin.stream)
        return self.begin.state

    def preview(self, step: int, draw: Callable[[], Images]) -> None:
        if self.looks:
            draw()
            self.previews += 1


class Training(NamedTuple):
    """A generator that was trained, its monitor, and its pool as it was left."""

    generator: Generator
    watcher: Watcher
    pool: Images


class GeneratorSubject(Subject[Generator]):
    """A generator, trained when first asked for."""

    @cached_property
    def training(self) -> Training:
        """The first training, undisturbed.

        Raises:
            UncheckedError: If the generator comes trained.
        """
        try:
            return self.trained()
        except UsageError as error:
            if "path" not in resolved_settings(self.cls, self.given):
                raise
            raise UncheckedError(f"it comes trained: {error}") from error

    @cached_property
    def generator(self) -> Generator:
        """The generator as trained here, or as it lies in its ``path``.

        Raises:
            UncheckedError: If it comes trained but no path says where it lies.
        """
        with suppress(UncheckedError):
            return self.training.generator
        path = resolved_settings(self.cls, self.given)["path"]
        if not path:
            raise UncheckedError(f"it comes trained; say where one lies: {self.cls.name}[path=...]")
        generator = self.make()
        generator.load(Path(str(path)))
        return generator

    @cached_property
    def expected(self) -> Images:
        """Samples of the first seed."""
        return self.samples()

    def trained(self, begin: Kept | None = None, *, seed: int = 0, looks: bool = False) -> Training:
        """Train a new instance, from a checkpoint on if one is given.

        Args:
            begin: The checkpoint.
            seed: Of the global streams; the training's own is always the same.
            looks: Whether previews are asked for.
        """
        generator, pool, rng = self.make(), self.train.images, torch.Generator().manual_seed(0)
        watcher = Watcher(rng, begin, looks=looks)
        with seeded("check", f"train {seed}"):
            generator.train(pool, steps=_STEPS, rng=rng, monitor=watcher)
        return Training(generator, watcher, pool)

    def samples(self, n: int = _SAMPLES, *, seed: int = 0, elsewhere: int = 0) -> Images:
        """Return n samples of a seed; ``elsewhere`` seeds the global streams."""
        return drawn(self.generator, n, seed, elsewhere)


def drawn(generator: Generator, n: int = _SAMPLES, seed: int = 0, elsewhere: int = 0) -> Images:
    """Return n samples of a seed; ``elsewhere`` seeds the global streams."""
    with seeded("check", f"sample {elsewhere}"):
        return generator.sample(n, rng=torch.Generator().manual_seed(seed))


def declared(subject: GeneratorSubject) -> None:
    """The class says what it is, where it was published and which factors may shape its fingerprints."""
    declared_at_all(subject)
    cls = subject.cls
    if not isinstance(getattr(cls, "paper", None), str):
        raise PluginError(f"paper is {getattr(cls, 'paper', 'not set')!r}, expected str")
    metadata = getattr(cls, "metadata", None)
    if not isinstance(metadata, dict) or not all(isinstance(metadata.get(factor), str) for factor in _FACTORS):
        raise PluginError(f"metadata is {metadata!r}, expected a dict with text for each of {', '.join(_FACTORS)}")


def training(subject: GeneratorSubject) -> None:
    """A short training works, and its checkpoints can be kept."""
    assert subject.training  # noqa: S101 - trains


def samples(subject: GeneratorSubject) -> None:
    """Samples are uint8 (n, 3, h, w), as many as asked for and of the pool's size."""
    for n in (_SAMPLES, 1):
        images = subject.samples(n)
        size = tuple(images.shape[-2:])  # one that comes trained has its own
        with suppress(UncheckedError):
            size = tuple(subject.training.pool.shape[2:])
        if images.dtype != torch.uint8 or images.shape != (n, 3, *size):
            raise PluginError(
                f"{n} samples are {images.dtype} of shape {tuple(images.shape)}, expected torch.uint8 of shape "
                f"({', '.join(map(str, (n, 3, *size)))}): as many as asked for, of the pool's size"
            )


def same_samples_again(subject: GeneratorSubject) -> None:
    """A seed gives the same samples every time."""
    _same(subject.samples(), subject.expected, "when drawn twice with one seed; draw from rng only")


def other_samples(subject: GeneratorSubject) -> None:
    """Other seeds give other samples."""
    if subject.samples(seed=1).equal(subject.expected):
        raise PluginError("two seeds give the same samples; draw from rng")


def nothing_global(subject: GeneratorSubject) -> None:
    """Samples do not depend on the global random state."""
    _same(subject.samples(elsewhere=1), subject.expected, "with the global random state; draw from rng only")


def pool_unchanged(subject: GeneratorSubject) -> None:
    """Training leaves the pool as it was."""
    if not subject.training.pool.equal(subject.train.images):
        raise PluginError("train changed the pool it was given; work on a copy")


def repeatable_training(subject: GeneratorSubject) -> None:
    """All randomness of a training comes from ``rng``."""
    first, again = subject.training, subject.trained(seed=1)
    _same_training(again, first, "when trained twice with one seed; draw from rng only")


def previews(subject: GeneratorSubject) -> None:
    """Previews leave no trace in a training."""
    unseen, seen = subject.training, subject.trained(looks=True)
    if not seen.watcher.previews:
        raise UncheckedError("it offers no previews")
    _same_training(seen, unseen, "once previews are drawn; draw them from a stream and networks of their own")


def killed_training(subject: GeneratorSubject) -> None:
    """A training that was killed goes on from any checkpoint, and ends as an undisturbed one."""
    whole = subject.training
    if not whole.watcher.kept:
        raise UncheckedError("it offers no checkpoints, so a killed training begins anew")
    for number, kept in enumerate(whole.watcher.kept, 1):
        _same_training(subject.trained(kept), whole, f"when killed after checkpoint {number} and taken up from there")


def save_and_load(subject: GeneratorSubject) -> None:
    """A generator that was saved and loaded draws the same samples, to the bit; no pickle is involved."""
    with TemporaryDirectory() as folder:
        subject.generator.save(Path(folder))
        loaded = subject.make()
        loaded.load(Path(folder))
        _same(drawn(loaded), subject.expected, "after save and load")
        refuse_pickle(Path(folder))


ESSENTIAL = (declared, settings, training, samples, same_samples_again)
FURTHER = (
    other_samples,
    nothing_global,
    pool_unchanged,
    repeatable_training,
    previews,
    killed_training,
    save_and_load,
)


def _same_training(found: Training, expected: Training, when: str) -> None:
    """Refuse a training that came to other samples or, as few steps may change none, to other weights."""
    _same(drawn(found.generator), drawn(expected.generator), when)
    mine, theirs = _weights(found.generator), _weights(expected.generator)
    if strange := [name for name in sorted({*mine, *theirs}) if not _alike(mine.get(name), theirs.get(name))]:
        raise PluginError(f"{len(strange)} of {len(theirs)} saved tensors differ, among them {strange[0]}, {when}")


def _weights(generator: Generator) -> dict[str, Tensor]:
    """Return the tensors that a generator saves as safetensors."""
    with TemporaryDirectory() as folder:
        generator.save(Path(folder))
        files = sorted(Path(folder).rglob("*.safetensors"))
        return {f"{file.name} {name}": tensor for file in files for name, tensor in load_file(file).items()}


def _alike(mine: Tensor | None, theirs: Tensor | None) -> bool:
    return mine is not None and theirs is not None and torch.equal(mine, theirs)


def _same(images: Images, expected: Images, when: str) -> None:
    if images.shape != expected.shape:
        raise PluginError(f"samples are of shape {tuple(images.shape)}, not {tuple(expected.shape)}, {when}")
    if strange := int((images != expected).flatten(1).any(dim=1).sum()):
        raise PluginError(f"{strange} of {len(expected)} samples differ {when}")
