"""Keeps the upper bits of every value: fewer grey levels."""

from typing import Annotated

from annotated_types import Interval

from gfp_bench import ImageRng, Images, Perturbation, Register, hookimpl


@hookimpl
def register_attacks(register: Register) -> None:
    """Offer `Posterise`."""
    register(Posterise)


class Posterise(Perturbation):
    """Rounds values down to multiples of a power of two, one power per image."""

    name = "posterise"
    version = 1

    def __init__(
        self,
        low: Annotated[int, "fewest bits that are kept", Interval(ge=1, le=8)] = 2,
        high: Annotated[int, "most bits that are kept", Interval(ge=1, le=8)] = 5,
    ) -> None:
        if low > high:
            raise ValueError(f"settings low={low} and high={high} are no range, expected low <= high")
        self.low, self.high = low, high

    def perturb(self, images: Images, rng: ImageRng) -> Images:
        """Return images of fewer grey levels."""
        step = (2 ** (8 - rng.integers(self.low, self.high)))[:, None, None, None]
        return (images // step * step).to(images.dtype)
