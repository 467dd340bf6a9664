import numpy as np
import pytest
import torch
from scipy import ndimage

from gfp_bench import ImageRng
from gfp_bench_attacks.median import Median, median_tensor


def streams(count: int) -> ImageRng:
    names = [str(number) for number in range(count)]
    return ImageRng.for_images(names, seed=0, dataset="set", attack="median", split="test")


@pytest.mark.parametrize("size", [1, 3, 5, 7])
@pytest.mark.parametrize("shape", [(13, 18), (1, 1), (2, 3)])
def test_both_forms_are_the_median(size: int, shape: tuple[int, int]) -> None:
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (3, 3, *shape), dtype=np.uint8))
    expected = ndimage.median_filter(images.numpy(), size=(1, 1, size, size), mode="nearest")
    np.testing.assert_array_equal(Median(size, size).perturb(images, streams(3)).numpy(), expected)
    np.testing.assert_array_equal(median_tensor(images, size).numpy(), expected)


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="smallest=4, expected an odd number"):
        Median(smallest=4)
    with pytest.raises(ValueError, match="smallest=5 and largest=3 are no range"):
        Median(5, 3)
