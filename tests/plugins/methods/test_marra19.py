from itertools import product

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from prnu import slow_clearing, slow_wavelet_noise
from skimage import data

from gfp_bench import load_dataset
from gfp_bench.data.simulations.sine import Sine
from gfp_bench_methods._shared.correlation import evenly, peak_to_energy, unit
from gfp_bench_methods.marra19 import Marra19, reliance

WEIGHTS = np.array([0.29893602, 0.58704307, 0.11402090])


def slow_reliance(image: NDArray[np.uint8]) -> NDArray[np.float64]:
    """IntenScale times Saturation of the Binghamton toolbox, value by value."""
    _, height, width = image.shape
    found = np.zeros(image.shape)
    for channel, plane in enumerate(image.astype(int)):
        for y in range(height):
            for x in range(width):
                value = plane[y, x]
                around = (plane[y - 1, x], plane[(y + 1) % height, x], plane[y, x - 1], plane[y, (x + 1) % width])
                equal = value in around
                if image.max() < 250:
                    kept = True
                elif plane.max() > 250:
                    kept = not (value == plane.max() and equal)
                else:
                    kept = equal
                found[channel, y, x] = kept * (value / 252 if value < 252 else np.exp(-((value - 252) ** 2) / 6))
    return found


def slow_energy(image: NDArray[np.float64], pattern: NDArray[np.float64]) -> float:
    """Peak-to-correlation energy with every shift made."""
    _, height, width = image.shape
    image, pattern = (one - one.mean(axis=(1, 2), keepdims=True) for one in (image, pattern))
    plane = np.array([[(image * np.roll(pattern, (y, x), (1, 2))).sum() for x in range(width)] for y in range(height)])
    top, left = np.unravel_index(plane.argmax(), plane.shape)
    rest = [
        plane[y, x] ** 2
        for y in range(height)
        for x in range(width)
        if min((y - top) % height, (top - y) % height) > 2 or min((x - left) % width, (left - x) % width) > 2
    ]
    return float(plane.max() * abs(plane.max()) / np.mean(rest))


def cameras(count: int, seed: int) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.float64]]:
    """Cuts of a photograph whose PRNU, one of three, is 20 dB below them: images, labels, patterns."""
    picture, draws = data.astronaut().transpose(2, 0, 1).astype(float), np.random.default_rng(seed)
    patterns = np.random.default_rng(9).normal(0, 0.1, (3, 3, 64, 64))
    labels = np.arange(count) % 3
    corners = draws.integers(0, 448, (count, 2))
    cuts = np.stack([picture[:, top : top + 64, left : left + 64] for top, left in corners])
    return (cuts * (1 + patterns[labels])).round().clip(0, 255).astype(np.uint8), labels, patterns


@pytest.fixture
def three_cameras(make_set):
    return [make_set(*cameras(count, seed)[:2]) for count, seed in ((90, 0), (30, 1))]


@pytest.mark.parametrize("estimator", ["mean", "mle"])
def test_planted_prnu_is_found(three_cameras, rng, estimator: str) -> None:
    train, test = three_cameras
    method = Marra19(estimator=estimator, score="pce", sigma=5.0)
    method.fit(train, test, rng=rng)
    energies = method.scores(test.images)
    own = energies.gather(1, test.labels[:, None])[:, 0]
    others = energies[test.labels[:, None] != torch.arange(3)]
    assert own.min() > 60
    assert others.max() < 60
    by_correlation = Marra19(estimator=estimator)
    by_correlation.fit(train, test, rng=rng)
    assert torch.equal(by_correlation.scores(test.images).argmax(dim=1), test.labels)
    planted = torch.from_numpy(cameras(3, 0)[2])
    likeness = unit(by_correlation.fingerprint.double()) @ unit(planted).T
    assert likeness.diagonal().min() > 0.4
    assert (likeness - likeness.diag().diag()).abs().max() < 0.05


@pytest.mark.timeout(60)
@pytest.mark.parametrize("cycles", [8, 16])
def test_sine_waves_are_attributed(tmp_path, rng, cycles: int) -> None:
    manifest = Sine(cycles=cycles, strength=0.03, train=40, val=2, test=40).make(tmp_path)
    dataset = load_dataset(manifest.file, cache=tmp_path / "cache")
    method = Marra19()
    method.fit(dataset.split("train"), dataset.split("val"), rng=rng)
    test = dataset.split("test")
    assert (method.scores(test.images).argmax(dim=1) == test.labels).double().mean() >= 0.95


