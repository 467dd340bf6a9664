"""Attack randomness: one counter-based stream an image, the same on every device, in any batch and any order.

The generator is Philox4x64-10 (Salmon et al., SC 2011) in NumPy's convention: block ``b`` of a stream encrypts the
counter ``(b + 1, 0, 0, 0)``, and a word becomes a double by its upper 53 bits.
"""

import hashlib
import json
from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Words = TypeVar("Words", Tensor, NDArray[np.int64])
_MULTIPLIERS = (0xD2E7470EE14C6C93 - 2**64, 0xCA5A826395121157 - 2**64)  # as int64: torch has no uint64 arithmetic
_WEYL = (0x9E3779B97F4A7C15 - 2**64, 0xBB67AE8584CAA73B - 2**64)
_LOW = 0xFFFFFFFF
_NUMPY_FROM = 64  # words per image from which NumPy's own generator, image by image, beats the tensor form on a CPU


class ImageRng:
    """The random streams of a batch: stream i belongs to image i alone, so batching and order cannot matter.

    Every draw has a leading dimension n, one entry per image, and is float64 (or int64) on the streams' device.
    """

    def __init__(self, keys: Tensor, position: int = 0) -> None:
        self._keys = keys  # (n, 2) int64, the bits of Philox's two key words
        self._position = position  # blocks that each stream has given

    @classmethod
    def for_images(
        cls,
        ids: Sequence[str],
        *,
        seed: int,
        dataset: str,
        attack: str,
        split: str,
        passes: Sequence[int] | int = 0,
        device: torch.device | str = "cpu",
    ) -> "ImageRng":
        """Return the streams of images by what names them; ``passes`` counts how often each image was drawn before."""
        counts = [passes] * len(ids) if isinstance(passes, int) else passes
        names = ([seed, dataset, image, attack, split, int(count)] for image, count in zip(ids, counts, strict=True))
        digests = b"".join(hashlib.sha256(json.dumps(name).encode()).digest()[:16] for name in names)
        keys = np.frombuffer(digests, dtype="<i8").reshape(-1, 2).astype(np.int64)
        return cls(torch.from_numpy(keys).to(device))

    def __len__(self) -> int:
        return len(self._keys)

    def __getitem__(self, images: slice | Tensor) -> "ImageRng":
        """Return the streams of some images, at the point where these stand."""
        return ImageRng(self._keys[images], self._position)

    @property
    def state(self) -> tuple[Tensor, int]:
        """What ``ImageRng(*state)`` goes on from: the (n, 2) keys of the streams, and how far they are."""
        return self._keys, self._position

    @property
    def device(self) -> torch.device:
        """Where draws are made."""
        return self._keys.device

    def child(self, step: str) -> "ImageRng":
        """Return fresh streams for a named step, independent of these and of every other step's."""
        first, second = np.frombuffer(hashlib.sha256(step.encode()).digest()[:16], dtype="<i8").tolist()
        counter = [torch.full_like(self._keys[:, 0], word) for word in (first, second, 0, 1)]  # draws have 0 there
        return ImageRng(torch.stack(_words(counter, self._keys)[:2], dim=1))

    def uniform(self, low: float = 0.0, high: float = 1.0, shape: Sequence[int] = ()) -> Tensor:
        """Return (n, *shape) float64 values from [low, high)."""
        count = int(np.prod(shape, dtype=np.int64))
        return low + (high - low) * self._doubles(count).reshape(len(self), *shape)

    def integers(self, low: int, high: int, shape: Sequence[int] = ()) -> Tensor:
        """Return (n, *shape) int64 values from low to high, both included."""
        return low + self.uniform(0.0, float(high - low + 1), shape).floor().long()

    def normal(self, shape: Sequence[int] = ()) -> Tensor:
        """Return (n, *shape) float64 standard normal values, by Box and Muller's transform."""
        count = int(np.prod(shape, dtype=np.int64))
        values = self._doubles(2 * ((count + 1) // 2))
        _box_muller_(*values.chunk(2, dim=1))
        return values[:, :count].reshape(len(self), *shape)

    def _doubles(self, count: int) -> Tensor:
        """Return (n, count) float64 values from [0, 1) and move on by whole blocks."""
        blocks = -(-count // 4)
        draw = _numpy_doubles if self.device.type == "cpu" and count >= _NUMPY_FROM else _tensor_doubles
        values = draw(self._keys, self._position, blocks)
        self._position += blocks
        return values[:, :count]


def _numpy_doubles(keys: Tensor, position: int, blocks: int) -> Tensor:
    values = np.empty((len(keys), 4 * blocks))
    for key, row in zip(keys.numpy().view(np.uint64), values, strict=True):
        np.random.Generator(np.random.Philox(key=key, counter=position)).random(out=row)
    return torch.from_numpy(values)


def _tensor_doubles(keys: Tensor, position: int, blocks: int) -> Tensor:
    number = torch.arange(position + 1, position + blocks + 1, device=keys.device).expand(len(keys), blocks)
    zero = torch.zeros_like(number)
    words = torch.stack(_words([number, zero, zero, zero], keys[:, None, :]), dim=2).flatten(1)
    return ((words >> 11) & (2**53 - 1)).double() * 2.0**-53


def _box_muller_(radius: Tensor, angle: Tensor) -> None:
    """Turn every two values from [0, 1) into two standard normal ones."""
    radius.neg_().log1p_().mul_(-2).sqrt_()
    angle.mul_(2 * torch.pi)
    cosine = angle.cos()
    angle.sin_().mul_(radius)
    radius.mul_(cosine)


def _words(counter: Sequence[Tensor], keys: Tensor) -> list[Tensor]:
    if keys.device.type != "cpu":
        return philox(counter, keys)
    arrays = philox([words.numpy() for words in counter], keys.numpy())  # whose calls cost less than torch's
    return [torch.from_numpy(words) for words in arrays]


def philox(counter: Sequence[Words], keys: Words) -> list[Words]:
    """Return Philox4x64-10 of four counter words under (..., 2) keys; int64 holds the bits of unsigned words."""
    c0, c1, c2, c3 = counter
    k0, k1 = keys[..., 0], keys[..., 1]
    for _ in range(10):
        c0, c1, c2, c3 = (
            _high(_MULTIPLIERS[1], c2) ^ c1 ^ k0,
            c2 * _MULTIPLIERS[1],
            _high(_MULTIPLIERS[0], c0) ^ c3 ^ k1,
            c0 * _MULTIPLIERS[0],
        )
        k0, k1 = k0 + _WEYL[0], k1 + _WEYL[1]
    return [c0, c1, c2, c3]


def _high(a: int, b: Words) -> Words:
    """Return the upper 64 bits of the unsigned 128-bit product, by 32-bit limbs."""
    a_high, a_low = (a >> 32) & _LOW, a & _LOW
    b_high, b_low = (b >> 32) & _LOW, b & _LOW
    middle = b_low * a_high + ((b_low * a_low >> 32) & _LOW)
    other = b_high * a_low + (middle & _LOW)
    upper: Words = b_high * a_high + ((middle >> 32) & _LOW) + ((other >> 32) & _LOW)
    return upper
