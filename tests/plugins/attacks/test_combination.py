from pathlib import Path

import pytest
import torch
from scipy import stats

from gfp_bench import ImageRng, UsageError, load_plugins
from gfp_bench_attacks.blur import Blur
from gfp_bench_attacks.combination import Combination
from gfp_bench_attacks.jpeg import Jpeg
from gfp_bench_attacks.noise import Noise


def streams(count: int) -> ImageRng:
    names = [str(number) for number in range(count)]
    return ImageRng.for_images(names, seed=0, dataset="set", attack="combination", split="test")


def noise(count: int, side: int) -> torch.Tensor:
    draws = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 3, side, side), dtype=torch.uint8, generator=draws)


def test_certain_steps_are_the_attacks_in_order() -> None:
    images, rng = noise(10, 16), streams(10)
    expected = Blur(3, 9).perturb(images, rng.child("0 blur"))
    expected = Jpeg().perturb(expected, rng.child("1 jpeg"))
    expected = Noise(5.0, 9.0).perturb(expected, rng.child("2 noise"))
    combined = Combination(1.0, "blur[smallest=3] jpeg noise[high=9.0]").perturb(images, streams(10))
    assert torch.equal(combined, expected)


def test_the_order_is_the_settings() -> None:
    images = noise(10, 16)
    forward, back = (Combination(1.0, steps).perturb(images, streams(10)) for steps in ("blur jpeg", "jpeg blur"))
    assert not torch.equal(forward, back)


def test_a_step_never_or_always_falls() -> None:
    images = noise(10, 16)
    assert torch.equal(Combination(0.0).perturb(images, streams(10)), images)
    changed = Combination(1.0).perturb(images, streams(10)) != images
    assert changed.flatten(1).any(dim=1).all()


def test_a_step_has_a_probability_of_its_own() -> None:
    images = torch.arange(2 * 2 * 3, dtype=torch.uint8).view(1, 3, 2, 2).expand(2000, -1, -1, -1)
    steps = "flip[probability=0.1] flip[direction=vertical,probability=1]"
    flipped = Combination(0.3, steps).perturb(images, streams(2000))
    upside = images.flip(2)
    both = (flipped == upside.flip(3)).flatten(1).all(dim=1)
    assert stats.binomtest(int(both.sum()), 2000, 0.1).pvalue > 0.01
    assert torch.equal(flipped[~both], upside[~both])
    given = Combination(0.3, "flip flip").perturb(images, streams(2000))
    assert torch.equal(
        given, Combination(0.9, "flip[probability=0.3] flip[probability=0.3]").perturb(images, streams(2000))
    )


def test_steps_fall_independently() -> None:
    """Two flips tell which of four fates an image had; each comes as often."""
    images = torch.arange(2 * 2 * 3, dtype=torch.uint8).view(1, 3, 2, 2).expand(2000, -1, -1, -1)
    flipped = Combination(steps="flip flip[direction=vertical]").perturb(images, streams(2000))
    counts = flipped.flatten(1).unique(dim=0, return_counts=True)[1]
    assert stats.chisquare(counts.numpy()).pvalue > 0.01
    assert len(counts) == 4


def test_a_step_twice_draws_twice() -> None:
    images = torch.full((1, 3, 32, 32), 128, dtype=torch.uint8)
    once = Combination(1.0, "noise").perturb(images, streams(1)).double() - 128
    twice = Combination(1.0, "noise noise").perturb(images, streams(1)).double() - 128 - once
    assert abs(torch.corrcoef(torch.stack([once.flatten(), twice.flatten()]))[0, 1]) < 0.1


def test_what_is_no_step_is_refused() -> None:
    with pytest.raises(UsageError, match="unknown attack 'rotate'"):
        Combination(steps="rotate")
    with pytest.raises(ValueError, match=r"'probability' of 'combination' got 1\.5, expected float from 0 to 1"):
        Combination(1.5)
    with pytest.raises(ValueError, match=r"'probability' of 'combination' got '1\.5', expected float from 0 to 1"):
        Combination(steps="jpeg[probability=1.5]")
    with pytest.raises(ValueError, match="'probability' of 'combination' got 'often', expected float from 0 to 1"):
        Combination(steps="jpeg[probability=often]")
    with pytest.raises(UsageError, match="unknown jpeg setting 'quality'"):
        Combination(steps="jpeg[quality=5]")


def test_an_attack_of_a_file_can_be_a_step(tmp_path: Path) -> None:
    file = tmp_path / "darken.py"
    file.write_text(
        "from gfp_bench import Perturbation, hookimpl\n"
        "class Darken(Perturbation):\n"
        "    name, version = 'darken', 1\n"
        "    def __init__(self, by: int = 1) -> None:\n"
        "        self.by = by\n"
        "    def perturb(self, images, rng):\n"
        "        return images - self.by\n"
        "@hookimpl\n"
        "def register_attacks(register):\n"
        "    register(Darken)\n"
    )
    with pytest.raises(UsageError, match="unknown attack 'darken'"):
        Combination(steps="darken")
    load_plugins([file])
    images = torch.full((4, 3, 8, 8), 100, dtype=torch.uint8)
    attacked = Combination(1.0, steps="darken[by=3] darken").perturb(images, streams(4))
    assert (attacked == 96).all()


def test_a_combination_is_no_step() -> None:
    with pytest.raises(ValueError, match="expected attacks other than a combination of them"):
        Combination(steps="combination[steps=noise]")
