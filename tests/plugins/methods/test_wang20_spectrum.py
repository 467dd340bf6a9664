import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.ndimage import median_filter

from gfp_bench_methods.wang20_spectrum import Wang20Spectrum, median3


def slow_spectrum(plane: NDArray[np.uint8]) -> NDArray[np.float64]:
    high = plane.astype(float) - median_filter(plane, 3, mode="nearest")
    return np.log(1 + np.abs(np.fft.fftshift(np.fft.fft2(high))))


@pytest.fixture
def lattices(make_set, noise):
    """Source b has stripes of period 2, real of period 4."""
    labels = np.arange(48) % 3
    column = np.arange(16)
    stripes = np.stack([0 * column, column % 2, column % 4 // 2])[labels]
    return make_set(noise + 40 * stripes[:, None, None], labels)


@pytest.mark.parametrize("shape", [(16, 16), (8, 8), (5, 12)])
def test_median_is_scipys(shape: tuple[int, int]) -> None:
    images = np.random.default_rng(0).integers(0, 256, (4, 3, *shape), dtype=np.uint8)
    expected = median_filter(images, (1, 1, 3, 3), mode="nearest")
    assert (median3(torch.from_numpy(images)).numpy() == expected).all()


@pytest.mark.parametrize("shape", [(16, 16), (8, 8), (9, 12)])
def test_spectra_are_their_definition(shape: tuple[int, int]) -> None:
    images = np.random.default_rng(1).integers(0, 256, (3, 3, *shape), dtype=np.uint8)
    expected = np.array([[slow_spectrum(plane) for plane in image] for image in images])
    found = Wang20Spectrum().fingerprints(torch.from_numpy(images))
    np.testing.assert_allclose(found, expected.reshape(3, -1), rtol=1e-9, atol=1e-9)
    greys = [slow_spectrum(cv2.cvtColor(image.transpose(1, 2, 0), cv2.COLOR_RGB2GRAY)) for image in images]
    found = Wang20Spectrum(channels="grey").fingerprints(torch.from_numpy(images))
    np.testing.assert_allclose(found, np.reshape(greys, (3, -1)), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("channels", ["rgb", "grey"])
def test_lattices_are_told_apart(lattices, rng, reload, channels: str) -> None:
    train, test = (lattices.subset(np.arange(start, start + 24)) for start in (0, 24))
    method = Wang20Spectrum(channels=channels)
    method.fit(train, test, rng=rng)
    scores = method.scores(test.images)
    assert (scores.argmax(dim=1) == test.labels).double().mean() >= 0.9
    assert torch.equal(reload(method, Wang20Spectrum(channels=channels)).scores(test.images), scores)
    features = method.fingerprints(test.images).numpy()
    means = [method.fingerprints(train.images)[train.labels == label].mean(dim=0).numpy() for label in range(3)]
    np.testing.assert_allclose(scores, np.corrcoef(features, means)[:24, 24:], atol=1e-6)


def test_strange_images_give_numbers(make_set, rng) -> None:
    """One image per source: a flat one, a grey one, both of 8 x 8 pixels, and noise."""
    pixels = np.random.default_rng(0).integers(0, 256, (3, 3, 8, 8))
    pixels[0], pixels[1] = 7, pixels[1, :1]
    images = make_set(pixels, [0, 1, 2])
    method = Wang20Spectrum()
    method.fit(images, images, rng=rng)
    scores = method.scores(images.images)
    assert scores.isfinite().all()
    assert (scores[0] == 0).all(), "a flat image agrees with nothing"
