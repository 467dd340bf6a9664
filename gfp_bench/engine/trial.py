"""Execute one trial, in the process that it has for itself; the only caller of methods and attacks."""

import os
import resource
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from hashlib import sha256
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
from gfp_bench.contracts.task import Outcome
from gfp_bench.contracts.types import Images
from gfp_bench.data.dataset import Dataset, load_dataset
from gfp_bench.engine.events import Done, Send, Stake, Timing
from gfp_bench.engine.monitor import TrialMonitor
from gfp_bench.engine.outcomes import Truth, outcomes, packed_fingerprints
from gfp_bench.engine.plan import Attack, Cell, Trial
from gfp_bench.engine.provenance import provenance
from gfp_bench.engine.records import Record, Store, packed
from gfp_bench.errors import MachineError, PluginError
from gfp_bench.machine import keep_freed_memory
from gfp_bench.metrics.separability import LIMIT, PERMUTATIONS, separability
from gfp_bench.protocols.protocol import Protocol
from gfp_bench.registry.discovery import load_only
from gfp_bench.registry.plugins import Plugins, Source
from gfp_bench.seeding import seed_of, seeded
from gfp_bench.tasks import load_task


@dataclass(frozen=True, kw_only=True)
class Job:
    """A trial with all that its process needs to know.

    Attributes:
        trial: What to execute.
        base: The trial whose fitted state it starts from, or None.
        protocol: The recipe.
        manifests: The manifest file of each dataset that it reads, by name.
        cache: Where decoded images lie.
        results: The results folder.
        device: ``cpu`` or ``cuda:<n>``.
        limit: Images per source and split, or None.
        sources: Where the plugins that it needs come from, beside those that gfp-bench brings.
        digests: What identifies the content of each dataset as it was planned, by name.
        memory: Bytes that a trial on the CPU may allocate, or None.
        checkpoint_every: Seconds between two kept checkpoints.
        revision: The code's git revision and whether it was changed, for the record.
    """

    trial: Trial
    base: Trial | None
    protocol: Protocol
    manifests: Mapping[str, Path]
    cache: Path
    results: Path
    device: str
    limit: int | None
    sources: tuple[Source, ...]
    digests: Mapping[str, str]
    memory: int | None
    checkpoint_every: float
    revision: dict[str, Any]


