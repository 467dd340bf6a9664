from itertools import pairwise

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize, minimize_scalar
from sklearn.neighbors import KNeighborsClassifier

from gfp_bench_methods._shared.features import spread
from gfp_bench_methods.dzanic20 import Dzanic20, _bins, decay, matlab_grey


def slow_bins(image: NDArray[np.uint8], variant: str, count: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Radii and smoothed means of magnitudes, as the published code goes about it."""
    weights = np.array([0.298936, 0.587043, 0.114021])
    grey = np.floor(np.tensordot(weights, image.astype(float), 1) + 0.5)
    spectrum = np.abs(np.fft.fftshift(np.fft.fft2(grey)))
    height, width = grey.shape
    middle = [int(np.floor(size / 2 + 0.5)) for size in (height, width)]  # int32() rounds
    i, j = np.mgrid[1 : height + 1, 1 : width + 1]
    radii = np.sqrt((i - middle[0]) ** 2 + (j - middle[1]) ** 2)
    if variant == "paper":
        spectrum = spectrum / grey.sum()
    kept = radii > 0.5 * np.sqrt(middle[0] ** 2 + middle[1] ** 2)
    radius, magnitude = radii[kept], spectrum[kept]
    edges = np.linspace(radius.min(), radius.max(), count + 1)
    means, taken = [], np.zeros(len(radius), dtype=bool)
    for low, high in pairwise(edges):
        inside = (radius >= low) & (radius <= high) & ~taken
        taken |= inside
        means.append(magnitude[inside].mean())
    smooth = []
    for place in range(count):
        reach = min(2, place, count - 1 - place)
        smooth.append(np.mean(means[place - reach : place + reach + 1]))
    middles = (edges[:-1] + edges[1:]) / 2
    start = {"code": 7 * count // 10, "paper": count // 2}[variant]
    return middles[start:] / middles.max(), np.array(smooth[start:])


def slow_exponent(radii: NDArray[np.float64], values: NDArray[np.float64]) -> float:
    def error(b: float) -> float:
        return float(((values / values[0] - (radii / radii[0]) ** b) ** 2).sum())

    starts = np.linspace(-20, 20, 41)
    found = [minimize_scalar(error, bounds=(b - 1, b + 1), method="bounded", options={"xatol": 1e-12}) for b in starts]
    return float(min(found, key=lambda one: one.fun).x)


def images(shape: tuple[int, int], count: int, seed: int = 0) -> torch.Tensor:
    """Noise that is the smoother the later the image."""
    draws = np.random.default_rng(seed)
    pixels = draws.normal(0, 40, (count, 3, *shape))
    for number in range(count):
        share = number / count
        for axis in (1, 2):
            pixels[number] = (1 - share / 2) * pixels[number] + share / 2 * np.roll(pixels[number], 1, axis)
    return torch.from_numpy((pixels + 128).round().clip(0, 255).astype(np.uint8))


@pytest.mark.parametrize("variant", ["code", "paper"])
@pytest.mark.parametrize(("shape", "count"), [((64, 64), 22), ((33, 41), 11), ((16, 16), 5), ((128, 64), 22)])
def test_decay_is_its_definition(shape: tuple[int, int], count: int, variant: str) -> None:
    some = images(shape, 6)
    found = decay(some, variant).numpy()
    for image, (exponent, first, last) in zip(some.numpy(), found, strict=True):
        radii, values = slow_bins(image, variant, count)
        assert exponent == pytest.approx(slow_exponent(radii, values), abs=1e-6)
        np.testing.assert_allclose([first, last], values[[0, -1]], rtol=1e-9)


def test_large_images_have_the_codes_own_bins_and_search() -> None:
    """200 bins, 60 of them fitted by Nelder and Mead's method from -2 on."""
    image = images((600, 600), 3)[2:]
    radii, values = slow_bins(image[0].numpy(), "code", 200)
    assert len(values) == 60
    search = minimize(
        lambda b: np.linalg.norm(values - values[0] * (radii / radii[0]) ** b[0]),
        [-2.0],
        method="Nelder-Mead",
        options={"xatol": 1e-10, "fatol": 1e-12},
    )
    np.testing.assert_allclose(decay(image, "code")[0], [search.x[0], values[0], values[-1]], rtol=1e-6)


@pytest.mark.parametrize(("side", "kept"), [(64, 2487), (128, 9947), (256, 39791), (1024, 636_823)])
def test_frequencies_kept(side: int, kept: int) -> None:
    order, sizes, _ = _bins(side, side)
    assert len(order) == sum(sizes) == kept


def test_no_bin_is_empty() -> None:
    shapes = [(side, side) for side in range(16, 140)] + [(16, 300), (571, 571), (572, 572), (77, 1024)]
    assert all(min(_bins(*shape)[1]) > 0 for shape in shapes)


def test_grey_images_stay_as_they_are() -> None:
    levels = torch.arange(256, dtype=torch.uint8).expand(1, 3, 1, 256)
    assert torch.equal(matlab_grey(levels)[0, 0], torch.arange(256))


@pytest.mark.parametrize("variant", ["code", "paper"])
def test_recovers_planted_decay(make_set, rng, reload, variant: str) -> None:
    pixels, labels = images((32, 32), 60).numpy(), np.arange(60) // 20
    order = np.random.default_rng(1).permutation(60)
    train, test = (make_set(pixels[part], labels[part]) for part in (order[:45], order[45:]))
    method = Dzanic20(variant=variant)
    method.fit(train, test, rng=rng)
    scores = method.scores(test.images)
    assert (scores.argmax(dim=1) == test.labels).double().mean() > 0.7
    assert torch.equal(reload(method, Dzanic20(variant=variant)).scores(test.images), scores)


def test_votes_are_scikit_learns(make_set, rng) -> None:
    pixels, labels = images((16, 16), 60).numpy(), np.arange(60) // 30
    order = np.random.default_rng(1).permutation(60)
    train, test = (make_set(pixels[part], labels[part], ("a", "b")) for part in (order[:40], order[40:]))
    method = Dzanic20()
    method.fit(train, test, rng=rng)
    rows = method.features(train.images)
    mean, scale = spread(rows)
    oracle = KNeighborsClassifier(5).fit((rows - mean) / scale, train.labels)
    expected = oracle.predict((method.features(test.images) - mean) / scale)
    assert (method.scores(test.images).argmax(dim=1).numpy() == expected).all()


def test_strange_images_give_numbers(make_set, rng) -> None:
    """Flat, black and grey images, stripes, one image per source."""
    pixels = np.random.default_rng(0).integers(0, 256, (5, 3, 23, 23))
    pixels[0], pixels[1], pixels[2] = 0, 201, pixels[2, :1]
    pixels[3] = 100 + 10 * (np.arange(23) % 2)
    images = make_set(pixels, [0, 1, 2, 0, 1])
    for variant in ("code", "paper"):
        method = Dzanic20(variant=variant)
        method.fit(images, images, rng=rng)
        assert method.scores(images.images).isfinite().all()
        assert method.features(images.images)[:2].tolist() == [[-2, 0, 0]] * 2


def test_too_few_training_images_are_refused(make_set, noise, rng) -> None:
    few = make_set(noise[:3], [0, 1, 2])
    with pytest.raises(ValueError, match="'k' of 'dzanic20' got 5, expected at most the 3 training images"):
        Dzanic20().fit(few, few, rng=rng)
