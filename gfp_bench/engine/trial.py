"""Execute one trial, in the process that it has for itself; the only caller of methods and attacks."""

import os
import platform
import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from gfp_bench.contracts.attack import Perturbation
from gfp_bench.contracts.images import ImageSet
from gfp_bench.contracts.method import Method
from gfp_bench.contracts.rng import ImageRng
from gfp_bench.contracts.types import Images
from gfp_bench.data.dataset import Dataset, load_dataset
from gfp_bench.engine.monitor import TrialMonitor
from gfp_bench.engine.plan import Attack, Cell, Trial
from gfp_bench.engine.records import Record, Store, pack_scores
from gfp_bench.errors import PluginError
from gfp_bench.machine import keep_freed_memory
from gfp_bench.metrics.separability import LIMIT, PERMUTATIONS, separability
from gfp_bench.protocols.protocol import Protocol
from gfp_bench.registry.discovery import Plugins, load_plugins
from gfp_bench.seeding import seed_of, seeded
from gfp_bench.tasks import load_task

Send = Callable[[tuple[Any, ...]], None]


@dataclass(frozen=True)
class Job:
    """A trial with all that its process needs to know.

    Attributes:
        trial: What to execute.
        base: The clean trial whose fitted state an immunised one starts from.
        protocol: The recipe.
        manifest: The dataset's manifest file.
        cache: Where decoded images lie.
        results: The results folder.
        device: ``cpu`` or ``cuda:<n>``.
        limit: Images a source and split, or None.
        plugin_files: Single-file plugins.
        memory: Bytes that a trial on the CPU may allocate, or None.
        checkpoint_every: Seconds between two kept checkpoints.
        revision: The code's git revision and whether it was changed, for the record.
    """

    trial: Trial
    base: Trial | None
    protocol: Protocol
    manifest: Path
    cache: Path
    results: Path
    device: str
    limit: int | None
    plugin_files: tuple[Path, ...]
    memory: int | None
    checkpoint_every: float
    revision: dict[str, Any]


def execute(job: Job, send: Send) -> None:
    """Fit, if there is no fitted state yet, and score the pending cells.

    What happens is sent as tuples: ("stake", cell keys) before each step that can fail, ("progress", step, total,
    values), ("done", cell key), ("timing", seconds by step).
    """
    keep_freed_memory()
    torch.set_num_threads(1)  # sums depend on how they are split: one thread everywhere, one trial a core
    torch.backends.cudnn.benchmark = False
    if job.device != "cpu":  # with one thread a CPU has no order to vary
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(mode=True, warn_only=True)
    with threadpool_limits(1):
        store = Store(job.results)
        pending = store.pending(job.trial)
        send(("stake", [cell.key for cell in pending]))
        clock = _Clock()
        plugins = load_plugins(job.plugin_files)
        data = load_dataset(job.manifest, cache=job.cache)
        work = _Work(job, store, plugins, data, clock, send)
        if not store.path(job.trial, "state").exists():
            work.fit()
        for cell in pending:
            send(("stake", [cell.key]))
            work.score(cell)
            send(("done", cell.key))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        gpu = torch.cuda.max_memory_allocated() if job.device != "cpu" else 0
        send(("timing", clock.seconds | {"peak_memory": peak, "peak_gpu_memory": gpu}))