def execute(job: Job, send: Send) -> None:
    """Fit, if there is no fitted state yet, and score the pending cells; ``send`` is told of every step."""
    keep_freed_memory()
    torch.set_num_threads(1)  # sums depend on how they are split: one thread everywhere, one trial per core
    torch.backends.cudnn.benchmark = False
    if job.device != "cpu":  # with one thread a CPU has no order to vary
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(mode=True, warn_only=True)
    with threadpool_limits(1):
        store = Store(job.results)
        pending = store.pending(job.trial)
        keys = tuple(cell.key for cell in pending)
        send(Stake(keys))
        clock = _Clock()
        data = _planned_data(job)  # all is read before any plugin's code runs: what that spoils is not the machine's
        truth = Truth({name: one.manifest for name, one in data.items()}, job.limit)
        for cell in job.trial.cells:
            truth.of(cell)
        run = _TrialRun(job, store, data, truth, load_only(job.sources), clock, send)
        if not store.path(job.trial, "state").exists():
            run.fit()
        for cell in pending:
            send(Stake(keys if cell.calibration else (cell.key,)))  # without thresholds the other cells fail too
            run.score(cell)
            send(Done(cell.key))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        gpu = torch.cuda.max_memory_allocated() if job.device != "cpu" else 0
        send(Timing(clock.seconds | {"peak_memory": peak, "peak_gpu_memory": gpu}))


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
class _TrialRun:
    job: Job
    store: Store
    data: Mapping[str, Dataset]
    truth: Truth
    plugins: Plugins
    clock: _Clock
    send: Send

    def __post_init__(self) -> None:
        checkpoint = self.store.path(self.job.trial, "checkpoint")
        self.monitor = TrialMonitor(checkpoint, self.send, self.job.checkpoint_every)
        self._task = load_task(self.job.protocol.task, self.job.protocol.options)

    def fit(self) -> None:
        """Fit in the way that the task asks for, and keep the state: scores always come from one that was loaded."""
        trial = self.job.trial
        train, val = (self._images(trial.dataset, split, trial.sources) for split in ("train", "val"))
        if trial.condition:
            attack = self._attack(trial.condition)
            train, val = (images.perturbed(attack, seed=self.job.protocol.attack_seed) for images in (train, val))
        method = self._method()
        if self.job.base:
            method.load(self.store.path(self.job.base, "state"), device=self.job.device)
        fit = {"fit": method.fit, "immunise": method.immunise, "arrive": method.partial_fit}[trial.how]
        rng = torch.Generator().manual_seed(seed_of(trial.key, "fit"))
        self.monitor.watch(rng, train, val)
        self.store.folder(trial).mkdir(parents=True, exist_ok=True)
        with seeded(trial.key, "global fit"), self.clock("fit"):
            fit(train, val, rng=rng, monitor=self.monitor)
        self._keep(method)

    def score(self, cell: Cell) -> None:
        """Score all images of a cell and keep its record."""
        images, shown = self._images(cell.dataset, cell.split, cell.sources), self.truth.of(cell)
        drawn = _first_of_each(shown.labels, LIMIT if self._task.separability else cell.fingerprints)
        if cell.attack:
            images = images.perturbed(self._attack(cell.attack), seed=self.job.protocol.attack_seed)
        scores = np.empty((len(images), len(self.job.trial.known)), dtype=np.float32)
        features = []
        start = 0
        for batch, _ in images.batches(self.job.protocol.batch_size):
            stop = start + len(batch)
            with seeded(self.job.trial.key, f"global {cell.key} {start}"):
                scores[start:stop] = self._scores(batch)
                chosen = drawn[start:stop]
                if chosen.any():
                    features.append(self._fingerprints(batch[torch.from_numpy(chosen).to(batch.device)]))
            start = stop
        self._record(cell, scores, np.concatenate(features) if features else None, np.flatnonzero(drawn))

    def _scores(self, images: Images) -> NDArray[np.float32]:
        scores, known = self._checked("scores", images, self._fitted.scores), self.job.trial.known
        if scores.shape != (len(images), len(known)) or scores.dtype != torch.float32:
            raise PluginError(
                f"method {self.job.trial.method!r} returned scores of shape {tuple(scores.shape)} and {scores.dtype}, "
                f"expected ({len(images)}, {len(known)}) and torch.float32: one row per image, one column per source "
                f"({', '.join(known)})"
            )
        return scores.cpu().numpy()

    def _fingerprints(self, images: Images) -> NDArray[np.float64]:
        features = self._checked("fingerprints", images, self._fitted.fingerprints)
        if features.ndim != 2 or len(features) != len(images):
            raise PluginError(
                f"method {self.job.trial.method!r} returned fingerprints of shape {tuple(features.shape)}, "
                f"expected ({len(images)}, d): one row per image"
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
        features: NDArray[np.float64] | None,
        rows: NDArray[np.int64],
    ) -> None:
        trial, shown = self.job.trial, self.truth.of(cell)
        arrays: dict[str, NDArray[Any]] = {}
        if features is not None and cell.fingerprints:
            kept = _first_of_each(shown.labels, cell.fingerprints)[rows]
            arrays = packed_fingerprints(features[kept], rows[kept])
        outcome = Outcome(
            kept={**self._task.keep(scores, shown, trial.known), **arrays},
            shown=shown,
            known=trial.known,
            calibration=None if cell.calibration else self._calibration,
        )
        content = packed({"scores": scores, **arrays})
        record = Record(
            key=cell.key,
            trial=trial.key,
            cell=cell.name,
            metrics=self._task.metrics(outcome),
            separability=self._separability(cell, features, shown.labels[rows]),
            n_scored=len(scores),
            scores_sha256=sha256(content).hexdigest(),
            provenance=provenance(self.job.device, self.job.revision),
        )
        self.store.write(trial, cell, record, content)

    def _separability(
        self, cell: Cell, features: NDArray[np.float64] | None, labels: NDArray[np.int64]
    ) -> dict[str, Any]:
        if features is None or not self._task.separability or cell.calibration:
            return {}
        permutations = PERMUTATIONS if cell.attack is None and self.job.trial.condition is None else 0
        seed = self.job.protocol.attack_seed
        return asdict(
            separability(
                features, labels, len(cell.sources), seed=seed, permutations=permutations, tick=self.monitor.tick
            )
        )

    @cached_property
    def _calibration(self) -> Outcome | None:
        """What became of the images that thresholds come from; they are scored before all others."""
        cells = [cell for cell in self.job.trial.cells if cell.calibration]
        found = list(outcomes(self.store, self.job.trial, self._task, self.truth, cells))
        if cells and not found:
            raise PluginError(f"the {cells[0].name} images that thresholds come from could not be scored")
        return found[0][2] if found else None

    @cached_property
    def _fitted(self) -> Method:
        method = self._method()
        with self.clock("load"):
            method.load(self.store.path(self.job.trial, "state"), device=self.job.device)
        return method

    def _method(self) -> Method:
        return self.plugins.method(self.job.trial.method)(**self.job.trial.settings)

    def _attack(self, attack: Attack) -> Perturbation:
        return _Timed.of(self.plugins.attack(attack.name)(**attack.settings), self.clock)

    def _images(self, dataset: str, split: str, sources: tuple[str, ...]) -> ImageSet:
        images = self.data[dataset].split(split, device=self.job.device, limit=self.job.limit, sources=sources)
        images.tick = self.monitor.tick
        return images

    def _keep(self, method: Method) -> None:
        state = self.store.path(self.job.trial, "state")
        partial = self.store.path(self.job.trial, "state.partial")
        partial.mkdir(exist_ok=True)
        with self.clock("save"):
            method.save(partial)
        partial.replace(state)
        self.store.drop(self.job.trial, "checkpoint")


