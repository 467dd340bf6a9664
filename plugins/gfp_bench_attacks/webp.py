"""Lossy WebP compression at a random quality, in memory.

Source: the WebP sweeps of recent robustness suites (WILD, arXiv:2504.19595); qualities as for `jpeg`. Bits are those of
the libwebp that Pillow brings, on any device: images of a GPU go to the CPU and back.
"""

import io
from typing import Annotated

import numpy as np
import torch
from annotated_types import Interval
from numpy.typing import NDArray
from PIL import Image

from gfp_bench import ImageRng, Images, Perturbation, Register, hookimpl
from gfp_bench_attacks._shared.settings import check_order
from gfp_bench_attacks._shared.threads import in_parts


@hookimpl
def register_attacks(register: Register) -> None:
    """Offer `Webp`."""
    register(Webp)


class Webp(Perturbation):
    """Encodes and decodes, one quality per image."""

    name = "webp"
    version = 1

    def __init__(
        self,
        low: Annotated[int, "least quality", Interval(ge=0, le=100)] = 10,
        high: Annotated[int, "best quality", Interval(ge=0, le=100)] = 75,
    ) -> None:
        check_order(low=low, high=high)
        self.low, self.high = low, high

    def perturb(self, images: Images, rng: ImageRng) -> Images:
        """Return the images as a decoder gives them back."""
        qualities, pixels = rng.integers(self.low, self.high).tolist(), images.cpu().permute(0, 2, 3, 1).numpy()

        def attack(part: slice) -> Images:
            decoded = [_roundtrip(*pair) for pair in zip(pixels[part], qualities[part], strict=True)]
            return torch.from_numpy(np.stack(decoded)).permute(0, 3, 1, 2).to(images.device)

        return in_parts(images, attack)


def _roundtrip(image: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    """Return an (h, w, 3) image after Pillow's WebP coder."""
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image)).save(file, "WEBP", quality=quality)
    return np.asarray(Image.open(file).convert("RGB"))
