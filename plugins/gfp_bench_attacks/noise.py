"""White Gaussian noise of a random strength.

Source: Yu et al., ICCV 2019, arXiv:1811.08180, section 4.4. Variance ~ U[5, 20], read as 8-bit grey levels squared.
Frank et al., ICML 2020, arXiv:2003.08685, take it as a deviation: ``interpretation=std``. Their code also cuts off
fractions of grey levels instead of rounding: ``interpretation=frank``. Others fix the L2 norm of the noise over an
image with values in [0, 1]: ``interpretation=l2,low=0.1,high=0.1``.
"""

from typing import Annotated, Literal

from annotated_types import Interval

from gfp_bench import ImageRng, Images, Perturbation, Register, hookimpl, to_uint8
from gfp_bench_attacks._shared.settings import check_order
from gfp_bench_attacks._shared.threads import in_parts


@hookimpl
def register_attacks(register: Register) -> None:
    """Offer `Noise`."""
    register(Noise)


class Noise(Perturbation):
    """Adds normal noise to every value, of one strength per image."""

    name = "noise"
    version = 1

    def __init__(
        self,
        low: Annotated[float, "least strength, in the unit of interpretation", Interval(ge=0, le=255**2)] = 5.0,
        high: Annotated[float, "largest strength, likewise", Interval(ge=0, le=255**2)] = 20.0,
        interpretation: Annotated[
            Literal["variance", "std", "frank", "l2"],
            "what strengths are: variance (grey levels squared), std or frank (grey levels), l2 (norm of an "
            "image whose values lie in [0, 1])",
        ] = "variance",
    ) -> None:
        check_order(low=low, high=high)
        self.low, self.high = low, high
        self.interpretation = interpretation

    def perturb(self, images: Images, rng: ImageRng) -> Images:
        """Return noisy images, clipped, and rounded to the nearest grey level (``frank``: down)."""
        strength = rng.uniform(self.low, self.high)[:, None, None, None]

        def attack(part: slice) -> Images:
            noise, scale = rng[part].normal(images.shape[1:]), strength[part]
            if self.interpretation == "variance":
                scale = scale.sqrt()
            elif self.interpretation == "l2":
                scale = 255 * scale / noise.square().sum(dim=(1, 2, 3), keepdim=True).sqrt()
            noisy = noise.mul_(scale).add_(images[part])
            return to_uint8(noisy.floor_() if self.interpretation == "frank" else noisy)

        return in_parts(images, attack, bytes_a_value=8)
