"""Tone curves: every grey level of an image becomes another."""

import torch
from torch import Tensor

from gfp_bench import Images, to_uint8
from gfp_bench_attacks._shared.threads import in_parts


def apply_curves(images: Images, curves: Tensor) -> Images:
    """Return images whose grey levels are looked up in (n, 256) float64 ``curves``, rounded and clipped."""
    tables = to_uint8(curves)

    def attack(part: slice) -> Images:
        return tables[part].gather(1, images[part].flatten(1).long()).view(images[part].shape)

    return in_parts(images, attack, bytes_a_value=8)


def levels(images: Images) -> Tensor:
    """Return (256,) float64 grey levels, on the images' device."""
    return torch.arange(256, dtype=torch.float64, device=images.device)
