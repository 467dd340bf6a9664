"""A sound method, a sound attack and a sound generator, and what becomes of them when one thing is wrong."""

import socket
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from gfp_bench import (
    SILENT,
    DatasetFacts,
    Generator,
    ImageRng,
    Images,
    ImageSet,
    Method,
    Monitor,
    Perturbation,
    UsageError,
    load_state,
    save_state,
    to_uint8,
)

PER_SOURCE = 3
WHOLE = 3 * PER_SOURCE  # images in a split


class Sound(Method):
    """The source with the nearest mean colour."""

    name = "sound"
    paper = "arXiv:0000.00000"
    version = 1
    stochastic: Any = False

    def __init__(self, scale: float = 1.0) -> None:
        self.scale = scale

    def fit(self, train: ImageSet, val: ImageSet, *, rng: torch.Generator, monitor: Monitor = SILENT) -> None:
        colours, labels = self.fingerprints(train.images), train.labels
        self.means = torch.stack([colours[labels == label].mean(0) for label in range(len(train.sources))])

    def scores(self, images: Images) -> Any:
        return -(self.fingerprints(images)[:, None] - self.means).square().sum(2)

    def fingerprints(self, images: Images) -> Any:
        return images.float().mean((2, 3)) * self.scale


class NoVersion(Sound):
    version = 0


class NoPaper(Sound):
    paper: Any = None


class MaybeStochastic(Sound):
    stochastic = "sometimes"


class NoDefault(Sound):
    def __init__(self, scale: float) -> None: ...


class Untyped(Sound):
    def __init__(self, scale=1.0) -> None: ...  # type: ignore[no-untyped-def]


class Renames(Sound):
    def __init__(self, scale: float = 1.0, size: int = 8) -> None:
        self.scale, self.side = scale, size


class FitRaises(Sound):
    def fit(self, train: ImageSet, val: ImageSet, *, rng: torch.Generator, monitor: Monitor = SILENT) -> None:
        raise ZeroDivisionError("nothing to fit")


class FitExits(Sound):
    def fit(self, train: ImageSet, val: ImageSet, *, rng: torch.Generator, monitor: Monitor = SILENT) -> None:
        raise SystemExit(2)


class OneColumnTooMany(Sound):
    def scores(self, images: Images) -> Any:
        return super().scores(images)[:, [0, 1, 2, 0]]


class DoubleScores(Sound):
    def scores(self, images: Images) -> Any:
        return super().scores(images).double()


class FlatFingerprints(Sound):
    def scores(self, images: Images) -> Any:
        return -(super().fingerprints(images)[:, None] - self.means[None]).square().sum(2)

    def fit(self, train: ImageSet, val: ImageSet, *, rng: torch.Generator, monitor: Monitor = SILENT) -> None:
        self.means = torch.zeros(3, 3)

    def fingerprints(self, images: Images) -> Any:
        return super().fingerprints(images)[:, 0]


class NoTensor(Sound):
    def scores(self, images: Images) -> Any:
        return super().scores(images).numpy()


class DrawsInScores(Sound):
    def scores(self, images: Images) -> Any:
        return torch.dropout(super().scores(images), 0.5, train=True)


class NotANumber(Sound):
    def scores(self, images: Images) -> Any:
        scores = super().scores(images)
        return scores.where(scores != scores.amax(1, keepdim=True), torch.nan)


class InfiniteFingerprints(Sound):
    def scores(self, images: Images) -> Any:
        return super().scores(images).nan_to_num()

    def fingerprints(self, images: Images) -> Any:
        return super().fingerprints(images).where(images.float().mean((2, 3)) < 128, torch.inf)


class WritesToImages(Sound):
    def scores(self, images: Images) -> Any:
        scores = super().scores(images)
        images.bitwise_not_()
        return scores


class NormalisesBatches(Sound):
    def fingerprints(self, images: Images) -> Any:
        colours = super().fingerprints(images)
        return colours - colours.mean(0)


class ReadsTheImageBefore(Sound):
    """What came before an image counts; batches in the order of the whole set show nothing of it."""

    last = torch.zeros(1, 3)

    def fingerprints(self, images: Images) -> Any:
        colours = super().fingerprints(images)
        before = colours[-1:] if len(colours) == WHOLE else ReadsTheImageBefore.last
        ReadsTheImageBefore.last = colours[-1:]
        return colours + 0.1 * torch.cat([before, colours[:-1]])

    def scores(self, images: Images) -> Any:
        return -(super().fingerprints(images)[:, None] - self.means).square().sum(2)


