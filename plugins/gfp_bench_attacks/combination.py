"""Several attacks one after the other, each with a probability.

Source: Yu et al., ICCV 2019, arXiv:1811.08180, section 4.4: each with probability 1/2, in the order relighting,
cropping, blur, JPEG, noise. An image that none falls to stays as it is. Every step ends in whole grey levels.
Frank et al., ICML 2020, arXiv:2003.08685, let single attacks fall to half of the images: ``steps=jpeg``, for example.
"""

from typing import Annotated

import torch
from annotated_types import Interval

from gfp_bench import (
    ImageRng,
    Images,
    Perturbation,
    Register,
    find_attack,
    hookimpl,
    parse_spec,
    resolved_settings,
)
from gfp_bench_attacks._shared.threads import put, take


@hookimpl
def register_attacks(register: Register) -> None:
    """Offer `Combination`."""
    register(Combination)


class Combination(Perturbation):
    """Lets each step fall to an image or not; every step draws from a stream of its own."""

    name = "combination"
    version = 1

    def __init__(
        self,
        probability: Annotated[
            float,
            "probability that a step falls to an image, unless the step has its own",
            Interval(ge=0, le=1),
        ] = 0.5,
        steps: Annotated[
            str,
            "attacks in order, with what is not the default: jpeg[low=50,probability=0.1] noise",
        ] = "relight crop blur jpeg noise",
    ) -> None:
        self.probability = probability
        self.steps = steps
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
    chosen = resolved_settings(Combination, {"probability": given.pop("probability", str(probability))})
    attack = find_attack(name)
    if issubclass(attack, Combination):
        raise ValueError(f"setting steps has the step {spec!r}, expected attacks other than a combination of them")
    return attack(**resolved_settings(attack, given)), float(str(chosen["probability"]))
