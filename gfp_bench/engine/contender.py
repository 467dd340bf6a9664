"""A trial's method at work: fitted, kept, loaded and asked, wherever its process is."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from gfp_bench.contracts.images import ImageSet
from gfp_bench.contracts.method import Method
from gfp_bench.contracts.types import Images
from gfp_bench.engine.attacking import CheckedAttack
from gfp_bench.engine.events import Progress
from gfp_bench.engine.job import Job
from gfp_bench.engine.monitor import TrialMonitor
from gfp_bench.engine.records import Store
from gfp_bench.errors import PluginError
from gfp_bench.registry.plugins import Plugins
from gfp_bench.seeding import seed_of, seeded

What: TypeAlias = Literal["load", "scores", "fingerprints"]


class Contender:
    """The method of a trial; it is the only caller of methods."""

    def __init__(self, job: Job, plugins: Plugins, tell: Callable[[Progress], None]) -> None:
        self._job, self._plugins, self._store = job, plugins, Store(job.results)
        self._monitor = TrialMonitor(scratch_folder(job) / "checkpoint", tell, job.checkpoint_every)

    def fit(self, train: ImageSet, val: ImageSet) -> None:
        """Fit in the way that the task asks for."""
        trial = self._job.trial
        if trial.condition:
            attack = CheckedAttack.of(self._plugins.attack(trial.condition.name)(**trial.condition.settings))
            train, val = (images.perturbed(attack, seed=self._job.protocol.attack_seed) for images in (train, val))
        method = self._made()
        if self._job.base:
            method.load(self._store.path(self._job.base, "state"), device=self._job.device)
        fit = {"fit": method.fit, "immunise": method.immunise, "arrive": method.partial_fit}[trial.how]
        rng = torch.Generator().manual_seed(seed_of(trial.key, "fit"))
        self._monitor.watch(rng, train, val)
        with seeded(trial.key, "global fit"):
            fit(train, val, rng=rng, monitor=self._monitor)
        self._fitted = method

    def save(self) -> None:
        """Save the fitted state, where it is not yet taken for complete."""
        self._fitted.save(partial_state(self._job))

    def answers(self, images: Images, whats: Sequence[What], place: str) -> Iterator[NDArray[Any]]:
        """Yield what the method says of images that it sees for the first time; nothing but time for ``load``.

        Args:
            images: A batch.
            whats: What is asked for, in order.
            place: What no other batch of the trial is called; seeds the global generators.

        Raises:
            PluginError: If the method returns no tensor of floating-point numbers, or writes to its input.
        """
        images = images.to(self._job.device)
        with seeded(self._job.trial.key, place):
            for what in whats:
                yield self._loaded() if what == "load" else self._answer(what, images)

    def _loaded(self) -> NDArray[Any]:
        self._fitted = self._made()
        self._fitted.load(self._store.path(self._job.trial, "state"), device=self._job.device)
        return np.empty(0, dtype=np.float32)

    def _answer(self, what: What, images: Images) -> NDArray[Any]:
        before = images.clone()
        with torch.no_grad():
            values: object = getattr(self._fitted, what)(images)
        if not torch.equal(images, before):
            raise PluginError(
                f"method {self._job.trial.method!r} changed the images it was given in {what}; work on a copy"
            )
        return as_array(self._job.trial.method, what, values)

    def _made(self) -> Method:
        return self._plugins.method(self._job.trial.method)(**self._job.trial.settings)


def as_array(method: str, what: What, values: object) -> NDArray[Any]:
    """Return the numbers of a method's answer, (n, ...) float32 or float64.

    Raises:
        PluginError: If it is no tensor, or not of real floating-point numbers.
    """
    if not isinstance(values, torch.Tensor):
        raise PluginError(f"method {method!r} returned {what} as {type(values).__name__}, expected a torch.Tensor")
    if not values.is_floating_point() or (what == "scores" and values.dtype != torch.float32):
        expected = "torch.float32" if what == "scores" else "floating-point numbers, as torch.float32"
        raise PluginError(
            f"method {method!r} returned {what} of shape {tuple(values.shape)} and {values.dtype}, expected {expected}"
        )
    if values.dtype != torch.float32:
        values = values.double()
    array: NDArray[Any] = values.detach().cpu().numpy()
    return array


def scratch_folder(job: Job) -> Path:
    """Return where a trial's plugins keep their checkpoint and temporary files."""
    return Store(job.results).path(job.trial, "scratch")


def partial_state(job: Job) -> Path:
    """Return where a trial's fitted state is written, before it is complete."""
    return Store(job.results).path(job.trial, "state.partial")