def _planned_data(job: Job) -> dict[str, Dataset]:
    """Return the datasets of a job, which must be those that the run was planned with: keys would be false otherwise.

    Raises:
        MachineError: If one is another.
        DatasetError: If one cannot be read.
    """
    found = {name: load_dataset(file, cache=job.cache) for name, file in job.manifests.items()}
    for name, data in found.items():
        if data.digest != job.digests[name]:
            raise MachineError(
                f"dataset {name!r} ({data.manifest.file}) has digest {data.digest[:12]}, but the run was planned with "
                f"{job.digests[name][:12]}: its manifest was edited since; bring it back, or run the same command to "
                "plan anew"
            )
        data.pixels()
    return found


class _Timed(Perturbation):
    """An attack whose time counts as a plugin's, whoever reads the images."""

    _attack: Perturbation
    _clock: _Clock

    @classmethod
    def of(cls, attack: Perturbation, clock: _Clock) -> "_Timed":
        """Return a stand-in for an attack, under its name."""
        timed = cls()
        timed._attack, timed._clock = attack, clock
        timed.name, timed.version = attack.name, attack.version  # type: ignore[misc] # its original's, not the class's
        return timed

    def perturb(self, images: Images, rng: ImageRng) -> Images:
        with self._clock("perturb"):
            return self._attack.perturb(images, rng)


def _first_of_each(labels: NDArray[np.int64], count: int) -> NDArray[np.bool_]:
    """Return which images are among the first ``count`` of their source."""
    chosen = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        chosen[np.flatnonzero(labels == label)[:count]] = True
    return chosen
