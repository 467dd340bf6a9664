import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import ndimage, stats

from gfp_bench import ImageRng
from gfp_bench_attacks.blur import Blur, filter_tensor

TABLES = {  # the definition, in 256ths
    1: [256],
    3: [64, 128, 64],
    5: [16, 64, 96, 64, 16],
    7: [8, 28, 56, 72, 56, 28, 8],
    9: [4, 13, 30, 51, 60, 51, 30, 13, 4],
}
SIZES = [(24, 20), (1, 1), (1, 6), (3, 2), (4, 7)]


def streams(count: int) -> ImageRng:
    names = [str(number) for number in range(count)]
    return ImageRng.for_images(names, seed=0, dataset="set", attack="blur", split="test")


def images(count: int, height: int, width: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (count, 3, height, width), dtype=np.uint8))


def by_definition(plane: NDArray[np.uint8], table: list[int]) -> NDArray[np.int64]:
    sums = plane.astype(np.int64)
    for axis in (0, 1):
        sums = ndimage.correlate1d(sums, table, axis=axis, mode="mirror")
    return (sums + 2**15) >> 16


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kernel", TABLES)
def test_both_forms_are_the_definition(size: tuple[int, int], kernel: int) -> None:
    pictures = images(4, *size)
    expected = [[by_definition(plane, TABLES[kernel]) for plane in image] for image in pictures.numpy()]
    np.testing.assert_array_equal(Blur(kernel, kernel).perturb(pictures, streams(4)).numpy(), expected)
    np.testing.assert_array_equal(filter_tensor(pictures, torch.full((4,), kernel), "opencv0").numpy(), expected)


@pytest.mark.parametrize(("sigma", "deviation"), [("frank4", 4.0), (0.5, 0.5), (2.0, 2.0)])
@pytest.mark.parametrize("kernel", [3, 5, 7, 9, 15, 31])
def test_both_forms_are_opencvs(kernel: int, sigma: float | str, deviation: float) -> None:
    pictures = images(3, 40, 33)
    expected = [
        cv2.GaussianBlur(np.ascontiguousarray(image.transpose(1, 2, 0)), (kernel, kernel), deviation)
        for image in pictures.numpy()
    ]
    expected = np.stack(expected).transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(Blur(kernel, kernel, sigma).perturb(pictures, streams(3)).numpy(), expected)
    np.testing.assert_array_equal(filter_tensor(pictures, torch.full((3,), kernel), sigma).numpy(), expected)


def test_images_of_one_batch_get_their_own_kernels() -> None:
    pictures = images(30, 9, 12)
    sizes = 2 * streams(30).integers(0, 4) + 1
    expected = [
        [by_definition(plane, TABLES[kernel]) for plane in image]
        for image, kernel in zip(pictures.numpy(), sizes.tolist(), strict=True)
    ]
    np.testing.assert_array_equal(Blur().perturb(pictures, streams(30)).numpy(), expected)
    np.testing.assert_array_equal(filter_tensor(pictures, sizes, "opencv0").numpy(), expected)


def test_every_kernel_is_drawn_equally_often() -> None:
    """A dot's height after the filter names the kernel."""
    dots = torch.zeros(2000, 3, 9, 9, dtype=torch.uint8)
    dots[:, :, 4, 4] = 255
    heights, counts = Blur().perturb(dots, streams(2000))[:, 0, 4, 4].unique(return_counts=True)
    assert len(heights) == 5
    assert stats.chisquare(counts.numpy()).pvalue > 0.01


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"smallest": 0}, "got 0, expected int from 1 to 31"),
        ({"smallest": 2}, "smallest=2, expected an odd number"),
        ({"smallest": 7, "largest": 5}, "smallest=7 and largest=5 are no range"),
        ({"sigma": "opencv"}, "got 'opencv', expected float from 0.1 to 100 or 'opencv0' or 'frank4'"),
        ({"sigma": 0.0}, "got 0.0, expected float from 0.1 to 100"),
    ],
)
def test_settings_out_of_range_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Blur(**options)
