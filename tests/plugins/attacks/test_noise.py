import numpy as np
import pytest
import torch
from scipy import stats

from gfp_bench import ImageRng
from gfp_bench_attacks.noise import Noise

COUNT, SHAPE = 200, (3, 16, 16)


@pytest.fixture
def rng() -> ImageRng:
    return ImageRng.for_images([str(i) for i in range(COUNT)], seed=0, dataset="set", attack="noise", split="test")


def added(attack: Noise, rng: ImageRng) -> torch.Tensor:
    grey = torch.full((COUNT, *SHAPE), 128, dtype=torch.uint8)
    return attack.perturb(grey, rng).double() - 128


@pytest.mark.parametrize(("interpretation", "power"), [("variance", 2), ("std", 1)])
def test_strength_is_uniform_over_its_range(rng: ImageRng, interpretation: str, power: int) -> None:
    deviation = added(Noise(interpretation=interpretation), rng).flatten(1).std(dim=1)
    strength = (deviation.square() - 1 / 12).sqrt() ** power  # rounding adds its own variance
    assert stats.kstest(strength.numpy(), "uniform", args=(5, 15)).pvalue > 0.01


def test_noise_has_the_norm_that_is_asked_for(rng: ImageRng) -> None:
    norm = added(Noise(3.0, 3.0, "l2"), rng).flatten(1).norm(dim=1) / 255
    rounding = SHAPE[0] * SHAPE[1] * SHAPE[2] / 12 / 255**2  # adds its own variance
    torch.testing.assert_close((norm.square() - rounding).sqrt(), torch.full_like(norm, 3.0), rtol=5e-3, atol=0)


def test_noise_is_normal_and_independent(rng: ImageRng) -> None:
    noise = added(Noise(400.0, 400.0), rng).flatten(1).numpy()
    shaken = noise + np.random.default_rng(0).uniform(-0.5, 0.5, noise.shape)  # undo the steps of rounding
    assert stats.kstest(shaken.flatten(), "norm", args=(0, np.sqrt(400 + 1 / 6))).pvalue > 0.01
    correlations = np.corrcoef(noise) - np.eye(COUNT)
    assert np.abs(correlations).max() < 5.5 / np.sqrt(noise.shape[1])


def test_noise_is_rounded_to_nearest_and_clipped(rng: ImageRng) -> None:
    images = torch.randint(0, 256, (COUNT, *SHAPE), dtype=torch.uint8)
    attacked = Noise(9.0, 9.0).perturb(images, rng[:])
    strength = rng.uniform()  # the first draw, not used where the range is one value
    assert len(strength) == COUNT
    expected = np.clip(np.rint(images.numpy() + 3 * rng.normal(SHAPE).numpy()), 0, 255)
    np.testing.assert_array_equal(attacked.numpy(), expected)


def test_franks_code_cuts_fractions_off(rng: ImageRng) -> None:
    """Clip, then a cast that truncates, with the drawn number as deviation."""
    images = torch.randint(0, 256, (COUNT, *SHAPE), dtype=torch.uint8)
    attacked = Noise(interpretation="frank").perturb(images, rng[:])
    deviation = rng.uniform(5, 20).numpy()[:, None, None, None]
    expected = np.clip(images.numpy() + deviation * rng.normal(SHAPE).numpy(), 0, 255).astype(np.uint8)
    np.testing.assert_array_equal(attacked.numpy(), expected)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"low": -1.0}, "'low' of 'noise' got -1.0, expected float from 0 to 65025"),
        ({"low": 30.0}, "low=30.0 and high=20.0 are no range"),
        ({"high": float("nan")}, "got nan, expected float"),
        ({"interpretation": "sigma"}, "got 'sigma', expected 'variance' or 'std' or 'frank' or 'l2'"),
    ],
)
def test_settings_out_of_range_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Noise(**options)