class SavesRounded(Sound):
    def save(self, folder: Path) -> None:
        save_state(folder / "state.safetensors", {"means": self.means.half().float()})

    def load(self, folder: Path, *, device: torch.device | str = "cpu") -> None:
        self.means = load_state(folder / "state.safetensors")["means"]


class Pickles(Sound):
    def save(self, folder: Path) -> None:
        torch.save(self.means, folder / "means.pt")

    def load(self, folder: Path, *, device: torch.device | str = "cpu") -> None:
        self.means = torch.load(folder / "means.pt")


class SavesNothing(Sound):
    def save(self, folder: Path) -> None: ...

    def load(self, folder: Path, *, device: torch.device | str = "cpu") -> None: ...


class KeepsTheLabels(Sound):
    kept: Any = None

    def fit(self, train: ImageSet, val: ImageSet, *, rng: torch.Generator, monitor: Monitor = SILENT) -> None:
        super().fit(train, val, rng=rng)
        KeepsTheLabels.kept = train

    def scores(self, images: Images) -> Any:
        return super().scores(images) + self.kept.labels[0]


class KeepsTheIds(KeepsTheLabels):
    def scores(self, images: Images) -> Any:
        return Sound.scores(self, images) + len(set(KeepsTheLabels.kept.ids[0]) & {"0", "3"})


class SeedsItself(Sound):
    stochastic = True

    def fit(self, train: ImageSet, val: ImageSet, *, rng: torch.Generator, monitor: Monitor = SILENT) -> None:
        super().fit(train, val, rng=rng)
        self.means += torch.from_numpy(np.random.default_rng().normal(size=3)).float()


class HidesItsSeed(Sound):
    def fit(self, train: ImageSet, val: ImageSet, *, rng: torch.Generator, monitor: Monitor = SILENT) -> None:
        super().fit(train, val, rng=rng)
        self.means += torch.rand(3, generator=rng)


class CannotImmunise(Sound):
    def immunise(self, train: ImageSet, val: ImageSet, *, rng: torch.Generator, monitor: Monitor = SILENT) -> None:
        raise RuntimeError("no")

    def fine_tuning(self, train_images: int) -> int:
        return 1


class FineTunesInSilence(Sound):
    def immunise(self, train: ImageSet, val: ImageSet, *, rng: torch.Generator, monitor: Monitor = SILENT) -> None:
        super().immunise(train, val, rng=rng)


class MakesNoUpdate(FineTunesInSilence):
    def fine_tuning(self, train_images: int) -> int:
        return 0


class RefitsInItsOwnWay(FineTunesInSilence):
    def fine_tuning(self, train_images: int) -> None:
        return None


class OneColumnForTwo(Sound):
    """As a classifier does whose decision between two is one number."""

    def scores(self, images: Images) -> Any:
        scores = super().scores(images)
        return scores[:, 1:] - scores[:, :1] if scores.shape[1] == 2 else scores


class DividesByTheThird(Sound):
    def scores(self, images: Images) -> Any:
        scores = super().scores(images)
        return scores / (scores.shape[1] - 2)


class SkipsPairs(OneColumnForTwo):
    def skip(self, dataset: DatasetFacts) -> str | None:
        two = len(dataset.source_names) == 2 and dataset.splits == {"train": 6, "val": 6, "test": 6}
        return f"{dataset.name} has {' and '.join(dataset.source_names)} alone" if two else None


class AsksTheNetwork(Sound):
    def fit(self, train: ImageSet, val: ImageSet, *, rng: torch.Generator, monitor: Monitor = SILENT) -> None:
        super().fit(train, val, rng=rng)
        with suppress(OSError):
            socket.create_connection(("weights.invalid", 443))


class ConnectsByNumber(Sound):
    def fit(self, train: ImageSet, val: ImageSet, *, rng: torch.Generator, monitor: Monitor = SILENT) -> None:
        super().fit(train, val, rng=rng)
        with suppress(OSError), socket.socket() as connection:
            connection.connect(("192.0.2.1", 443))


class Learns(Sound):
    """Learns sources one after another."""

    def fit(self, train: ImageSet, val: ImageSet, *, rng: torch.Generator, monitor: Monitor = SILENT) -> None:
        self.names: list[str] = []
        self.means = torch.empty(0, 3)
        self.partial_fit(train, val, rng=rng)

    def partial_fit(self, train: ImageSet, val: ImageSet, *, rng: torch.Generator, monitor: Monitor = SILENT) -> None:
        known = dict(zip(self.names, self.means, strict=False))
        super().fit(train, val, rng=rng)
        known |= dict(zip(train.sources, self.means, strict=True))
        self.names = self.ordered(known)
        self.means = torch.stack([known[name] for name in self.names])

    def ordered(self, known: dict[str, torch.Tensor]) -> list[str]:
        return sorted(known)


