import numpy as np
import pytest
import torch
from scipy import special, stats
from skimage import data

from gfp_bench import ImageRng
from gfp_bench_attacks.relight import Relight, _harmonics, _hemisphere

both_normals = pytest.mark.parametrize("normals", ["hemisphere", "image"])


def streams(count: int) -> ImageRng:
    names = [str(number) for number in range(count)]
    return ImageRng.for_images(names, seed=0, dataset="set", attack="relight", split="test")


@pytest.fixture(scope="module")
def photograph() -> torch.Tensor:
    return torch.from_numpy(data.astronaut()[64:192:2, 160:288:2].transpose(2, 0, 1).copy())


def test_harmonics_are_scipys() -> None:
    """Real harmonics, up to sign, in Racah's normalisation."""
    x, y, z = _hemisphere(torch.zeros(1, 3, 12, 9, dtype=torch.uint8))
    theta, phi = np.arccos(z.numpy()), np.arctan2(y.numpy(), x.numpy())
    orders = [(1, 1), (1, -1), (1, 0), (2, -2), (2, -1), (2, 1), (2, 0), (2, 2)]
    for (degree, order), ours in zip(orders, _harmonics((x, y, z)), strict=True):
        complex_form = special.sph_harm_y(degree, abs(order), theta, phi) * np.sqrt(4 * np.pi / (2 * degree + 1))
        real = complex_form.imag if order < 0 else complex_form.real
        expected = real * (np.sqrt(2) * (-1.0) ** order if order else 1)
        np.testing.assert_allclose(ours.numpy(), expected, atol=1e-12)


@both_normals
def test_boards_call_it_synthetic(normals: str) -> None:
    assert Relight(normals=normals).note == "synthetic"


@both_normals
def test_only_low_frequencies_change(photograph: torch.Tensor, normals: str) -> None:
    """The factor between the images is smooth: its spectrum lies within the lowest quarter."""
    bright = photograph // 2 + 64  # far from the ends, where clipping has edges of its own
    relit = Relight(normals=normals).perturb(bright.expand(8, -1, -1, -1), streams(8)).double()
    factor = (relit / bright).mean(dim=1)
    changed = (factor - factor.mean(dim=(1, 2), keepdim=True)).numpy()
    window = np.hanning(64)[:, None] * np.hanning(64)
    power = np.abs(np.fft.fft2(changed * window)) ** 2
    frequency = np.abs(np.fft.fftfreq(64))
    low = np.maximum(frequency[:, None], frequency[None]) <= 1 / 8
    assert (power[:, low].sum(axis=1) > 0.95 * power.sum(axis=(1, 2))).all()
    assert changed.std(axis=(1, 2)).min() > 0.01


def test_light_keeps_its_mean_and_its_bounds() -> None:
    grey = torch.full((200, 3, 16, 16), 100, dtype=torch.uint8)
    relit = Relight().perturb(grey, streams(200)).double()
    light = (relit / 100) ** 2.2
    assert light.min() > 0.5 - 0.02
    assert light.max() < 1.6 + 0.03
    assert abs(light.mean() - 1) < 0.01
    assert torch.equal(relit[:, 0], relit[:, 2])


def test_coefficients_are_normal() -> None:
    """A weak light is far from its bounds, so that the harmonics can be read off it."""
    grey = torch.full((400, 3, 24, 24), 250, dtype=torch.uint8)
    relit = Relight(first=0.05, second=0.0).perturb(grey.clamp(max=200), streams(400)).double()[:, 0]
    light = ((relit / 200) ** 2.2 - 1).flatten(1).numpy()
    basis = np.stack([harmonic.flatten().numpy() for harmonic in _harmonics(_hemisphere(grey))[:3]])
    fitted = np.linalg.lstsq((basis - basis.mean(axis=1, keepdims=True)).T, light.T, rcond=None)[0]
    assert stats.kstest(fitted[0] / 0.05, "norm").pvalue > 0.01
    assert np.abs(np.corrcoef(fitted[:2])[0, 1]) < 4 / np.sqrt(400)


@both_normals
def test_no_light_changes_nothing(photograph: torch.Tensor, normals: str) -> None:
    images = photograph[None]
    assert torch.equal(Relight(0.0, 0.0, normals).perturb(images, streams(1)), images)


def test_a_flat_image_faces_the_viewer() -> None:
    flat = torch.full((3, 3, 16, 16), 90, dtype=torch.uint8)
    assert torch.equal(Relight(normals="image").perturb(flat, streams(3)), flat)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"first": -1.0}, "got -1.0, expected float from 0 to 10"),
        ({"normals": "face"}, "normals='face', expected one of hemisphere, image"),
    ],
)
def test_settings_out_of_range_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Relight(**options)
