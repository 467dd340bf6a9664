import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors
from sklearn.svm import LinearSVC

from gfp_bench_methods.eigenface import Eigenface, principal


@pytest.fixture
def faces(make_set, noise):
    """Each source shows its own scene under noise."""
    labels = np.arange(48) % 3
    scenes = np.random.default_rng(1).integers(0, 60, (3, 3, 16, 16), dtype=np.uint8)
    return make_set(noise + scenes[labels], labels)


@pytest.fixture
def halves(faces):
    return faces.subset(np.arange(24)), faces.subset(np.arange(24, 48))


def scaled(images: torch.Tensor) -> np.ndarray:
    return images.flatten(1).double().numpy() / 127.5 - 1


@pytest.mark.parametrize("shape", [(20, 50), (50, 20)])
def test_components_are_scikit_learns(shape: tuple[int, int]) -> None:
    rows = np.random.default_rng(0).normal(size=shape) * np.linspace(1, 3, shape[1])
    mean, components, shares = principal(torch.from_numpy(rows))
    oracle = PCA(svd_solver="full").fit(rows)
    count = min(shape[0] - 1, shape[1])  # the mean takes one away
    assert len(components) == count
    np.testing.assert_allclose(mean, oracle.mean_, atol=1e-12)
    np.testing.assert_allclose(shares, oracle.explained_variance_ratio_.cumsum()[:count], rtol=1e-9)
    signs = np.sign((components.numpy() * oracle.components_[:count]).sum(axis=1))
    np.testing.assert_allclose(components.numpy() * signs[:, None], oracle.components_[:count], atol=1e-8)


def test_scores_are_scikit_learns(halves, rng) -> None:
    train, test = halves
    method = Eigenface(variance=0.75, c=0.01)
    method.fit(train, test, rng=rng)
    pca = PCA(0.75, svd_solver="full").fit(scaled(train.images))
    machine = LinearSVC(C=0.01, dual=False, tol=1e-8).fit(pca.transform(scaled(train.images)), train.labels)
    assert method.fingerprints(test.images).shape == (24, pca.n_components_)
    expected = machine.decision_function(pca.transform(scaled(test.images)))
    np.testing.assert_allclose(method.scores(test.images), expected, atol=1e-3)


def test_nearest_image_is_scikit_learns(halves, rng) -> None:
    train, test = halves
    method = Eigenface(classifier="nn", variance=0.5)
    method.fit(train, test, rng=rng)
    rows, queries = method.fingerprints(train.images), method.fingerprints(test.images)
    distances, places = NearestNeighbors(n_neighbors=1).fit(rows).kneighbors(queries)
    scores = method.scores(test.images)
    assert (scores.argmax(dim=1) == train.labels[places[:, 0]]).all()
    np.testing.assert_allclose(-scores.amax(dim=1), distances[:, 0], rtol=1e-5)


@pytest.mark.parametrize("classifier", ["svm", "nn"])
def test_recovers_planted_scenes(halves, rng, reload, classifier: str) -> None:
    train, test = halves
    method = Eigenface(classifier=classifier)
    method.fit(train, test, rng=rng)
    scores = method.scores(test.images)
    assert torch.equal(scores.argmax(dim=1), test.labels)
    again = reload(method, Eigenface(classifier=classifier))
    torch.testing.assert_close(again.scores(test.images), scores)


def test_variance_and_penalty_are_the_best_on_validation_images(make_set, noise, rng) -> None:
    labels = np.arange(48) % 3
    pixels = noise + np.random.default_rng(1).integers(0, 8, (3, 3, 16, 16), dtype=np.uint8)[labels]
    images = make_set(pixels, labels)
    train, val = images.subset(np.arange(24)), images.subset(np.arange(24, 48))

    def accuracy(method: Eigenface) -> float:
        method.fit(train, val, rng=rng)
        return float((method.scores(val.images).argmax(dim=1) == val.labels).double().mean())

    found = [
        accuracy(Eigenface(variance=variance, c=c))
        for variance in (0.25, 0.5, 0.75, 0.95)
        for c in (1e-4, 1e-3, 1e-2, 1e-1)
    ]
    assert len(set(found)) > 1, "or any choice would do"
    assert accuracy(Eigenface()) == max(found)


@pytest.mark.parametrize("classifier", ["svm", "nn"])
def test_strange_images_give_numbers(make_set, rng, classifier: str) -> None:
    """One image per source: a flat one, a grey one, both of 8 x 8 pixels, and noise; then nothing but flat ones."""
    pixels = np.random.default_rng(0).integers(0, 256, (3, 3, 8, 8))
    pixels[0], pixels[1] = 7, pixels[1, :1]
    for some in (pixels, np.full_like(pixels, 9)):
        images = make_set(some, [0, 1, 2])
        method = Eigenface(classifier=classifier)
        method.fit(images, images, rng=rng)
        assert method.scores(images.images).isfinite().all()
        assert method.fingerprints(images.images).isfinite().all()


def test_a_penalty_without_a_machine_is_refused() -> None:
    with pytest.raises(ValueError, match="'eigenface': c is the support vector machine's, but the classifier is 'nn'"):
        Eigenface(classifier="nn", c=1.0)
