"""Several attacks one after the other, each with a probability.

Source: Yu et al., ICCV 2019, arXiv:1811.08180, section 4.4: each with probability 1/2, in the order relighting,
cropping, blur, JPEG, noise. An image that none falls to stays as it is. Every step ends in whole grey levels.
Frank et al., ICML 2020, arXiv:2003.08685, let single attacks fall to half of the images: ``steps=jpeg``, for example.
"""

import torch

from gfp_bench import ImageRng, Images, Perturbation, Register, hookimpl
from gfp_bench.contracts.settings import parse_spec, resolved_settings
from gfp_bench_attacks._shared.settings import check_choice, check_number
from gfp_bench_attacks._shared.threads import put, take
from gfp_bench_attacks.blur import Blur
from gfp_bench_attacks.contrast import Contrast
from gfp_bench_attacks.crop import Crop
from gfp_bench_attacks.flip import Flip
from gfp_bench_attacks.gamma import Gamma
from gfp_bench_attacks.jpeg import Jpeg
from gfp_bench_attacks.median import Median
from gfp_bench_attacks.noise import Noise
from gfp_bench_attacks.relight import Relight
from gfp_bench_attacks.resize import Resize
from gfp_bench_attacks.webp import Webp

_STEPS: dict[str, type[Perturbation]] = {
    attack.name: attack for attack in (Blur, Contrast, Crop, Flip, Gamma, Jpeg, Median, Noise, Relight, Resize, Webp)
}


@hookimpl
def register_attacks(register: Register) -> None:
    """Offer `Combination`."""
    register(Combination)


class Combination(Perturbation):
    """Lets each step fall to an image or not; every step draws from a stream of its own."""

    name = "combination"
    version = 1

    def __init__(self, probability: float = 0.5, steps: str = "relight crop blur jpeg noise") -> None:
        check_number("probability", probability, 0, 1)
        self.probability = probability  # that a step falls to an image, unless the step has its own
        self.steps = steps  # in order, with what is not the default: jpeg[low=50,probability=0.1] noise
        self._steps = [_step(spec, probability) for spec in steps.split()]

    def perturb(self, images: Images, rng: ImageRng) -> Images:
        """Return the images after their steps."""
        probabilities = torch.tensor([share for _, share in self._steps], dtype=torch.float64, device=images.device)
        falls = rng.uniform(shape=(len(self._steps),)) < probabilities
        attacked = images.clone()
        for number, (attack, _) in enumerate(self._steps):
            chosen = falls[:, number].nonzero()[:, 0]
            streams = rng.child(f"{number} {attack.name}")[chosen]
            put(attacked, chosen, attack.perturb(take(attacked, chosen), streams))
        return attacked


def _step(spec: str, probability: float) -> tuple[Perturbation, float]:
    """Return a step's attack and the probability that it falls to an image."""
    name, given = parse_spec(spec)
    check_choice("steps", name, _STEPS)
    share = _number(given.pop("probability", str(probability)))
    check_number(f"steps: {name}[probability]", share, 0, 1)
    return _STEPS[name](**resolved_settings(_STEPS[name], given)), share


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"setting steps has probability={text!r}, expected a number from 0 to 1") from None
