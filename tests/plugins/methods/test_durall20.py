import math

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.interpolate import CubicSpline
from sklearn.svm import SVC

from gfp_bench_methods._shared.features import luma
from gfp_bench_methods._shared.svm import Kernel, fit_kernel_machine, kernel_scores
from gfp_bench_methods.durall20 import Durall20, profile


def slow_profile(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The definition, pixel by pixel, and by how much rounding may change each value.

    A coefficient is off by a unit of the sum of all pixels for each of the 8 stages of a transform of 256, which moves
    its logarithm the more the nearer it is to 0: some coefficients of small images are 0 but for that.
    """
    height, width = image.shape[1:]
    gray = cv2.cvtColor(image.transpose(1, 2, 0), cv2.COLOR_RGB2GRAY)
    spectrum = np.abs(np.fft.fftshift(np.fft.fft2(gray)) + 1e-8)
    off = 8 * np.finfo(np.float64).eps * float(gray.sum())
    rings: dict[int, list[tuple[float, float]]] = {}
    for y in range(height):
        for x in range(width):
            ring = math.floor(math.hypot(y - (height - 1) / 2, x - (width - 1) / 2))
            rings.setdefault(ring, []).append((20 * math.log(spectrum[y, x]), 20 * off / spectrum[y, x]))
    values, allowed = np.array([np.mean(rings[ring], axis=0) for ring in range(1, max(rings))]).T
    return values, allowed + 1e-10


@pytest.fixture
def smoothed(make_set, noise):
    """Source b averages every two pixels of a row, real every two of a column as well."""
    labels = np.arange(48) % 3
    pixels = noise.astype(float)
    for axis, blurred in ((3, labels > 0), (2, labels > 1)):
        pixels[blurred] = (pixels[blurred] + np.roll(pixels[blurred], 1, axis)) / 2
    return make_set(pixels.round(), labels)


@given(st.integers(4, 14), st.integers(4, 14), st.integers(0, 2**32 - 1))
def test_profile_is_its_definition(height: int, width: int, seed: int) -> None:
    image = np.random.default_rng(seed).integers(0, 256, (3, height, width), dtype=np.uint8)
    expected, allowed = slow_profile(image)
    assert (np.abs(profile(torch.from_numpy(image)[None])[0].numpy() - expected) <= allowed).all()


@pytest.mark.parametrize(
    ("shape", "length"), [((64, 64), 43), ((128, 128), 88), ((1024, 1024), 722), ((218, 178), 139)]
)
def test_profile_lengths(shape, length: int) -> None:
    assert Durall20().features(torch.full((1, 3, *shape), 100, dtype=torch.uint8)).shape == (1, length)


def test_luma_is_opencvs() -> None:
    image = np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8)
    expected = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    assert (luma(torch.from_numpy(image.transpose(2, 0, 1))[None])[0].numpy() == expected).all()


def test_normalisations_of_a_profile(noise) -> None:
    images = torch.from_numpy(noise[:4])
    raw = Durall20(norm="none").features(images)
    torch.testing.assert_close(Durall20().features(images), raw / raw[:, :1])
    scaled = Durall20(norm="minmax").features(images)
    assert scaled.amin(dim=1).tolist() == [0] * 4
    assert scaled.amax(dim=1).tolist() == [1] * 4
    np.testing.assert_allclose(np.diff(scaled), np.diff(raw) / np.ptp(raw.numpy(), axis=1)[:, None])


def test_a_mirrored_image_has_the_spectrum_of_the_image(noise) -> None:
    odd = torch.from_numpy(noise[:4, :, :15, :15].copy())  # with an odd side the rings are symmetric too
    torch.testing.assert_close(profile(odd), profile(odd.flip(3)))


@pytest.mark.parametrize("classifier", ["rbf", "linear", "poly", "logistic"])
def test_recovers_planted_smoothness(smoothed, rng, reload, classifier) -> None:
    train, test = (smoothed.subset(np.arange(start, start + 24)) for start in (0, 24))
    method = Durall20(classifier=classifier, norm="none", gamma=1e-4)
    method.fit(train, test, rng=rng)
    scores = method.scores(test.images)
    assert torch.equal(scores.argmax(dim=1), test.labels)
    again = reload(method, Durall20(classifier=classifier, norm="none", gamma=1e-4))
    assert torch.equal(again.scores(test.images), scores)


@pytest.mark.parametrize("classifier", ["rbf", "linear", "poly"])
@pytest.mark.parametrize("n_sources", [2, 3, 5])
def test_machine_scores_are_scikit_learns(classifier, n_sources: int) -> None:
    draws = np.random.default_rng(n_sources)
    features, labels = draws.normal(size=(60, 4)), draws.permutation(np.arange(60) % n_sources)
    queries = draws.normal(size=(200, 4))
    oracle = SVC(C=2.0, kernel=classifier, gamma=0.3, decision_function_shape="ovr").fit(features, labels)
    kernel = Kernel(classifier, 0.3)
    machine = fit_kernel_machine(torch.from_numpy(features), torch.from_numpy(labels), n_sources, kernel, 2.0)
    scores = kernel_scores(machine, kernel, torch.from_numpy(queries), n_sources).numpy()
    expected = oracle.decision_function(queries)
    if n_sources == 2:  # scikit-learn gives one column then: the margin of the second source
        margin = np.abs(expected) > 1e-6
        assert (scores.argmax(axis=1) == oracle.predict(queries))[margin].all()
        assert (np.argsort(scores[:, 1] - scores[:, 0]) == np.argsort(expected)).mean() > 0.9
    else:
        np.testing.assert_allclose(scores, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"classifier": "tree"}, "'tree', expected 'rbf' or"),
        ({"norm": "last"}, "'last', expected 'first'"),
        ({"c": -1.0}, "-1.0, expected float above 0"),
        ({"gamma": 0.0}, "0.0, expected float above 0"),
    ],
)
def test_strange_settings_are_refused(settings, message) -> None:
    with pytest.raises(ValueError, match=f"'durall20' got {message}"):
        Durall20(**settings)


@pytest.mark.parametrize("length", [10, 80, 300])
def test_profiles_are_resampled_by_a_cubic_spline(noise, length: int) -> None:
    images = torch.from_numpy(noise[:3])
    raw = Durall20(norm="none").features(images).numpy()
    count = raw.shape[1]
    spline = CubicSpline(np.linspace(0, length, count), raw, axis=1, bc_type="not-a-knot")
    expected = spline(np.linspace(0, length, length))
    np.testing.assert_allclose(Durall20(norm="none", length=length).features(images), expected, rtol=1e-10)
    first = Durall20(length=length).features(images)
    np.testing.assert_allclose(first, expected / expected[:, :1], rtol=1e-10)


@pytest.mark.parametrize("norm", ["first", "none", "minmax"])
@pytest.mark.parametrize("side", [8, 64])
def test_flat_images_give_numbers(norm: str, side: int) -> None:
    flat = torch.full((2, 3, side, side), 7, dtype=torch.uint8)
    assert Durall20(norm=norm).features(flat).isfinite().all()


def test_as_many_values_as_there_are_change_nothing(noise) -> None:
    images = torch.from_numpy(noise[:3])
    raw = Durall20(norm="none").features(images)
    same = Durall20(norm="none", length=raw.shape[1]).features(images)
    np.testing.assert_allclose(same, raw, rtol=1e-12)
