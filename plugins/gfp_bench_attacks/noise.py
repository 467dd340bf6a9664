"""White Gaussian noise of a random strength.

Source: Yu et al., ICCV 2019, arXiv:1811.08180, section 4.4. Variance ~ U[5, 20], read as 8-bit grey levels squared.
Frank et al., ICML 2020, arXiv:2003.08685, take it as a deviation: ``interpretation=std``.
"""

import torch

from gfp_bench import ImageRng, Images, Perturbation, Register, hookimpl, to_uint8
from gfp_bench_attacks._settings import check_choice, check_interval
from gfp_bench_attacks._threads import in_threads, slices

_BATCH = 2**24  # values that a GPU makes at a time: some hundred bytes of 64-bit integers each while they are made


@hookimpl
def register_attacks(register: Register) -> None:
    """Offer `Noise`."""
    register(Noise)


class Noise(Perturbation):
    """Adds N(0, v) to every value, one v an image."""

    name = "noise"
    version = 1

    def __init__(self, low: float = 5.0, high: float = 20.0, interpretation: str = "variance") -> None:
        check_interval(low, high, 0, 255**2)
        check_choice("interpretation", interpretation, ("variance", "std"))
        self.low, self.high = low, high
        self.interpretation = interpretation  # of low and high: grey levels squared, or grey levels

    def perturb(self, images: Images, rng: ImageRng) -> Images:
        """Return noisy images, rounded to the nearest grey level and clipped."""
        strength = rng.uniform(self.low, self.high)[:, None, None, None]
        deviation = strength.sqrt() if self.interpretation == "variance" else strength
        attacked = torch.empty_like(images)

        def work(part: slice) -> None:
            noise = rng[part].normal(images.shape[1:]).mul_(deviation[part])
            attacked[part] = to_uint8(noise.add_(images[part]))

        if images.is_cuda:
            for part in slices(images, _BATCH):
                work(part)
        else:
            in_threads(work, slices(images))
        return attacked
