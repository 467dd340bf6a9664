"""What tests of generators share: each one as small as it can be, a pool for it, and an eye on its training."""

import copy
from collections.abc import Callable
from functools import cache
from typing import Any

import torch

from gfp_bench import Generator, Images, Monitor
from gfp_bench.contracts.state import State
from gfp_bench.registry.discovery import Plugins, load_plugins

SIDE = 8

_SMALL: dict[str, dict[str, Any]] = {
    "glow": {"depth": 2},
    "progan": {"latent": 3, "width": 2},
    "vq_vae": {"codes": 5, "values": 3, "prior_width": 4, "prior_layers": 2},
    "ddpm": {"width": 16, "steps": 3},
    "ncsnpp": {"width": 16, "steps": 3},
    "beta_vae": {"latent": 3, "mixture": 2},
    "vae": {"latent": 3, "mixture": 2},
    "dcgan": {"latent": 3, "discriminator_width": 4},
    "lsgan": {"latent": 3, "discriminator_width": 4},
    "dragan": {"latent": 3, "discriminator_width": 4},
    "sngan": {"latent": 3, "discriminator_width": 4, "critic_steps": 2},
    "wgan_gp": {"latent": 3, "critic_width": 4, "critic_steps": 2},
    "wgan_lp": {"latent": 3, "critic_width": 4, "critic_steps": 2},
    "cramergan": {"latent": 3, "critic_width": 4, "critic_steps": 2, "features": 5},
    "mmdgan": {"latent": 3, "critic_width": 4, "critic_steps": 2, "features": 5},
}
TRAINED = sorted(_SMALL)
"""The generators that train, by name."""


def tiny(name: str, **settings: Any) -> Any:  # a generator, whose networks tests look into
    """Return an untrained generator that learns in milliseconds, from batches of four."""
    cls: type[Generator] = _plugins().generator(name)
    return cls(**tiny_settings(name, **settings))


def tiny_settings(name: str, **settings: Any) -> dict[str, Any]:
    """Return what `tiny` makes a generator with."""
    return {"width": 4, "batch": 4, **_SMALL[name], **settings}


@cache
def _plugins() -> Plugins:
    return load_plugins()


def seeded(seed: int = 0) -> torch.Generator:
    """Return a random stream."""
    return torch.Generator().manual_seed(seed)


def noise_pool(side: int = SIDE) -> Images:
    """Return twelve images without any structure."""
    return torch.randint(0, 256, (12, 3, side, side), dtype=torch.uint8, generator=seeded(7))


class Watcher(Monitor):
    """Remembers what a training shows and its last checkpoint, asks for samples, may end it at a step as a kill would.

    Attributes:
        stop: The step at which the training ends.
        looks: Whether samples are asked for.
        state: The last checkpoint, from which a training goes on.
        previews: Samples of every step.
        values: What was reported of every step.
    """

    def __init__(self, stop: int | None = None, *, looks: bool = True) -> None:
        self.stop, self.looks = stop, looks
        self.state: State = None
        self.previews: list[Images] = []
        self.values: list[dict[str, float]] = []

    def progress(self, step: int, total: int, **values: float) -> None:
        self.values.append({"step": step, "total": total, **values})
        if step == self.stop:
            raise KeyboardInterrupt

    def checkpoint(self, state: State) -> None:
        self.state = copy.deepcopy(state)

    def restored(self) -> State:
        return self.state

    def preview(self, step: int, draw: Callable[[], Images]) -> None:
        if self.looks:
            self.previews.append(draw())
