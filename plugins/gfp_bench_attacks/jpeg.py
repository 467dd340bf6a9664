"""JPEG compression at a random quality, in memory.

Source: Yu et al., ICCV 2019, arXiv:1811.08180, section 4.4. Quality ~ U[10, 75], read as whole numbers, both included;
encoder and sub-sampling are not said: Pillow's baseline coder at its default 4:2:0. Frank et al., ICML 2020,
arXiv:2003.08685, pass the quality where OpenCV ignores it and so encode at 95, and red as if it were blue:
``low=95,high=95,subsampling=4:2:0-bgr``.
"""

from typing import Annotated, Literal

import cv2
import numpy as np
import torch
from annotated_types import Interval
from numpy.typing import NDArray
from torch import Tensor

from gfp_bench import ImageRng, Images, Perturbation, Register, hookimpl
from gfp_bench_attacks._shared.libjpeg import roundtrip_tensor as roundtrip_tensor
from gfp_bench_attacks._shared.settings import check_order
from gfp_bench_attacks._shared.threads import in_parts

_SUBSAMPLING = {
    "4:2:0": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420,
    "4:4:4": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
}
_SWAPPED = "-bgr"


@hookimpl
def register_attacks(register: Register) -> None:
    """Offer `Jpeg`."""
    register(Jpeg)


class Jpeg(Perturbation):
    """Encodes and decodes, one quality per image."""

    name = "jpeg"
    version = 1

    def __init__(
        self,
        low: Annotated[int, "least quality", Interval(ge=1, le=100)] = 10,
        high: Annotated[int, "best quality", Interval(ge=1, le=100)] = 75,
        subsampling: Annotated[
            Literal["4:2:0", "4:4:4", "4:2:0-bgr", "4:4:4-bgr"],
            "subsampling of the two chroma planes; -bgr: the coder takes red for blue and blue for red",
        ] = "4:2:0",
    ) -> None:
        check_order(low=low, high=high)
        self.low, self.high = low, high
        self.subsampling = subsampling

    def perturb(self, images: Images, rng: ImageRng) -> Images:
        """Return the images as a decoder gives them back."""
        quality = rng.integers(self.low, self.high)
        sampling = self.subsampling.removesuffix(_SWAPPED)
        if sampling != self.subsampling:
            return _coded(images.flip(1), quality, sampling).flip(1)
        return _coded(images, quality, sampling)


def _coded(images: Images, quality: Tensor, sampling: str) -> Images:
    """Return the images after the coder at each one's quality."""
    if images.is_cuda:
        return roundtrip_tensor(images, quality, sampling)
    qualities = quality.tolist()

    def attack(part: slice) -> Images:
        pairs = zip(images[part].numpy(), qualities[part], strict=True)
        return torch.from_numpy(np.stack([_roundtrip(image, quality, sampling) for image, quality in pairs]))

    return in_parts(images, attack)


def _roundtrip(image: NDArray[np.uint8], quality: int, subsampling: str) -> NDArray[np.uint8]:
    """Return a (3, h, w) image after OpenCV's coder, which equals Pillow's and does not hold the interpreter's lock."""
    sampling = _SUBSAMPLING[subsampling]
    settings = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, sampling]
    _, code = cv2.imencode(".jpg", cv2.merge(tuple(image[::-1])), settings)  # blue first; raises where it cannot
    decoded = np.asarray(cv2.imdecode(code, cv2.IMREAD_COLOR), dtype=np.uint8)
    return np.stack(cv2.split(decoded)[::-1], dtype=np.uint8)
