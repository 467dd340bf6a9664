"""Attacks that break the contract, one way each; loaded as a single-file plugin."""

import os

import torch

from gfp_bench import ImageRng, Images, Perturbation, Register, hookimpl


class Float(Perturbation):
    name = "float"
    version = 1

    def perturb(self, images: Images, rng: ImageRng) -> Images:
        return images / 2


class NotANumber(Perturbation):
    name = "nan"
    version = 1

    def perturb(self, images: Images, rng: ImageRng) -> Images:
        return images * float("nan")


class Whole(Perturbation):
    name = "int64"
    version = 1

    def perturb(self, images: Images, rng: ImageRng) -> Images:
        return images.long()


class Cuts(Perturbation):
    name = "cuts"
    version = 1

    def perturb(self, images: Images, rng: ImageRng) -> Images:
        return images[:, :, 1:]


class Lists(Perturbation):
    name = "lists"
    version = 1

    def perturb(self, images: Images, rng: ImageRng) -> Images:
        return images.tolist()


class Overwrites(Perturbation):
    name = "overwrites"
    version = 1

    def perturb(self, images: Images, rng: ImageRng) -> Images:
        return images.zero_()


class Batch(Perturbation):
    """Shifts images by what the rest of the batch is like."""

    name = "batch"
    version = 1

    def perturb(self, images: Images, rng: ImageRng) -> Images:
        return images // 2 + images.float().std().byte()


class Places(Perturbation):
    """Shifts images by their place in the batch."""

    name = "places"
    version = 1

    def perturb(self, images: Images, rng: ImageRng) -> Images:
        return images // 2 + torch.arange(len(images), dtype=torch.uint8)[:, None, None, None]


class Random(Perturbation):
    name = "random"
    version = 1

    def perturb(self, images: Images, rng: ImageRng) -> Images:
        return images // 2 + torch.randint_like(images, 100)


class Fails(Perturbation):
    name = "fails"
    version = 1

    def perturb(self, images: Images, rng: ImageRng) -> Images:
        raise IndexError("no such pixel")


class Dies(Perturbation):
    name = "dies"
    version = 1

    def perturb(self, images: Images, rng: ImageRng) -> Images:
        os._exit(4)


@hookimpl
def register_attacks(register: Register) -> None:
    for attack in (Float, NotANumber, Whole, Cuts, Lists, Overwrites, Batch, Places, Random, Fails, Dies):
        register(attack)
