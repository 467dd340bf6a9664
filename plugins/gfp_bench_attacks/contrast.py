"""Contrast changed by a random factor.

Source: Hendrycks and Dietterich, ICLR 2019, arXiv:1903.12261: distances from the image's mean, scaled.
Differs from the paper: the mean is of the whole image, not of each channel, so that hues stay.
"""

from typing import Annotated

from annotated_types import Interval

from gfp_bench import ImageRng, Images, Perturbation, Register, hookimpl
from gfp_bench_attacks._shared.curves import apply_curves, levels
from gfp_bench_attacks._shared.settings import check_order


@hookimpl
def register_attacks(register: Register) -> None:
    """Offer `Contrast`."""
    register(Contrast)


class Contrast(Perturbation):
    """Scales the distance of every value from the image's mean by one factor per image."""

    name = "contrast"
    version = 1

    def __init__(
        self,
        low: Annotated[float, "least factor; below 1 greys", Interval(ge=0, le=100)] = 0.5,
        high: Annotated[float, "largest factor", Interval(ge=0, le=100)] = 1.5,
    ) -> None:
        check_order(low=low, high=high)
        self.low, self.high = low, high

    def perturb(self, images: Images, rng: ImageRng) -> Images:
        """Return images of less or more contrast, clipped."""
        mean = (images.flatten(1).sum(dim=1).double() / images[0].numel())[:, None]  # of whole numbers, hence exact
        return apply_curves(images, mean + rng.uniform(self.low, self.high)[:, None] * (levels(images) - mean))
