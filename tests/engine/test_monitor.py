"""What a plugin says of its progress is numbers, whatever it hands over."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from gfp_bench.engine.events import Progress, checked_progress
from gfp_bench.engine.monitor import Pulse, TrialMonitor
from gfp_bench.errors import PluginError


def test_a_tensor_of_one_value_is_a_number() -> None:
    with_history = (torch.ones(1, requires_grad=True) * 2).sum()
    values = {"loss": with_history, "rate": np.float32(0.5), "count": np.array([3])[0], "gone": float("nan")}
    progress = checked_progress(torch.tensor(1), 10.0, values)
    assert (progress.step, progress.total) == (1, 10)
    assert type(progress.step) is type(progress.total) is int
    assert {type(value) for value in progress.values.values()} == {float}
    assert (progress.values["loss"], progress.values["rate"], progress.values["count"]) == (2.0, 0.5, 3.0)
    assert math.isnan(progress.values["gone"])


@pytest.mark.parametrize(
    ("step", "total", "values", "reason"),
    [
        (1, 10, {"loss": torch.zeros(3)}, "got loss = Tensor"),
        (1, 10, {"loss": "abc"}, "got loss = str abc, expected a number"),
        (1, 10, {"loss": "1.5"}, "got loss = str 1.5, expected a number"),
        (1, 10, {"loss": None}, "got loss = NoneType None, expected a number"),
        (1, 10, {"loss": lambda: 0}, "got loss = function"),
        (None, None, {}, "got step = NoneType None, expected a number"),
        (float("nan"), 10, {}, "got step nan of 10, expected numbers of steps"),
        (-1, 10, {}, "got step -1 of 10"),
        (1, math.inf, {}, "got step 1 of inf"),
        (1, 10, {"[bold]": 1.0}, r"got values called '\[bold\]'"),
        (1, 10, {f"loss{i}": 1.0 for i in range(17)}, "expected at most 16 names"),
    ],
)
def test_anything_but_numbers_is_refused(step: object, total: object, values: dict, reason: str) -> None:
    with pytest.raises(PluginError, match=reason):
        checked_progress(step, total, values)


def test_a_flood_is_cut_and_the_end_of_a_fit_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.monotonic", lambda: 100.0)
    said: list[Progress] = []
    monitor = TrialMonitor(tmp_path / "checkpoint", said.append, every=0.0)
    for step in range(1, 1001):
        monitor.progress(step, 1000)
    assert [progress.step for progress in said] == [1, 1000]
    pulse = Pulse(said.append)
    for _ in range(1000):
        pulse.pass_on(Progress(1000, 1000))
    assert len(said) == 3
