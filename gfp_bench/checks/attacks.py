"""What every attack must hold."""

from functools import cached_property

import torch
from torch import Tensor

from gfp_bench.checks.candidate import Subject, declared, settings
from gfp_bench.contracts.attack import Perturbation
from gfp_bench.errors import PluginError
from gfp_bench.seeding import seeded


class AttackSubject(Subject[Perturbation]):
    """An attack, with what it makes of the test images."""

    @cached_property
    def everything(self) -> Tensor:
        """The positions of all test images."""
        return torch.arange(len(self.images))

    @cached_property
    def expected(self) -> Tensor:
        """All test images, attacked in one batch."""
        return self.attacked(self.everything)

    def attacked(self, chosen: Tensor, seed: int = 0) -> Tensor:
        """Return some images attacked, each with the stream that is always its own."""
        streams = self.test.attack_rng(self.cls.name, seed=0)[chosen]
        with seeded("check", f"perturb {seed}"):
            return self.make().perturb(self.images[chosen], streams)


def shape_kept(subject: AttackSubject) -> None:
    """Attacked images have the shape, type and device of the images."""
    images, attacked = subject.images, subject.expected
    if (attacked.shape, attacked.dtype, attacked.device) != (images.shape, images.dtype, images.device):
        raise PluginError(
            f"perturb returned {attacked.dtype} of shape {tuple(attacked.shape)} on {attacked.device}, "
            f"expected {images.dtype} of shape {tuple(images.shape)} on {images.device}"
        )


def same_images_again(subject: AttackSubject) -> None:
    """All randomness comes from ``rng``."""
    again = subject.attacked(subject.everything, seed=1)
    _same(again, subject.expected, "when attacked twice; draw from rng only")


def images_unchanged(subject: AttackSubject) -> None:
    """The images given are left as they were."""
    images = subject.images.clone()
    subject.make().perturb(images, subject.test.attack_rng(subject.cls.name, seed=0))
    if not images.equal(subject.images):
        raise PluginError("perturb changed the images it was given; work on a copy")


def own_parameters(subject: AttackSubject) -> None:
    """Each image has its own set of parameters: batches of any size give the same bits."""
    for size in (1, 7, 64):
        starts = range(0, len(subject.images), size)
        parts = [subject.attacked(subject.everything[start : start + size]) for start in starts]
        _same(torch.cat(parts), subject.expected, f"between batches of {size} and all at once")


def any_order(subject: AttackSubject) -> None:
    """The order of the images does not matter, nor what was attacked before."""
    order = subject.everything.flip(0)
    _same(subject.attacked(order)[order], subject.expected, "when the order is reversed")


ESSENTIAL = (declared, settings, shape_kept, same_images_again)
FURTHER = (images_unchanged, own_parameters, any_order)


def _same(attacked: Tensor, expected: Tensor, when: str) -> None:
    if strange := int((attacked != expected).flatten(1).any(dim=1).sum()):
        raise PluginError(f"{strange} of {len(expected)} attacked images differ {when}")
