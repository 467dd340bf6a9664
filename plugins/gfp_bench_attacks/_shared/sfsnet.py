"""SfSNet: what a face's picture is made of, surface normals, albedo and lighting. The network alone, without weights.

Source: Sengupta et al., "SfSNet: learning shape, reflectance and illuminance of faces in the wild", CVPR 2018,
arXiv:1712.01261, section 4 and the authors' Caffe definition, which decides where the two differ: batch normalisation
without scale or shift, pre-activated residual blocks, fixed up-sampling, colours in the order blue, green, red.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

SIDE = 128  # of the pictures that the network knows, in pixels
WEIGHTS, LIGHTS = "sfsnet.safetensors", "lights.txt"
_BLOCKS = 5
_EPSILON = 1e-5  # of batch normalisation


def expected_shapes() -> dict[str, tuple[int, ...]]:
    """Return the shape of every tensor of a weights file: Caffe's layers, each with the number of its blob."""
    convolutions = {"conv1": (64, 3, 7), "conv2": (128, 64, 3), "conv3": (128, 128, 3), "lconv1": (128, 384, 1)}
    norms = {"bn1": 64, "bn2": 128, "lbn1": 128}
    shapes: dict[str, tuple[int, ...]] = {"fc_light.0": (27, 128), "fc_light.1": (27,)}
    for branch in ("n", "a"):
        for block in range(1, _BLOCKS + 1):
            for place in (f"{block}", f"{block}r"):
                convolutions[f"{branch}conv{place}"] = (128, 128, 3)
                norms[f"{branch}bn{place}"] = 128
        convolutions |= {f"{branch}conv6": (128, 128, 1), f"{branch}conv7": (64, 128, 3)}
        convolutions[f"{branch.upper()}conv0"] = (3, 64, 1)
        norms |= {f"{branch}bn6r": 128, f"{branch}bn6": 128, f"{branch}bn7": 64}
        shapes[f"{branch}up6.0"] = (128, 1, 4, 4)
    for layer, (after, before, side) in convolutions.items():
        shapes |= {f"{layer}.0": (after, before, side, side), f"{layer}.1": (after,)}
    for layer, channels in norms.items():  # mean and variance, both times blob 2
        shapes |= {f"{layer}.0": (channels,), f"{layer}.1": (channels,), f"{layer}.2": (1,)}
    return shapes


def load_weights(folder: Path) -> dict[str, Tensor]:
    """Return the float32 tensors of ``folder/sfsnet.safetensors``.

    Raises:
        ValueError: If the file cannot be read, or holds anything but the network's finite tensors.
    """
    path = folder / WEIGHTS
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise ValueError(
            f"SfSNet's weights {path} cannot be read ({error}); docs/attacks.md says how to make them"
        ) from error
    shapes = expected_shapes()
    wrong = [f"{name} {shape} is missing" for name, shape in shapes.items() if name not in tensors]
    wrong += [f"{name} {tuple(tensors[name].shape)} is not of the network" for name in tensors.keys() - shapes.keys()]
    for name in sorted(tensors.keys() & shapes.keys()):
        tensor, shape = tensors[name], shapes[name]
        if tuple(tensor.shape) != shape:
            wrong.append(f"{name} has shape {tuple(tensor.shape)}, expected {shape}")
        elif not tensor.is_floating_point() or not tensor.isfinite().all():
            wrong.append(f"{name} is {tensor.dtype}, expected finite floating-point numbers")
    if wrong:
        more = f"; and {len(wrong) - 5} more" if len(wrong) > 5 else ""
        raise ValueError(f"SfSNet's weights {path} do not fit: {'; '.join(wrong[:5])}{more}; see docs/attacks.md")
    return {name: tensor.float() for name, tensor in tensors.items()}


def load_lights(folder: Path) -> Tensor:
    """Return the (k, 27) float64 lightings of ``folder/lights.txt``: a row each, nine harmonics of red, green, blue.

    Raises:
        ValueError: If the file cannot be read, or a row is not 27 finite numbers.
    """
    path = folder / LIGHTS
    try:
        lights: NDArray[np.float64] = np.loadtxt(path, ndmin=2)
    except (OSError, ValueError) as error:
        raise ValueError(f"lightings {path} cannot be read ({error}); expected rows of 27 numbers") from error
    if lights.shape[1:] != (27,) or not np.isfinite(lights).all():
        finite = "" if np.isfinite(lights).all() else ", not all finite"
        raise ValueError(f"lightings {path} are of shape {lights.shape}{finite}, expected rows of 27 finite numbers")
    return torch.from_numpy(lights)


def decompose(weights: Mapping[str, Tensor], pictures: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return what pictures are made of.

    Args:
        weights: What `load_weights` gave.
        pictures: (n, 3, 128, 128) float32, red, green, blue, 0 to 1.

    Returns:
        Normals (n, 3, 128, 128) of unit length, x, y, z; albedo (n, 3, 128, 128), red, green, blue; lighting (n, 27).
    """
    features = _norm(weights, "bn1", _conv(weights, "conv1", pictures.flip(1)))
    features = _conv(weights, "conv3", _norm(weights, "bn2", _conv(weights, "conv2", features)), stride=2)
    shape, normals = _branch(weights, "n", features)
    paint, albedo = _branch(weights, "a", features)
    light = _norm(weights, "lbn1", _conv(weights, "lconv1", torch.cat([shape, paint, features], dim=1)))
    lighting = light.mean(dim=(2, 3)) @ weights["fc_light.0"].T + weights["fc_light.1"]
    return F.normalize(2 * normals.flip(1) - 1, dim=1), albedo.flip(1), lighting


def _branch(weights: Mapping[str, Tensor], branch: str, features: Tensor) -> tuple[Tensor, Tensor]:
    """Return a branch's features, which the lighting is read from, and its picture."""
    for number in range(1, _BLOCKS + 1):
        features = residual_block(weights, branch, number, features)
    features = _norm(weights, f"{branch}bn6r", features)
    kernel = weights[f"{branch}up6.0"]
    large = F.conv_transpose2d(features, kernel, stride=2, padding=1, groups=len(kernel))
    for number in (6, 7):
        large = _norm(weights, f"{branch}bn{number}", _conv(weights, f"{branch}conv{number}", large))
    return features, _conv(weights, f"{branch.upper()}conv0", large)


def residual_block(weights: Mapping[str, Tensor], branch: str, number: int, features: Tensor) -> Tensor:
    """Return features (n, c, h, w) plus what two normalised, rectified convolutions make of them."""
    change = features
    for place in (f"{number}", f"{number}r"):
        change = _conv(weights, f"{branch}conv{place}", _norm(weights, f"{branch}bn{place}", change))
    return features + change


def _conv(weights: Mapping[str, Tensor], layer: str, features: Tensor, stride: int = 1) -> Tensor:
    kernel = weights[f"{layer}.0"]
    return F.conv2d(features, kernel, weights[f"{layer}.1"], stride=stride, padding=kernel.shape[-1] // 2)


def _norm(weights: Mapping[str, Tensor], layer: str, features: Tensor) -> Tensor:
    """Return features normalised by stored statistics, and rectified."""
    count = weights[f"{layer}.2"]
    mean, variance = (weights[f"{layer}.{blob}"] / torch.where(count == 0, 1, count) for blob in (0, 1))
    return F.batch_norm(features, mean, variance, eps=_EPSILON).relu_()
