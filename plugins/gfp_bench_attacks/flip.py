"""Mirroring.

Source: the commonest augmentation; a method whose fingerprints have a fixed place loses them.
"""

from typing import Annotated, Literal

from annotated_types import Interval

from gfp_bench import ImageRng, Images, Perturbation, Register, hookimpl

_DIMS = {"horizontal": [3], "vertical": [2], "both": [2, 3]}


@hookimpl
def register_attacks(register: Register) -> None:
    """Offer `Flip`."""
    register(Flip)


class Flip(Perturbation):
    """Mirrors images: all of them, or each with a probability."""

    name = "flip"
    version = 1

    def __init__(
        self,
        direction: Annotated[
            Literal["horizontal", "vertical", "both"],
            "what changes places: left and right, up and down, or both",
        ] = "horizontal",
        probability: Annotated[float, "probability that an image is flipped", Interval(ge=0, le=1)] = 1.0,
    ) -> None:
        self.direction = direction
        self.probability = probability

    def perturb(self, images: Images, rng: ImageRng) -> Images:
        """Return mirrored images."""
        mirrored = images.flip(_DIMS[self.direction])
        falls = rng.uniform() < self.probability
        return mirrored if self.probability == 1 else mirrored.where(falls[:, None, None, None], images)
