"""Execute one trial: have its plugins asked, hold what they answer to the truth, keep the records.

What is true of the test images is in this process; plugins are in others, see `worker`, unless a trial is debugged.
"""

import resource
import time
from collections.abc import Iterator
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
from gfp_bench.contracts.rng import ImageRng
from gfp_bench.contracts.task import Outcome
from gfp_bench.contracts.types import Images
from gfp_bench.data.dataset import Dataset, load_dataset
from gfp_bench.engine.attacking import CheckedAttack
from gfp_bench.engine.contender import Contender, What, partial_state, scratch_folder
from gfp_bench.engine.events import Done, Progress, Send, Stake, Timing
from gfp_bench.engine.job import Job
from gfp_bench.engine.monitor import Pulse
from gfp_bench.engine.outcomes import Truth, outcomes, packed_fingerprints
from gfp_bench.engine.plan import Attack, Cell
from gfp_bench.engine.provenance import provenance
from gfp_bench.engine.records import Record, Store, packed
from gfp_bench.engine.remote import Workers
from gfp_bench.engine.sandbox import places_of
from gfp_bench.engine.worker import prepare
from gfp_bench.errors import MachineError, PluginError
from gfp_bench.metrics.separability import LIMIT, PERMUTATIONS, separability
from gfp_bench.registry.discovery import load_only
from gfp_bench.tasks import load_task

_LARGEST = 1e100  # of a fingerprint


def execute(job: Job, send: Send, workers: Workers | None = None) -> None:
    """Fit, if there is no fitted state yet, and score the pending cells.

    Args:
        job: The trial.
        send: Is told of every step.
        workers: The processes of its plugins; without them plugins run here, where breakpoints work.
    """
    prepare(job.device)
    with threadpool_limits(1):
        store = Store(job.results)
        pending = store.pending(job.trial)
        keys = tuple(cell.key for cell in pending)
        send(Stake(keys))
        run = _TrialRun(job, store, send, workers or _Here(job))
        if not store.path(job.trial, "state").exists():
            run.fit()
        for cell in pending:
            send(Stake(keys if cell.calibration else (cell.key,)))  # without thresholds the other cells fail too
            run.score(cell)
            send(Done(cell.key))
        store.drop(job.trial, "scratch")
        send(Timing(run.clock.seconds | run.plugins.peaks()))


class _Here:
    """Plugins in this process, for a debugger; it has what `Workers` has."""

    isolation = "none: debugged"

    def __init__(self, job: Job) -> None:
        self._job, self._plugins, self.device = job, load_only(job.sources), job.device

    def shut_in(self, hidden: set[Path]) -> None:
        """Do nothing: what is shut in cannot be debugged."""

    def contender(self, pulse: Pulse) -> Contender:
        return Contender(self._job, self._plugins, pulse.pass_on)

    def attack(self, attack: Attack) -> Perturbation:
        return CheckedAttack.of(self._plugins.attack(attack.name)(**attack.settings))

    def peaks(self) -> dict[str, int]:
        gpu = torch.cuda.max_memory_allocated() if self.device != "cpu" else 0
        held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        return {"peak_memory": held, "peak_gpu_memory": gpu}


