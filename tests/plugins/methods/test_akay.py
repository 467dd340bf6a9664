import numpy as np
import pytest
import torch
from scipy.signal import wiener

from gfp_bench.metrics.detection import detection_margins
from gfp_bench_methods.akay import Akay


@pytest.fixture
def patterned(make_set):
    """Each source adds a pattern of its own to smooth scenes; that of real is the strongest."""

    def make(count: int, seed: int):
        draws = np.random.default_rng(seed)
        labels = np.arange(count) % 3
        patterns = np.random.default_rng(9).normal(0, 1, (3, 3, 32, 32)) * np.array([4, 4, 6])[:, None, None, None]
        scenes = draws.normal(128, 25, (count, 3, 4, 4)).repeat(8, axis=2).repeat(8, axis=3)
        noise = draws.normal(0, 8, scenes.shape)
        return make_set((scenes + patterns[labels] + noise).round().clip(0, 255), labels)

    return make(90, 0), make(60, 1), make(60, 2)


def slow_residual(image: np.ndarray) -> np.ndarray:
    return np.concatenate([(plane - wiener(plane, 3)).ravel() for plane in image.astype(float)])


def slow_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """The report's norm_corr: no mean is removed."""
    return float((a * b).sum() / np.sqrt((a**2).sum() * (b**2).sum()))


def test_correlations_are_the_reports(patterned, rng, reload) -> None:
    train, val, test = patterned
    method = Akay(rule="argmax")
    method.fit(train, val, rng=rng)
    residuals = np.array([slow_residual(image) for image in train.images.numpy()])
    fingerprints = [residuals[train.labels.numpy() == label].mean(axis=0) for label in range(3)]
    some = test.images[:6]
    expected = [[slow_correlation(slow_residual(image), one) for one in fingerprints] for image in some.numpy()]
    np.testing.assert_allclose(method.scores(some), expected, atol=1e-5)
    scores = method.scores(test.images)
    assert torch.equal(scores.argmax(dim=1), test.labels)
    assert torch.equal(reload(method, Akay(rule="argmax")).scores(test.images), scores)


def test_threshold_divides_real_from_generated(patterned, rng, reload) -> None:
    train, val, test = patterned
    method = Akay()
    method.fit(train, val, rng=rng)
    scores = method.scores(test.images)
    assert torch.equal(scores.argmax(dim=1), test.labels)
    correlations = reload(method, Akay())._correlations(test.images)
    margins = detection_margins(scores.numpy(), test.sources)
    np.testing.assert_allclose(margins, correlations[:, 2] - method.level, atol=1e-6)
    assert torch.equal(scores[:, :2].argmax(dim=1), correlations[:, :2].argmax(dim=1))


def test_no_threshold_separates_the_validation_images_better(patterned, rng) -> None:
    train, val, _ = patterned
    method = Akay()
    method.fit(train, val, rng=rng)
    correlations, real = method._correlations(val.images)[:, 2].numpy(), val.labels.numpy() == 2

    def youden(level: float) -> float:
        found = correlations >= level
        return float(found[real].mean() - found[~real].mean())

    assert youden(method.level) == max(map(youden, [*correlations, 2.0]))


def test_the_reports_own_threshold(patterned, rng) -> None:
    train, val, test = patterned
    method = Akay(threshold=0.005)
    method.fit(train, val, rng=rng)
    named = method.scores(test.images).argmax(dim=1) == 2
    assert torch.equal(named, method._correlations(test.images)[:, 2] >= 0.005)


def test_without_real_images_there_is_no_threshold(make_set, noise, rng) -> None:
    images = make_set(noise, np.arange(48) % 2, ("a", "b"))
    with pytest.raises(ValueError, match="akay got sources a, b, expected 'real' and others"):
        Akay().fit(images, images, rng=rng)
    Akay(rule="argmax").fit(images, images, rng=rng)
    with pytest.raises(ValueError, match="rule=argmax has no threshold, but threshold is 0"):
        Akay(rule="argmax", threshold=0.0)


def test_validation_images_of_one_kind_are_refused(make_set, noise, rng) -> None:
    train = make_set(noise, np.arange(48) % 3)
    with pytest.raises(ValueError, match="validation images of one kind"):
        Akay().fit(train, make_set(noise[:4], [2] * 4), rng=rng)


@pytest.mark.parametrize("denoiser", ["wiener", "wavelet"])
def test_strange_images_give_numbers(make_set, rng, denoiser: str) -> None:
    """One image per source: a flat one, a grey one, both of 8 x 8 pixels, and noise."""
    pixels = np.random.default_rng(0).integers(0, 256, (3, 3, 8, 8))
    pixels[0], pixels[1] = 7, pixels[1, :1]
    images = make_set(pixels, [0, 1, 2])
    for rule in ("threshold", "argmax"):
        method = Akay(rule=rule, denoiser=denoiser)
        method.fit(images, images, rng=rng)
        assert method.scores(images.images).isfinite().all()