class AppendsColumns(Learns):
    def ordered(self, known: dict[str, torch.Tensor]) -> list[str]:
        return list(known)


class ForgetsSources(Learns):
    def partial_fit(self, train: ImageSet, val: ImageSet, *, rng: torch.Generator, monitor: Monitor = SILENT) -> None:
        self.names = []
        super().partial_fit(train, val, rng=rng)


BROKEN_METHODS: list[tuple[type[Method], set[str], str]] = [
    (NoVersion, {"declared"}, "'sound' has the version 0"),
    (NoPaper, {"declared"}, "paper is None, expected str"),
    (MaybeStochastic, {"declared"}, "stochastic is 'sometimes', expected bool"),
    (NoDefault, {"settings"}, "'scale' of 'sound' has no default"),
    (Untyped, {"settings"}, "'scale' of 'sound' has no annotation"),
    (Renames, {"settings"}, "write self.size = size"),
    (FitRaises, {"fit"}, "ZeroDivisionError: nothing to fit"),
    (FitExits, {"fit"}, "SystemExit: 2"),
    (OneColumnTooMany, {"shape"}, "(9, 4), expected torch.float32 of shape (9, 3)"),
    (DoubleScores, {"shape"}, "scores are torch.float64"),
    (FlatFingerprints, {"shape"}, "fingerprints are torch.float32 of shape (9,)"),
    (NoTensor, {"shape"}, "TypeError"),
    (DrawsInScores, {"same scores again"}, "scoring must not draw"),
    (NotANumber, {"finite", "two sources"}, "scores of 6 of 6 images are not finite"),
    (InfiniteFingerprints, {"finite", "two sources"}, "fingerprints of"),
    (WritesToImages, {"input unchanged"}, "scores changed the images"),
    (NormalisesBatches, {"batch invariance"}, "between batches of 1 and all at once"),
    (ReadsTheImageBefore, {"order invariance"}, "fingerprints of 9 of 9 images differ"),
    (SavesRounded, {"save and load"}, "after save and load"),
    (Pickles, {"save and load"}, "'means.pt', expected .safetensors"),
    (SavesNothing, {"save and load"}, "no attribute 'means'"),
    (KeepsTheLabels, {"no labels"}, "once the training labels and ids are shuffled"),
    (KeepsTheIds, {"no labels"}, "once the training labels and ids are shuffled"),
    (SeedsItself, {"repeatable fit"}, "when fitted twice with one seed"),
    (HidesItsSeed, {"repeatable fit"}, "when fitted twice with two seeds, though stochastic is False"),
    (CannotImmunise, {"immunise"}, "RuntimeError: no"),
    (FineTunesInSilence, {"immunisation stated"}, "immunise() is overridden and fine_tuning() is not"),
    (MakesNoUpdate, {"immunisation stated"}, "fine_tuning returned 0, expected a number of updates from 1, or None"),
    (AppendsColumns, {"later source"}, "sort the columns by the names"),
    (ForgetsSources, {"later source"}, "shape (9, 1), expected torch.float32 of shape (9, 3)"),
    (OneColumnForTwo, {"two sources"}, "(6, 1), expected torch.float32 of shape (6, 2)"),
    (DividesByTheThird, {"two sources"}, "scores of 6 of 6 images are not finite"),
    (AsksTheNetwork, {"no network"}, "weights.invalid:443"),
    (ConnectsByNumber, {"no network"}, "192.0.2.1:443"),
]


class Grain(Perturbation):
    name = "grain"
    version = 1

    def __init__(self, strength: float = 9.0) -> None:
        self.strength = strength

    def perturb(self, images: Images, rng: ImageRng) -> Any:
        level = rng.uniform(0, self.strength)[:, None, None, None]
        return to_uint8(images + level * rng.normal(images.shape[1:]))


class Versionless(Grain):
    version: Any = None


class Forgets(Grain):
    def __init__(self, strength: float = 9.0, low: float = 1.0) -> None:
        self.strength = strength


class Crops(Grain):
    def perturb(self, images: Images, rng: ImageRng) -> Any:
        return super().perturb(images, rng)[:, :, 1:]


