import io

import numpy as np
import pytest
import torch
from PIL import Image

from gfp_bench import ImageRng
from gfp_bench_attacks.webp import Webp


def streams(count: int) -> ImageRng:
    names = [str(number) for number in range(count)]
    return ImageRng.for_images(names, seed=0, dataset="set", attack="webp", split="test")


@pytest.mark.parametrize("threads", [1, 2])
def test_attack_is_pillows(threads: int) -> None:
    torch.set_num_threads(threads)
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (12, 3, 17, 30), dtype=np.uint8))
    qualities = streams(12).integers(10, 75).tolist()
    for image, quality, result in zip(images, qualities, Webp().perturb(images, streams(12)), strict=True):
        file = io.BytesIO()
        Image.fromarray(np.ascontiguousarray(image.permute(1, 2, 0).numpy())).save(file, "WEBP", quality=quality)
        np.testing.assert_array_equal(result.permute(1, 2, 0).numpy(), np.asarray(Image.open(file)))


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="got 101, expected int from 0 to 100"):
        Webp(high=101)
