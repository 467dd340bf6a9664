import time

import pytest
import torch
from dice import Dice

from gfp_bench.zoo.estimates import CostEstimate, Seconds, time_image, time_step

POOL = torch.zeros(2, 3, 8, 8, dtype=torch.uint8)


def test_steps_and_samples_are_counted_together() -> None:
    found = CostEstimate("gan", 100, Seconds(0.5, 0.25), 20, Seconds(0.1, 0.05))
    assert found.total == pytest.approx((52, 26))
    assert CostEstimate("gan", 0, Seconds(0, 0), 20, Seconds(0.1, 0.05)).total == pytest.approx((2, 1))


@pytest.mark.parametrize("steps", [1, 2, 3, 10000])
def test_a_few_steps_are_timed_on_the_clock_and_on_the_processor(steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Clocks of our own: a sleep takes its length on the wall and a tenth of it on the processor."""
    clock = [0.0]
    monkeypatch.setattr(time, "sleep", lambda seconds: clock.__setitem__(0, clock[0] + seconds))
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(time, "process_time", lambda: clock[0] / 10)
    generator = Dice(patience=3.0)
    assert time_step(generator, POOL, steps) == pytest.approx((3.0, 0.3))
    assert generator.thrown == min(steps, 6)


def test_samples_are_timed_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]

    class Slow(Dice):
        def sample(self, n: int, *, rng: torch.Generator) -> torch.Tensor:
            clock[0] += 2.0 * n
            return torch.zeros(n, 3, 8, 8, dtype=torch.uint8)

    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(time, "process_time", lambda: clock[0] / 2)
    assert time_image(Slow()) == pytest.approx((2.0, 1.0))
