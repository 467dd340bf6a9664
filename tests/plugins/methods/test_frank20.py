import numpy as np
import pytest
import torch
from scipy.fft import dctn
from sklearn.linear_model import LogisticRegression, RidgeClassifier

from gfp_bench_methods._shared.linear import fit_logistic_each, fit_ridge, fit_softmax
from gfp_bench_methods._shared.svm import linear_scores
from gfp_bench_methods.frank20 import Frank20


@pytest.fixture
def gridded(make_set, noise):
    """Source b has a grid of period 2, real of period 4."""
    labels = np.arange(48) % 3
    row, column = np.mgrid[:16, :16]
    grids = np.stack([0 * row, (row + column) % 2, column % 4 // 2])[labels]
    return make_set(noise + 80 * grids[:, None], labels)


def samples(n_sources: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    draws = np.random.default_rng(n_sources)
    labels = draws.permutation(np.arange(60) % n_sources)
    rows, queries = draws.normal(size=(60, 8)) + labels[:, None], draws.normal(size=(30, 8)) + 1
    return torch.from_numpy(rows), torch.from_numpy(labels), torch.from_numpy(queries)


@pytest.mark.parametrize("shape", [(16, 16), (8, 8), (9, 12)])
def test_features_are_scipys(shape: tuple[int, int]) -> None:
    images = np.random.default_rng(0).integers(0, 256, (20, 3, *shape), dtype=np.uint8)
    expected = np.log(np.abs(dctn(images.astype(float), axes=(2, 3), norm="ortho")) + 1e-12)
    np.testing.assert_allclose(
        Frank20().features(torch.from_numpy(images)), expected.reshape(20, -1), rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("n_sources", [2, 4])
def test_softmax_is_at_the_optimum_of_its_definition(n_sources: int) -> None:
    rows, labels, queries = samples(n_sources)
    scores = linear_scores(fit_softmax(rows, labels, n_sources, 0.01), queries)
    oracle = LogisticRegression(C=1 / (2 * 60 * 0.01), tol=1e-10, max_iter=10_000).fit(rows, labels)
    expected = oracle.decision_function(queries).reshape(30, -1)
    if n_sources == 2:
        expected = np.concatenate([-expected, expected], axis=1)
    np.testing.assert_allclose(scores, expected, atol=0.02 * np.abs(expected).max())


@pytest.mark.parametrize("n_sources", [2, 4])
def test_ridge_is_its_definition(n_sources: int) -> None:
    rows, labels, queries = samples(n_sources)
    scores = linear_scores(fit_ridge(rows, labels, n_sources, 0.1), queries)
    design = np.concatenate([rows, np.ones((60, 1))], axis=1)
    penalty = 60 * 0.1 * np.diag([1.0] * 8 + [0.0])
    targets = 2.0 * (labels.numpy()[:, None] == np.arange(n_sources)) - 1
    weights = np.linalg.solve(design.T @ design + penalty, design.T @ targets)
    np.testing.assert_allclose(scores, np.concatenate([queries, np.ones((30, 1))], axis=1) @ weights, atol=1e-5)
    assert (RidgeClassifier(6.0).fit(rows, labels).predict(queries) == scores.argmax(dim=1).numpy()).all()


@pytest.mark.parametrize("n_sources", [2, 4])
def test_logistic_regressions_against_the_rest(n_sources: int) -> None:
    rows, labels, queries = samples(n_sources)
    scores = linear_scores(fit_logistic_each(rows, labels, n_sources, 2.0), queries)
    for source in range(n_sources):
        oracle = LogisticRegression(C=2.0, solver="liblinear").fit(rows, labels.numpy() == source)
        np.testing.assert_allclose(scores[:, source], oracle.decision_function(queries), atol=1e-2)


@pytest.mark.parametrize("classifier", ["logistic", "ridge"])
@pytest.mark.parametrize("decay", [0.1, None])
def test_recovers_planted_grids(gridded, rng, reload, classifier: str, decay: float | None) -> None:
    train, test = (gridded.subset(np.arange(start, start + 24)) for start in (0, 24))
    method = Frank20(classifier=classifier, decay=decay)
    method.fit(train, test, rng=rng)
    scores = method.scores(test.images)
    assert (scores.argmax(dim=1) == test.labels).double().mean() >= 0.9
    assert torch.equal(reload(method, Frank20(classifier=classifier, decay=decay)).scores(test.images), scores)


def test_features_are_standardised(gridded, rng) -> None:
    method = Frank20(classifier="ridge")
    method.fit(gridded, gridded, rng=rng)
    rows = method.fingerprints(gridded.images).numpy()
    np.testing.assert_allclose(rows.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(rows.std(axis=0), 1, atol=1e-4)


def test_strange_images_give_numbers(make_set, rng) -> None:
    """One image per source: a flat one, a grey one, both of 8 x 8 pixels, and noise."""
    pixels = np.random.default_rng(0).integers(0, 256, (3, 3, 8, 8))
    pixels[0], pixels[1] = 7, pixels[1, :1]
    images = make_set(pixels, [0, 1, 2])
    for classifier in ("logistic", "ridge"):
        method = Frank20(classifier=classifier)
        method.fit(images, images, rng=rng)
        assert method.scores(images.images).isfinite().all()


def test_one_source_is_refused(make_set, noise, rng) -> None:
    images = make_set(noise, [0] * 48, ("a",))
    with pytest.raises(ValueError, match="training images of 1 sources, expected some of each of the 1, which are two"):
        Frank20().fit(images, images, rng=rng)