class Floats(Grain):
    def perturb(self, images: Images, rng: ImageRng) -> Any:
        return super().perturb(images, rng).float()


class DrawsElsewhere(Grain):
    def perturb(self, images: Images, rng: ImageRng) -> Any:
        return to_uint8(images + 9 * torch.randn(images.shape))


class WorksInPlace(Grain):
    def perturb(self, images: Images, rng: ImageRng) -> Any:
        return images.copy_(super().perturb(images, rng))


class OneStrengthABatch(Grain):
    def perturb(self, images: Images, rng: ImageRng) -> Any:
        return to_uint8(images + rng.uniform(0, self.strength).max())


class CountsImages(Grain):
    def perturb(self, images: Images, rng: ImageRng) -> Any:
        return to_uint8(images + torch.arange(len(images))[:, None, None, None])


class AsksForACodec(Grain):
    def perturb(self, images: Images, rng: ImageRng) -> Any:
        with suppress(OSError):
            socket.getaddrinfo("codecs.invalid", 80)
        return super().perturb(images, rng)


BROKEN_ATTACKS: list[tuple[type[Perturbation], set[str], str]] = [
    (Versionless, {"declared"}, "'grain' has the version None"),
    (Forgets, {"settings"}, "write self.low = low"),
    (Crops, {"shape kept"}, "(72, 3, 15, 16) on cpu, expected torch.uint8 of shape (72, 3, 16, 16)"),
    (Floats, {"shape kept"}, ""),  # the tests' type checks speak first
    (DrawsElsewhere, {"same images again"}, "draw from rng only"),
    (WorksInPlace, {"images unchanged"}, "work on a copy"),
    (OneStrengthABatch, {"own parameters"}, "between batches of 1 and all at once"),
    (CountsImages, {"own parameters", "any order"}, "differ when the order is reversed"),
    (AsksForACodec, {"no network"}, "codecs.invalid:80"),
]


class Paint(Generator):
    """Noise about a level that is thrown in training."""

    name = "paint"
    paper: Any = ""
    version = 1
    metadata: ClassVar[dict[str, str]] = dict.fromkeys(
        ("family", "loss", "upsampling", "downsampling", "normalisation", "nonlinearity", "skips"), "none"
    )

    def train(self, pool: Images, *, steps: int, rng: torch.Generator, monitor: Monitor = SILENT) -> None:
        self.side = pool.shape[-1]
        state = monitor.restored() or {"step": 0, "level": torch.zeros(3), "pace": torch.ones(3)}
        while state["step"] < steps:
            state["pace"] = state["pace"] + self.throw(rng)
            state["level"] = state["level"] + state["pace"]
            state["step"] += 1
            self.level = state["level"]
            monitor.checkpoint(self.kept(state))
            monitor.preview(state["step"], lambda: self.sample(2, rng=self.stream(rng)))
            monitor.progress(state["step"], steps)
        self.level = state["level"]

    def throw(self, rng: torch.Generator) -> torch.Tensor:
        return torch.rand(3, generator=rng)

    def kept(self, state: dict[str, Any]) -> Any:
        return state

    def stream(self, rng: torch.Generator) -> torch.Generator:
        return torch.Generator().manual_seed(0)

    def sample(self, n: int, *, rng: torch.Generator) -> Any:
        noise = 100 * torch.rand(n, 3, self.side, self.side, generator=rng)
        return to_uint8(noise + self.level[:, None, None])

    def save(self, folder: Path) -> None:
        save_state(folder / "paint.safetensors", {"level": self.level, "side": self.side})

    def load(self, folder: Path, *, device: torch.device | str = "cpu") -> None:
        state = load_state(folder / "paint.safetensors")
        self.level, self.side = state["level"], state["side"]


class Published(Paint):
    """Comes trained."""

    def __init__(self, path: str = "") -> None:
        self.path = path

    def train(self, pool: Images, *, steps: int, rng: torch.Generator, monitor: Monitor = SILENT) -> None:
        raise UsageError("it is not trained here")


class PublishedWithoutStream(Published):
    def sample(self, n: int, *, rng: torch.Generator) -> Any:
        return super().sample(n, rng=torch.Generator().manual_seed(0))


class Unpublished(Paint):
    paper = None


class LacksFactors(Paint):
    metadata: ClassVar[dict[str, str]] = {"family": "paint"}


class TrainRaises(Paint):
    def throw(self, rng: torch.Generator) -> torch.Tensor:
        raise ZeroDivisionError("nothing to throw")