def test_camera_prnus_whole_procedure(three_cameras, rng) -> None:
    """Multiplicative fingerprint, grey, cleared; answers by correlation without a mean."""
    train, test = three_cameras
    train = train.subset(range(12))
    method = Marra19(sigma=5.0, levels=3, channels="grey", post="dde", estimator="mle", images=None)
    method.fit(train, test, rng=rng)
    noise = np.array(
        [[slow_wavelet_noise(plane, 5.0, 3) for plane in image] for image in train.images.double().numpy()]
    )
    fingerprints = []
    for label in range(3):
        chosen = train.labels.numpy() == label
        images = train.images.numpy()[chosen]
        weights = sum(slow_reliance(image) ** 2 for image in images)
        estimate = (noise[chosen] * (images / 255)).sum(axis=0) / (weights + 1)
        fingerprints.append(slow_clearing(np.tensordot(WEIGHTS, estimate, 1)))
    np.testing.assert_allclose(method.fingerprint[:, 0], fingerprints, atol=1e-4)
    image = test.images[:1]
    residual = [slow_wavelet_noise(plane, 5.0, 3) for plane in image[0].double().numpy()]
    cleared = slow_clearing(np.tensordot(WEIGHTS, residual, 1))
    np.testing.assert_allclose(method.fingerprints(image)[0], cleared.ravel(), atol=1e-4)
    expected = [(cleared * one).sum() / np.linalg.norm(cleared) / np.linalg.norm(one) for one in fingerprints]
    np.testing.assert_allclose(method.scores(image)[0], expected, atol=1e-4)


@pytest.mark.parametrize("largest", [255, 251, 250, 249])
def test_reliance_is_the_toolboxs(largest: int) -> None:
    draws = np.random.default_rng(largest)
    images = draws.integers(largest - 6, largest + 1, (4, 3, 9, 7)).astype(np.uint8)
    images[2:, 1] -= 5  # a darker channel
    expected = [slow_reliance(image) for image in images]
    np.testing.assert_allclose(reliance(torch.from_numpy(images)), expected, atol=1e-6)


def test_peak_to_energy_is_its_definition() -> None:
    draws = np.random.default_rng(0)
    images, patterns = draws.normal(size=(3, 2, 9, 8)), draws.normal(size=(2, 2, 9, 8))
    images[0] += np.roll(patterns[1], (8, 3), (1, 2))  # the peak lies at the edge
    expected = [[slow_energy(image, pattern) for pattern in patterns] for image in images]
    found = peak_to_energy(torch.from_numpy(images), torch.from_numpy(patterns))
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    assert found[0].argmax() == 1


def test_sigma_and_levels_are_chosen_on_the_validation_images(three_cameras, rng) -> None:
    """Where the validation images say that one strength serves best, that one is kept."""
    train, val = (images.subset(range(24)) for images in three_cameras)
    method = Marra19(sigma="val", levels="val")
    method.fit(train, val, rng=rng)
    accuracies = {}
    for sigma, levels in product((0.25, 0.5, 1.0, 2.0, 5.0), (1, 2, 3, 4)):
        alone = Marra19(sigma=sigma, levels=levels)
        alone.fit(train, val, rng=rng)
        right = alone.scores(val.images).argmax(dim=1) == val.labels
        accuracies[sigma, levels] = float(right.double().mean())
    assert accuracies[method.strength, method.depth] == max(accuracies.values())
    assert len(set(accuracies.values())) > 1, "or any choice would do"


def test_saved_and_loaded(three_cameras, rng, reload) -> None:
    train, test = three_cameras
    method = Marra19(sigma="val")
    method.fit(train, test, rng=rng)
    assert torch.equal(reload(method, Marra19(sigma="val")).scores(test.images), method.scores(test.images))


def test_images_are_spread_evenly() -> None:
    labels = torch.tensor([0, 1] * 8 + [1] * 4)
    assert evenly(labels, 2) == [0, 1, 8, 13]
    assert evenly(labels, None) == list(range(20))
    assert evenly(labels, 100) == list(range(20))


@pytest.mark.parametrize("score", ["ncc", "pce"])
def test_strange_images_give_numbers(make_set, rng, score: str) -> None:
    """One image per source, flat ones, grey ones, 8 x 8 pixels."""
    draws = np.random.default_rng(0)
    pixels = draws.integers(0, 256, (3, 3, 8, 8))
    pixels[0] = 77
    pixels[1] = pixels[1, :1]
    images = make_set(pixels, [0, 1, 2])
    for settings in ({}, {"post": "dde", "estimator": "mle"}, {"denoiser": "wiener"}):
        method = Marra19(score=score, **settings)
        method.fit(images, images, rng=rng)
        assert method.scores(images.images).isfinite().all()


def test_a_source_without_images_is_named(make_set, rng, noise) -> None:
    with pytest.raises(ValueError, match="no training images of source 'b', expected some of each"):
        Marra19().fit(*[make_set(noise[:4], [0, 0, 2, 2])] * 2, rng=rng)


def test_settings_that_ask_for_a_wavelet_are_refused_without_one() -> None:
    with pytest.raises(ValueError, match="'marra19': sigma=val and levels are the wavelet denoiser's"):
        Marra19(denoiser="box", levels=2)
    with pytest.raises(ValueError, match=r"'sigma' of 'marra19' got 0\.0, expected float above 0 or 'val'"):
        Marra19(sigma=0.0)
