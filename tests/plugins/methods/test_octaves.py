import numpy as np
import pytest
import torch
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from gfp_bench import octaves
from gfp_bench.contracts.dataset import DatasetFacts
from gfp_bench.data.manifest import Manifest
from gfp_bench_methods.octaves import Octaves


@pytest.fixture
def grained(make_set):
    """Sources of one mean and one range whose detail has another scale each: 1, 2 and 4 pixels."""
    rng, labels = np.random.default_rng(0), np.arange(48) % 3
    grains = [rng.integers(60, 196, (48, 3, 16 // size, 16 // size)) for size in (1, 2, 4)]
    whole = np.stack([g.repeat(size, axis=2).repeat(size, axis=3) for g, size in zip(grains, (1, 2, 4), strict=True)])
    return make_set(whole[labels, np.arange(48)], labels)


def test_recovers_a_planted_scale(grained, rng, reload) -> None:
    train, val = (grained.subset(np.arange(start, start + 24)) for start in (0, 24))
    method = Octaves()
    method.fit(train, val, rng=rng)
    scores = method.scores(val.images)
    assert torch.equal(scores.argmax(dim=1), val.labels)
    assert torch.equal(reload(method, Octaves()).scores(val.images), scores)


def test_answers_are_those_of_scikit_learn(make_set, noise, rng) -> None:
    images = make_set(noise, np.arange(48) % 3)
    method = Octaves()
    method.fit(images, images, rng=rng)
    energies = octaves(images.images).numpy()
    oracle = make_pipeline(StandardScaler(), SVC(C=method.penalty, gamma=1 / 21, decision_function_shape="ovr"))
    oracle.fit(energies, images.labels)
    np.testing.assert_allclose(method.scores(images.images), oracle.decision_function(energies), atol=1e-5)


def test_images_without_three_octaves_are_left_out(toy: Manifest) -> None:
    small: DatasetFacts = toy.model_copy(update={"image_size": (7, 9)})
    assert Octaves().skip(small) == "images are 9 x 7 pixels, and three octaves need 8 x 8"
    assert Octaves().skip(toy.model_copy(update={"image_size": (8, 8)})) is None