class _Clock:
    """Seconds spent inside plugins, by step."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._running = False

    @contextmanager
    def __call__(self, step: str) -> Iterator[None]:
        if self._running:  # an attack inside a fit is the fit's time
            yield
            return
        started, self._running = time.perf_counter(), True
        try:
            yield
        finally:
            self._running = False
            self.seconds[step] = self.seconds.get(step, 0.0) + time.perf_counter() - started


@dataclass
class _Work:
    job: Job
    store: Store
    plugins: Plugins
    data: Dataset
    clock: _Clock
    send: Send

    def __post_init__(self) -> None:
        self.monitor = TrialMonitor(self.store.path(self.job.trial, "checkpoint"), self.send, self.job.checkpoint_every)
        self._loaded: Method | None = None

    def fit(self) -> None:
        """Fit or immunise, and keep the state: scores always come from a state that was saved and loaded."""
        trial = self.job.trial
        train, val = self._split("train"), self._split("val")
        method = self._method()
        rng = torch.Generator().manual_seed(seed_of(trial.key, "fit"))
        fit, base = method.fit, self.job.base
        if trial.condition and base:
            attack = self._attack(trial.condition)
            train, val = (images.perturbed(attack, seed=self.job.protocol.attack_seed) for images in (train, val))
            method.load(self.store.path(base, "state"), device=self.job.device)
            fit = method.immunise
        self.monitor.watch(rng, train, val)
        self.store.folder(trial).mkdir(parents=True, exist_ok=True)
        with seeded(trial.key, "global fit"), self.clock("fit"):
            fit(train, val, rng=rng, monitor=self.monitor)
        self._keep(method)

    def score(self, cell: Cell) -> None:
        """Score all test images of a cell and keep its record."""
        test = self._split("test")
        labels = test.labels.cpu().numpy()
        drawn = _first_of_each(labels, LIMIT)
        if cell.attack:
            test = test.perturbed(self._attack(cell.attack), seed=self.job.protocol.attack_seed)
        scores = np.empty((len(test), len(test.sources)), dtype=np.float32)
        features = []
        start = 0
        for batch, _ in test.batches(self.job.protocol.batch_size):
            stop = start + len(batch)
            with seeded(self.job.trial.key, f"global {cell.key} {start}"):
                scores[start:stop] = self._scores(batch, len(test.sources))
                chosen = drawn[start:stop]
                if chosen.any():
                    features.append(self._fingerprints(batch[torch.from_numpy(chosen).to(batch.device)]))
            start = stop
        self._record(cell, scores, labels, np.concatenate(features), labels[drawn])

    def _scores(self, images: Images, sources: int) -> NDArray[np.float32]:
        scores = self._checked("scores", images, self._fitted().scores)
        if scores.shape != (len(images), sources) or scores.dtype != torch.float32:
            raise PluginError(
                f"method {self.job.trial.method!r} returned scores of shape {tuple(scores.shape)} and {scores.dtype}, "
                f"expected ({len(images)}, {sources}) and torch.float32: one row an image, one column a source "
                f"({', '.join(self.data.sources)})"
            )
        return scores.cpu().numpy()

    def _fingerprints(self, images: Images) -> NDArray[np.float64]:
        features = self._checked("fingerprints", images, self._fitted().fingerprints)
        if features.ndim != 2 or len(features) != len(images):
            raise PluginError(
                f"method {self.job.trial.method!r} returned fingerprints of shape {tuple(features.shape)}, "
                f"expected ({len(images)}, d): one row an image"
            )
        return features.double().cpu().numpy()

    def _checked(self, what: str, images: Images, call: Callable[[Images], torch.Tensor]) -> torch.Tensor:
        """Call the method; refuse values that are not finite and a method that writes to its input."""
        before = images.clone()
        with torch.no_grad(), self.clock(what):
            values = call(images)
        if not torch.equal(images, before):
            raise PluginError(
                f"method {self.job.trial.method!r} changed the images it was given in {what}; work on a copy"
            )
        if not torch.isfinite(values).all():
            count = int((~torch.isfinite(values)).any(dim=-1).sum())
            raise PluginError(
                f"method {self.job.trial.method!r} returned {what} that are not finite for {count} of {len(images)} "
                "images, expected numbers"
            )
        return values

    def _record(
        self,
        cell: Cell,
        scores: NDArray[np.float32],
        labels: NDArray[np.int64],
        features: NDArray[np.float64],
        feature_labels: NDArray[np.int64],
    ) -> None:
        permutations = PERMUTATIONS if cell.attack is None and self.job.trial.condition is None else 0
        packed = pack_scores(scores)
        task = load_task(self.job.protocol.task)
        record = Record(
            cell.key,
            self.job.trial.key,
            cell.name,
            metrics=task.metrics(task.answers(scores, self.data.sources), labels, self.data.sources),
            separability=asdict(
                separability(
                    features,
                    feature_labels,
                    len(self.data.sources),
                    seed=self.job.protocol.attack_seed,
                    permutations=permutations,
                )
            ),
            n_scored=len(scores),
            scores_sha256=sha256(packed).hexdigest(),
            provenance=provenance(self.job),
        )
        self.store.write(self.job.trial, cell, record, packed)

    def _fitted(self) -> Method:
        if self._loaded is None:
            self._loaded = self._method()
            with self.clock("load"):
                self._loaded.load(self.store.path(self.job.trial, "state"), device=self.job.device)
        return self._loaded

    def _method(self) -> Method:
        return self.plugins.method(self.job.trial.method)(**self.job.trial.settings)

    def _attack(self, attack: Attack) -> Perturbation:
        return _Timed(self.plugins.attack(attack.name)(**attack.settings), self.clock)

    def _split(self, name: str) -> ImageSet:
        images = self.data.split(name, device=self.job.device, limit=self.job.limit)
        images.tick = self.monitor.tick
        return images

    def _keep(self, method: Method) -> None:
        state = self.store.path(self.job.trial, "state")
        partial = state.with_name(f"{state.name}.partial")
        partial.mkdir(exist_ok=True)
        with self.clock("save"):
            method.save(partial)
        partial.replace(state)
        self.store.drop(self.job.trial, "checkpoint")


class _Timed(Perturbation):
    """An attack whose time counts as a plugin's, whoever reads the images."""

    def __init__(self, attack: Perturbation, clock: _Clock) -> None:
        self._attack, self._clock = attack, clock
        self.name, self.version = attack.name, attack.version  # type: ignore[misc] # a stand-in has its original's name

    def perturb(self, images: Images, rng: ImageRng) -> Images:
        with self._clock("perturb"):
            return self._attack.perturb(images, rng)


def _first_of_each(labels: NDArray[np.int64], count: int) -> NDArray[np.bool_]:
    """Return which images are among the first ``count`` of their source."""
    chosen = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        chosen[np.flatnonzero(labels == label)[:count]] = True
    return chosen


def provenance(job: Job) -> dict[str, Any]:
    """Return what a record says of where it was made."""
    packages = ("numpy", "opencv-python-headless", "pillow", "scikit-learn", "scipy", "torch")
    return {
        "packages": {name: version(name) for name in packages} | {"python": platform.python_version()},
        "code": job.revision,
        "device": torch.cuda.get_device_name(job.device) if job.device != "cpu" else "cpu",
        "threads": 1,
        "deterministic": job.device == "cpu" or torch.are_deterministic_algorithms_enabled(),
    }
