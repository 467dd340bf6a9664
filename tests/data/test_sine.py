"""The simulated fingerprints are where they should be, as strong as asked, and the same bits everywhere."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from places import ROOT
from scipy.ndimage import uniform_filter

from gfp_bench.contracts.rng import ImageRng
from gfp_bench.contracts.types import Images
from gfp_bench.data.manifest import Manifest, read_index, read_manifest
from gfp_bench.data.photographs import PHOTOGRAPHS
from gfp_bench.data.simulations.sine import Sine
from gfp_bench.errors import UsageError

TINY = Sine(side=32, cycles=8, train=20, val=10, test=10)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return TINY.make(tmp_path_factory.mktemp("sine"))


def pixels(manifest: Manifest, split: str, source: str) -> NDArray[np.float64]:
    files = sorted((manifest.root / split / source).iterdir())
    return np.stack([np.asarray(Image.open(file)) for file in files]).astype(np.float64)


def residuals(images: NDArray[np.float64]) -> NDArray[np.float64]:
    return images - uniform_filter(images, (0, 3, 3, 0), mode="nearest")


def grey(n: int, side: int) -> Images:
    return torch.full((n, 3, side, side), 128, dtype=torch.uint8)


def streams(n: int) -> ImageRng:
    return ImageRng.for_images([str(i) for i in range(n)], seed=0, dataset="sine", attack="noise", split="test")


def peak(plane: NDArray[np.float64]) -> tuple[float, float]:
    """Return the strongest frequency, (right, down) in cycles a side, down never negative, to a quarter of a cycle."""
    side = len(plane)
    spectrum = np.abs(np.fft.rfft2((plane - plane.mean()).T, (4 * side, 4 * side)))
    right, down = np.unravel_index(spectrum.argmax(), spectrum.shape)
    frequency = float(np.fft.fftfreq(4 * side)[right]) * side
    return (frequency if down > 1 else abs(frequency)), float(down) / 4


@settings(max_examples=20)
@given(
    side=st.integers(40, 96),
    cycles=st.integers(8, 16),
    orientations=st.integers(2, 8),
    norm=st.sampled_from(["rms", "l2"]),
)
def test_a_wave_has_its_frequency_direction_and_norm(side: int, cycles: int, orientations: int, norm: str) -> None:
    sine = Sine(side=side, cycles=cycles, orientations=orientations, norm=norm)  # type: ignore[arg-type] # drawn
    for number, source in enumerate(sine.degrees):
        wave = sine.wave(source)
        angle = np.pi * number / orientations
        expected = cycles * np.cos(angle), cycles * np.sin(angle)
        assert peak(wave) == pytest.approx(expected, abs=0.3)
        values = np.stack([wave] * 3) / 255
        measured = np.linalg.norm(values) if norm == "l2" else np.sqrt(np.mean(values**2))
        assert measured == pytest.approx(sine.strength, rel=1e-3)


@pytest.mark.parametrize("source", TINY.degrees)
def test_a_source_s_mean_residual_has_its_wave_s_peak(made: Manifest, source: str) -> None:
    images = np.concatenate([pixels(made, split, source) for split in TINY.counts])
    angle = np.radians(TINY.degrees[source])
    expected = 8 * np.cos(angle), 8 * np.sin(angle)
    assert peak(residuals(images).mean(axis=(0, 3))) == pytest.approx(expected, abs=0.5)


def test_waves_are_told_apart_by_correlation(made: Manifest) -> None:
    prints = np.stack([residuals(pixels(made, "train", source)).mean(axis=0).ravel() for source in TINY.degrees])
    right = 0
    for label, source in enumerate(TINY.degrees):
        rows = residuals(pixels(made, "test", source)).reshape(TINY.test, -1)
        correlation = np.corrcoef(prints, rows)[:3, 3:]
        right += int((correlation.argmax(axis=0) == label).sum())
    assert right >= 0.95 * 3 * TINY.test  # chance is a third


@pytest.mark.parametrize("chosen", [{"norm": "rms", "noise": 0.03}, {"norm": "l2", "strength": 4.0, "noise": 2.0}])
def test_noise_is_on_the_wave_as_strong_as_asked(chosen: dict[str, float]) -> None:
    sine = Sine(side=32, cycles=8, **chosen)  # type: ignore[arg-type] # by name
    fingerprinted = sine.fingerprinted(grey(40, 32), "sine-060", streams(40)).double().numpy() - 128
    wave = fingerprinted.mean(axis=(0, 1))
    assert wave == pytest.approx(sine.wave("sine-060"), abs=5 * sine.noise_rms / np.sqrt(120) + 0.1)
    noise = (fingerprinted - sine.wave("sine-060")) / 255
    rounding = 1 / (12 * 255**2)
    measured = np.square(noise).mean() if sine.norm == "rms" else np.square(noise).sum(axis=(1, 2, 3)).mean()
    values = 1 if sine.norm == "rms" else 3 * 32 * 32
    assert np.sqrt(measured - values * rounding) == pytest.approx(sine.noise, rel=0.02)
    assert abs(np.corrcoef(noise[0].ravel(), noise[1].ravel())[0, 1]) < 0.1


def test_without_noise_only_the_wave_is_added() -> None:
    sine = Sine(side=32, cycles=8, noise=0)
    images = sine.fingerprinted(grey(2, 32), "sine-120", streams(2))
    expected = np.clip(np.rint(128 + sine.wave("sine-120")), 0, 255)
    assert np.array_equal(images[0, 1].numpy(), expected)
    assert torch.equal(images[0], images[1])


def test_files_are_an_ordinary_dataset(made: Manifest) -> None:
    assert (made.name, made.image_shape) == ("sine+cycles-8+side-32+test-10+train-20+val-10", (3, 32, 32))
    assert made.source_names == ("sine-000", "sine-060", "sine-120")
    index = read_index(made)
    counts = index.groupby(["split", "source"]).size().to_dict()
    assert counts == {(split, source): count for split, count in TINY.counts.items() for source in TINY.degrees}
    assert set(index["group"]) == set(PHOTOGRAPHS)
    assert {file.stat().st_size for file in made.root.rglob("*.bmp")} == {54 + 3 * 32 * 32}


def test_the_digest_is_the_committed_one(made: Manifest) -> None:
    assert made.digest == "032bf44ad40c94fb610e4e438c6fe8141b37d65fa82119c5212ab8ebbba41026"


@pytest.mark.slow
def test_the_digest_of_the_default_is_the_card_s(tmp_path: Path) -> None:
    card = (ROOT / "datasets" / "sine.md").read_text()
    assert f"`{Sine().make(tmp_path).digest}`" in card


def test_made_again_it_is_the_same_dataset(made: Manifest, tmp_path: Path) -> None:
    again = TINY.make(tmp_path)
    assert again.digest == made.digest
    assert read_manifest(tmp_path / f"{TINY.title}.toml").model_dump() == made.model_dump()


def test_equal_settings_have_one_title() -> None:
    assert Sine().title == Sine(norm="rms", strength=0.02).title == "sine"
    assert Sine(norm="l2", strength=0.2, noise=0.1).title == "sine+norm-l2"
    assert Sine(norm="l2", strength=0.02).title == "sine+norm-l2+strength-0.02"


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"side": 8}, r"sine has side = 8, expected at least 16; change it"),
        ({"cycles": 32}, r"sine has cycles = 32, expected 1 to 31 at 64 pixels"),
        ({"cycles": 0}, r"sine has cycles = 0"),
        ({"orientations": 1}, r"sine has orientations = 1, expected 2 to 90"),
        ({"strength": -0.1}, r"sine has strength = -0.1, expected 0 or more"),
        ({"noise": float("nan")}, r"sine has noise = nan, expected 0 or more"),
        ({"val": 1}, r"sine has val = 1, expected 2 or more"),
    ],
)
def test_settings_that_no_simulation_can_have_are_refused(chosen: dict[str, float], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Sine(**chosen)  # type: ignore[arg-type] # that is the point
