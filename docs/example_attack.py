"""Keeps the upper bits of every value: fewer grey levels."""

from gfp_bench import ImageRng, Images, Perturbation, Register, hookimpl


@hookimpl
def register_attacks(register: Register) -> None:
    """Offer `Posterise`."""
    register(Posterise)


class Posterise(Perturbation):
    """Rounds values down to multiples of a power of two, one power an image."""

    name = "posterise"
    version = 1

    def __init__(self, low: int = 2, high: int = 5) -> None:
        self.low, self.high = low, high  # bits that are kept

    def perturb(self, images: Images, rng: ImageRng) -> Images:
        """Return images of fewer grey levels."""
        step = (2 ** (8 - rng.integers(self.low, self.high)))[:, None, None, None]
        return (images // step * step).to(images.dtype)
