import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats

from gfp_bench_methods.chance import Chance
from gfp_bench_methods.majority import Majority


def test_chance_scores_are_uniform_and_differ_between_seeds(make_set, rng) -> None:
    images = make_set(np.arange(2000 * 3, dtype=np.uint16).view(np.uint8).reshape(-1, 3, 1, 2)[:2000], np.zeros(2000))
    first, second = Chance(), Chance()
    first.fit(images, images, rng=rng)
    second.fit(images, images, rng=rng)
    scores = first.scores(images.images)
    assert scores.shape == (2000, 3)
    assert stats.kstest(scores.flatten().numpy(), "uniform").pvalue > 0.01
    assert abs(np.corrcoef(scores.flatten(), second.scores(images.images).flatten())[0, 1]) < 0.05


def test_chance_depends_on_the_image_alone(make_set, noise: NDArray[np.uint8], rng, reload) -> None:
    images = make_set(noise, np.zeros(48))
    method = Chance()
    method.fit(images, images, rng=rng)
    whole = method.scores(images.images)
    assert torch.equal(method.scores(images.images[7:9]), whole[7:9])
    assert torch.equal(reload(method, Chance()).scores(images.images), whole)


def test_majority_scores_are_the_training_shares(make_set, noise: NDArray[np.uint8], rng, reload) -> None:
    images = make_set(noise, [0] * 12 + [2] * 36)
    method = Majority()
    method.fit(images, images, rng=rng)
    assert method.scores(images.images[:2]).tolist() == [[0.25, 0, 0.75]] * 2
    assert torch.equal(reload(method, Majority()).scores(images.images), method.scores(images.images))
