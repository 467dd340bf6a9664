import numpy as np
import pytest
import torch
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from gfp_bench_methods.mccloskey18 import McCloskey18


@pytest.fixture
def clipped(make_set, noise):
    """Source a saturates two values per image, b blackens two, real neither."""
    labels = np.arange(48) % 3
    pixels = noise.copy()
    pixels[labels == 0, 1, 0, :2] = 255
    pixels[labels == 1, 1, 0, :2] = 3
    return make_set(pixels, labels)


def test_fractions_of_a_known_image() -> None:
    values = [0, 5, 6, 15, 16, 239, 240, 244, 245, 255, 100, 100]
    image = torch.tensor(values, dtype=torch.uint8).reshape(1, 3, 2, 2)
    counts = [4, 2, 1, 1, 1, 2, 3, 4]  # >= 240, 245, 250, 255, then <= 0, 5, 10, 15
    np.testing.assert_allclose(McCloskey18().features(image)[0], np.array(counts) / 12)


def test_each_channel_is_counted_by_itself() -> None:
    image = torch.full((1, 3, 4, 4), 128, dtype=torch.uint8)
    image[0, 2] = 255
    assert McCloskey18(intensity="channel").features(image)[0].reshape(3, 8).sum(dim=1).tolist() == [0, 0, 4]
    assert McCloskey18(intensity="grey").features(image).sum() == 0  # luma is 142 there


@pytest.mark.parametrize("intensity", ["all", "channel"])
def test_recovers_planted_clipping(clipped, rng, reload, intensity) -> None:
    train, test = (clipped.subset(np.arange(start, start + 24)) for start in (0, 24))
    method = McCloskey18(intensity=intensity)
    method.fit(train, test, rng=rng)
    scores = method.scores(test.images)
    assert torch.equal(scores.argmax(dim=1), test.labels)
    assert torch.equal(reload(method, McCloskey18(intensity=intensity)).scores(test.images), scores)


@pytest.mark.parametrize("n_sources", [2, 3])
def test_scores_are_scikit_learns(clipped, make_set, rng, n_sources: int) -> None:
    chosen = np.flatnonzero(clipped.labels.numpy() < n_sources)
    images = make_set(clipped.images.numpy()[chosen], clipped.labels.numpy()[chosen], ("a", "b", "real")[:n_sources])
    method = McCloskey18(c=1.0)
    method.fit(images, images, rng=rng)
    features = method.features(images.images).numpy()
    oracle = make_pipeline(StandardScaler(), LinearSVC(dual=False)).fit(features, images.labels)
    expected = oracle.decision_function(features)
    scores = method.scores(images.images)
    np.testing.assert_allclose(scores[:, 1] if n_sources == 2 else scores, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "message"), [({"intensity": "hsv"}, "'hsv', expected 'all'"), ({"c": 0.0}, "0.0")]
)
def test_strange_settings_are_refused(settings, message) -> None:
    with pytest.raises(ValueError, match=f"'mccloskey18' got {message}"):
        McCloskey18(**settings)


def test_the_penalty_is_the_best_on_validation_images(clipped, make_set, rng) -> None:
    """Validation images whose labels are dealt anew choose another penalty, and no other images are looked at."""
    train, val = (clipped.subset(np.arange(start, start + 24)) for start in (0, 24))
    method = McCloskey18()
    method.fit(train, val, rng=rng)
    accuracies = {}
    for c in (0.01, 0.1, 1.0, 10.0, 100.0, 1000.0, 10_000.0):
        alone = McCloskey18(c=c)
        alone.fit(train, val, rng=rng)
        accuracies[c] = float((alone.scores(val.images).argmax(dim=1) == val.labels).double().mean())
    assert accuracies[method.penalty] == max(accuracies.values())
    assert method.penalty == min(c for c, accuracy in accuracies.items() if accuracy == max(accuracies.values()))
    chosen = McCloskey18(c=method.penalty)
    chosen.fit(train, val, rng=rng)
    assert torch.equal(chosen.scores(val.images), method.scores(val.images))


def test_two_sources_have_two_columns(clipped, make_set, rng) -> None:
    chosen = np.flatnonzero(clipped.labels.numpy() < 2)
    images = make_set(clipped.images.numpy()[chosen], clipped.labels.numpy()[chosen], ("a", "real"))
    method = McCloskey18()
    method.fit(images, images, rng=rng)
    assert method.scores(images.images).shape == (len(chosen), 2)
