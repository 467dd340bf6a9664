"""Gamma correction with a random exponent.

Source: the tone changes of robustness suites; the exponent is log-uniform, so that brighter is as likely as darker.
"""

import math
from typing import Annotated

from annotated_types import Interval

from gfp_bench import ImageRng, Images, Perturbation, Register, hookimpl
from gfp_bench_attacks._shared.curves import apply_curves, levels
from gfp_bench_attacks._shared.settings import check_order


@hookimpl
def register_attacks(register: Register) -> None:
    """Offer `Gamma`."""
    register(Gamma)


class Gamma(Perturbation):
    """Raises brightness, 0 to 1, to a power, one per image."""

    name = "gamma"
    version = 1

    def __init__(
        self,
        low: Annotated[float, "least exponent; below 1 brightens", Interval(ge=0.01, le=100)] = 0.5,
        high: Annotated[float, "largest exponent", Interval(ge=0.01, le=100)] = 2.0,
    ) -> None:
        check_order(low=low, high=high)
        self.low, self.high = low, high

    def perturb(self, images: Images, rng: ImageRng) -> Images:
        """Return brighter or darker images."""
        exponent = rng.uniform(math.log(self.low), math.log(self.high)).exp()[:, None]
        return apply_curves(images, 255 * (levels(images) / 255) ** exponent)