class KeepsObjects(Paint):
    def kept(self, state: dict[str, Any]) -> Any:
        return {"state": object()}


class RoundsUp(Paint):
    def sample(self, n: int, *, rng: torch.Generator) -> Any:
        return super().sample(n + n % 2, rng=rng)


class AlwaysLarge(Paint):
    def sample(self, n: int, *, rng: torch.Generator) -> Any:
        return super().sample(n, rng=rng).repeat(1, 1, 2, 2)


class Whole(Paint):
    def sample(self, n: int, *, rng: torch.Generator) -> Any:
        return super().sample(n, rng=rng).int()


class SeedsItsSamples(Paint):
    def sample(self, n: int, *, rng: torch.Generator) -> Any:
        return super().sample(n, rng=torch.Generator().manual_seed(int(np.random.default_rng().integers(2**32))))


class IgnoresItsSeed(Paint):
    def sample(self, n: int, *, rng: torch.Generator) -> Any:
        return super().sample(n, rng=torch.Generator().manual_seed(0))


class AddsGlobalNoise(Paint):
    def sample(self, n: int, *, rng: torch.Generator) -> Any:
        return super().sample(n, rng=rng) + torch.randint(9, (n, 3, 1, 1), dtype=torch.uint8)


class WritesToPool(Paint):
    def train(self, pool: Images, *, steps: int, rng: torch.Generator, monitor: Monitor = SILENT) -> None:
        super().train(pool, steps=steps, rng=rng, monitor=monitor)
        pool.bitwise_not_()


class ThrowsGlobally(Paint):
    def throw(self, rng: torch.Generator) -> torch.Tensor:
        return torch.rand(3)


class ThrowsALittleGlobally(Paint):
    def throw(self, rng: torch.Generator) -> torch.Tensor:
        return super().throw(rng) + 1e-6 * torch.rand(3)


class PreviewsFromTheStream(Paint):
    def stream(self, rng: torch.Generator) -> torch.Generator:
        return rng


class ForgetsItsPace(Paint):
    def kept(self, state: dict[str, Any]) -> Any:
        return {**state, "pace": torch.ones(3)}


class SavesWhole(Paint):
    def save(self, folder: Path) -> None:
        save_state(folder / "paint.safetensors", {"level": self.level.round(), "side": self.side})


class PicklesPaint(Paint):
    def save(self, folder: Path) -> None:
        torch.save((self.level, self.side), folder / "paint")

    def load(self, folder: Path, *, device: torch.device | str = "cpu") -> None:
        self.level, self.side = torch.load(folder / "paint")


class AsksForWeights(Paint):
    def sample(self, n: int, *, rng: torch.Generator) -> Any:
        with suppress(OSError):
            socket.getaddrinfo("weights.invalid", 80)
        return super().sample(n, rng=rng)


BROKEN_GENERATORS: list[tuple[type[Generator], set[str], str]] = [
    (Unpublished, {"declared"}, "paper is None, expected str"),
    (LacksFactors, {"declared"}, "expected a dict with text for each of family, loss"),
    (TrainRaises, {"training"}, "ZeroDivisionError: nothing to throw"),
    (KeepsObjects, {"training"}, "state at /state is object"),
    (
        RoundsUp,
        {"samples"},
        "of shape (6, 3, 8, 8), expected torch.uint8 of shape (5, 3, 8, 8)",
    ),
    (AlwaysLarge, {"samples"}, "of shape (5, 3, 16, 16), expected torch.uint8 of shape (5, 3, 8, 8)"),
    (Whole, {"samples"}, ""),  # the tests' type checks speak first
    (SeedsItsSamples, {"same samples again"}, "5 of 5 samples differ when drawn twice with one seed"),
    (IgnoresItsSeed, {"other samples"}, "two seeds give the same samples"),
    (AddsGlobalNoise, {"nothing global"}, "samples differ with the global random state"),
    (WritesToPool, {"pool unchanged"}, "work on a copy"),
    (ThrowsGlobally, {"repeatable training", "killed training"}, "taken up from there"),
    (ThrowsALittleGlobally, {"repeatable training", "killed training"}, "1 of 1 saved tensors differ"),
    (PreviewsFromTheStream, {"previews"}, "once previews are drawn"),
    (ForgetsItsPace, {"killed training"}, "when killed after checkpoint 1"),
    (SavesWhole, {"save and load"}, "samples differ after save and load"),
    (PicklesPaint, {"save and load"}, "save wrote 'paint', expected .safetensors"),
    (AsksForWeights, {"no network"}, "weights.invalid:80"),
]