class _Clock:
    """Seconds spent waiting for plugins, by step."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, step: str) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[step] = self.seconds.get(step, 0.0) + time.perf_counter() - started


@dataclass
class _TrialRun:
    job: Job
    store: Store
    send: Send
    plugins: "Workers | _Here"

    def __post_init__(self) -> None:
        self.clock, self._pulse = _Clock(), Pulse(self._tell)
        self._task = load_task(self.job.protocol.task, self.job.protocol.options)
        self._data = _planned_data(self.job)
        self._truth = Truth({name: data.manifest for name, data in self._data.items()}, self.job.limit)
        self._make_folders()
        hidden = {self.job.cache.expanduser(), self.job.results}
        self.plugins.shut_in(hidden.union(*(places_of(data.manifest, data.index) for data in self._data.values())))
        self._contender, self._is_loaded = self.plugins.contender(self._pulse), False

    def _tell(self, progress: Progress) -> None:
        self.send(progress)

    def _make_folders(self) -> None:
        """Make the folders that the method writes to, before it loses access to all others."""
        (scratch_folder(self.job) / "tmp").mkdir(parents=True, exist_ok=True)
        if not self.store.path(self.job.trial, "state").exists():
            self.store.drop(self.job.trial, "state.partial")
            partial_state(self.job).mkdir()

    def fit(self) -> None:
        """Have the method fitted, and keep its state: scores always come from one that was loaded."""
        trial = self.job.trial
        train, val = (
            self._images(trial.dataset, split, trial.sources, self.plugins.device) for split in ("train", "val")
        )
        with self.clock("fit"):
            self._contender.fit(train, val)
        with self.clock("save"):
            self._contender.save()
        partial_state(self.job).replace(self.store.path(trial, "state"))
        (scratch_folder(self.job) / "checkpoint").unlink(missing_ok=True)

    def score(self, cell: Cell) -> None:
        """Score all images of a cell and keep its record.

        Fingerprints are asked for of whole batches, as long as any is needed: which ones are would tell which source
        has had its share.
        """
        images, shown = self._images(cell.dataset, cell.split, cell.sources), self._truth.of(cell)
        drawn = np.flatnonzero(_first_of_each(shown.labels, LIMIT if self._task.separability else cell.fingerprints))
        end = int(drawn.max(initial=-1)) + 1
        if cell.attack:
            attack = _Timed.of(self.plugins.attack(cell.attack), self.clock)
            images = images.perturbed(attack, seed=self.job.protocol.attack_seed)
        scores = np.empty((len(images), len(self.job.trial.known)), dtype=np.float32)
        features: list[NDArray[np.float64]] = []
        start = 0
        for batch, _ in images.batches(self.job.protocol.batch_size):
            stop = start + len(batch)
            answers = self._answers(batch, f"global {cell.key} {start}", fingerprints=start < end)
            scores[start:stop] = self._scores(answers["scores"], len(batch))
            if "fingerprints" in answers:
                width = features[0].shape[1] if features else None
                features.append(self._fingerprints(answers["fingerprints"], len(batch), width))
            start = stop
        self._record(cell, scores, np.concatenate(features)[drawn] if features else None, drawn)

    def _answers(self, batch: Images, place: str, *, fingerprints: bool) -> dict[str, NDArray[Any]]:
        whats: list[What] = ["scores", "fingerprints"] if fingerprints else ["scores"]
        if not self._is_loaded:
            whats, self._is_loaded = ["load", *whats], True
        answers = self._contender.answers(batch, whats, place)
        found: dict[str, NDArray[Any]] = {}
        for what in whats:
            with self.clock(what):
                found[what] = next(answers)
        next(answers, None)  # to its end, where it puts the global generators back
        return found

    def _scores(self, scores: NDArray[Any], count: int) -> NDArray[np.float32]:
        method, known = self.job.trial.method, self.job.trial.known
        if scores.shape != (count, len(known)) or scores.dtype != np.float32:
            raise PluginError(
                f"method {method!r} returned scores of shape {scores.shape} and torch.{scores.dtype}, "
                f"expected ({count}, {len(known)}) and torch.float32: one row per image, one column per source "
                f"({', '.join(known)})"
            )
        return self._finite("scores", scores)

    def _fingerprints(self, features: NDArray[Any], count: int, width: int | None) -> NDArray[np.float64]:
        if features.ndim != 2 or len(features) != count or features.dtype not in (np.float32, np.float64):
            raise PluginError(
                f"method {self.job.trial.method!r} returned fingerprints of shape {features.shape} and torch."
                f"{features.dtype}, expected ({count}, d) and torch.float32: one row per image"
            )
        if width is not None and features.shape[1] != width:
            raise PluginError(
                f"method {self.job.trial.method!r} returned fingerprints of {features.shape[1]} values after some of "
                f"{width}, expected as many for every image"
            )
        values = self._finite("fingerprints", features).astype(np.float64)
        if (largest := np.abs(values).max(initial=0)) > _LARGEST:
            raise PluginError(
                f"method {self.job.trial.method!r} returned fingerprints as large as {largest:.3g}, expected at most "
                f"{_LARGEST:g}: distances square them"
            )
        return values

    def _finite(self, what: str, values: NDArray[Any]) -> NDArray[Any]:
        if not np.isfinite(values).all():
            raise PluginError(
                f"method {self.job.trial.method!r} returned {what} that are not finite for "
                f"{int((~np.isfinite(values)).any(axis=-1).sum())} of {len(values)} images, expected numbers"
            )
        return values

    def _record(
        self,
        cell: Cell,
        scores: NDArray[np.float32],
        features: NDArray[np.float64] | None,
        rows: NDArray[np.int64],
    ) -> None:
        trial, shown = self.job.trial, self._truth.of(cell)
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
            provenance=provenance(self.job.device, self.job.revision) | {"isolation": self.plugins.isolation},
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
                features, labels, len(cell.sources), seed=seed, permutations=permutations, tick=self._pulse.tick
            )
        )

    @cached_property
    def _calibration(self) -> Outcome | None:
        """What became of the images that thresholds come from; they are scored before all others."""
        cells = [cell for cell in self.job.trial.cells if cell.calibration]
        found = list(outcomes(self.store, self.job.trial, self._task, self._truth, cells))
        if cells and not found:
            raise PluginError(f"the {cells[0].name} images that thresholds come from could not be scored")
        return found[0][2] if found else None

    def _images(self, dataset: str, split: str, sources: tuple[str, ...], device: str = "cpu") -> ImageSet:
        images = self._data[dataset].split(split, device=device, limit=self.job.limit, sources=sources)
        images.tick = self._pulse.tick
        return images


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
    """An attack whose time counts as its own, whoever reads the images."""

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
