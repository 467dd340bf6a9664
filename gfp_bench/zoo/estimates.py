"""How long a training and a sampling will take here, from a few steps and a few samples."""

import time
from typing import NamedTuple

import torch

from gfp_bench.contracts.generator import Generator
from gfp_bench.contracts.monitor import Monitor
from gfp_bench.contracts.types import Images

_STEPS = 6  # the first is not timed: it warms up
_SAMPLES = 16


class Seconds(NamedTuple):
    """Time on the clock, and that of all threads on the processor."""

    wall: float
    processor: float

    def times(self, n: float) -> "Seconds":
        """Return n times as much."""
        return Seconds(self.wall * n, self.processor * n)


class CostEstimate(NamedTuple):
    """What is left to do for a source, and how long it takes here."""

    source: str
    steps: int
    step: Seconds
    samples: int
    image: Seconds

    @property
    def total(self) -> Seconds:
        """Of all steps and samples."""
        training, sampling = self.step.times(self.steps), self.image.times(self.samples)
        return Seconds(training.wall + sampling.wall, training.processor + sampling.processor)


def time_step(generator: Generator, images: Images, steps: int) -> Seconds:
    """Return the time of a training step; a training whose steps differ is run through in short.

    Args:
        generator: An untrained one; it is trained for a few steps.
        images: What it learns from, on its device.
        steps: Of the whole training.
    """
    watch = _Watch()
    generator.train(images, steps=min(steps, _STEPS), rng=torch.Generator().manual_seed(0), monitor=watch)
    return watch.step()


def time_image(generator: Generator) -> Seconds:
    """Return the time of a sample of a generator that is trained or loaded."""
    began = _now()
    generator.sample(_SAMPLES, rng=torch.Generator().manual_seed(0))
    ended = _now()
    return Seconds(ended.wall - began.wall, ended.processor - began.processor).times(1 / _SAMPLES)


class _Watch(Monitor):
    """Notes when steps end."""

    def __init__(self) -> None:
        self._marks = [(0, _now())]

    def progress(self, step: int, total: int, **values: float) -> None:
        self._marks.append((step, _now()))

    def step(self) -> Seconds:
        (first, began), (last, ended) = self._marks[1 if len(self._marks) > 2 else 0], self._marks[-1]
        spent = Seconds(ended.wall - began.wall, ended.processor - began.processor)
        return spent.times(1 / max(1, last - first))


def _now() -> Seconds:
    return Seconds(time.perf_counter(), time.process_time())
