"""An attack as a trial applies it: what it returns is looked at each time, and once whether it keeps its contract."""

import torch

from gfp_bench.contracts.attack import Perturbation
from gfp_bench.contracts.rng import ImageRng
from gfp_bench.contracts.types import Images
from gfp_bench.errors import PluginError

_AGAIN = 3  # images of a first batch that are attacked once more


class CheckedAttack(Perturbation):
    """Another attack under its name, whose faults are told as its own and not as the method's."""

    _attack: Perturbation
    _tried: bool

    @classmethod
    def of(cls, attack: Perturbation) -> "CheckedAttack":
        """Return the attack, checked; one for each cell, since it is tried on its first images."""
        checked = cls()
        checked._attack, checked._tried = attack, False
        checked.name, checked.version = attack.name, attack.version  # type: ignore[misc] # its original's
        return checked

    def perturb(self, images: Images, rng: ImageRng) -> Images:
        """Return what the attack does to images.

        Raises:
            PluginError: If it fails, returns anything but uint8 images of the same shape and place, changes its
                input, or (on the first images) gives an image other bits when it comes alone or in another order.
        """
        fresh = None if self._tried else rng[: min(_AGAIN, len(images))]  # before anything is drawn
        attacked = self._applied(images, rng)
        if fresh is not None:
            self._tried = True
            self._try(images[: len(fresh)], fresh, attacked[: len(fresh)])
        return attacked

    def _applied(self, images: Images, rng: ImageRng) -> Images:
        before = images.clone()
        try:
            attacked = self._attack.perturb(images, rng)
        except Exception as error:
            text = " ".join(str(error).split())
            raise PluginError(f"attack {self.name!r} raised {type(error).__name__}: {text}") from error
        if not isinstance(attacked, torch.Tensor):
            raise PluginError(f"attack {self.name!r} returned {type(attacked).__name__}, expected a tensor of images")
        found, expected = _kind(attacked), _kind(images)
        if found != expected:
            raise PluginError(
                f"attack {self.name!r} returned {found}, expected {expected} as it was given: grey levels from 0 to "
                "255; convert with gfp_bench.to_uint8"
            )
        if not torch.equal(images, before):
            raise PluginError(f"attack {self.name!r} changed the images that it was given; work on a copy")
        return attacked

    def _try(self, images: Images, rng: ImageRng, attacked: Images) -> None:
        """Attack a few images again, in reverse order and one of them alone."""
        order = torch.arange(len(images) - 1, -1, -1, device=images.device)
        for rows in (order, order[:1]):
            if not torch.equal(self._applied(images[rows], rng[rows]), attacked[rows]):
                raise PluginError(
                    f"attack {self.name!r} gave the same images other pixels when they came alone or in another "
                    "order, expected what their pixels and streams alone decide; draw from rng and take nothing from "
                    "the rest of the batch"
                )


def _kind(images: torch.Tensor) -> str:
    return f"{images.dtype} of shape {tuple(images.shape)} on {images.device}"
