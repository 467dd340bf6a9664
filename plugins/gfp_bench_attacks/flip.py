"""Mirroring.

Source: the commonest augmentation; a method whose fingerprints have a fixed place loses them.
"""

from gfp_bench import ImageRng, Images, Perturbation, Register, hookimpl
from gfp_bench_attacks._shared.settings import check_choice, check_number

_DIMS = {"horizontal": [3], "vertical": [2], "both": [2, 3]}


@hookimpl
def register_attacks(register: Register) -> None:
    """Offer `Flip`."""
    register(Flip)


class Flip(Perturbation):
    """Mirrors images: all of them, or each with a probability."""

    name = "flip"
    version = 1

    def __init__(self, direction: str = "horizontal", probability: float = 1.0) -> None:
        check_choice("direction", direction, _DIMS)
        check_number("probability", probability, 0, 1)
        self.direction = direction  # in which left and right, up and down, or both change places
        self.probability = probability

    def perturb(self, images: Images, rng: ImageRng) -> Images:
        """Return mirrored images."""
        mirrored = images.flip(_DIMS[self.direction])
        falls = rng.uniform() < self.probability
        return mirrored if self.probability == 1 else mirrored.where(falls[:, None, None, None], images)
