"""A gated PixelCNN over maps of codes: their distribution, one code at a time, each seeing the ones before it.

Source: van den Oord et al., "Conditional image generation with PixelCNN decoders", arXiv:1606.05328, section 2.
Differs from the paper: one stack of layers and not two, so that a code misses some on the right of the rows above.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class PixelCNN(nn.Module):
    """Codes (n, h, w) to logits (n, codes, h, w), those of a place by the codes in earlier rows or to its left."""

    def __init__(self, codes: int, width: int, layers: int, reach: int) -> None:
        super().__init__()
        self.reach = reach
        self.embedding = nn.Embedding(codes, width)
        self.layers = nn.Sequential(*(Gated(width, reach, past_only=layer == 0) for layer in range(layers)))
        self.head = nn.Sequential(nn.ReLU(), nn.Conv2d(width, codes, 1))

    def forward(self, codes: Tensor) -> Tensor:
        maps = self.embedding(codes).permute(0, 3, 1, 2)
        for layer in self.layers:
            maps = layer(F.pad(maps, (self.reach, self.reach, self.reach, 0)))
        logits: Tensor = self.head(maps)
        return logits

    def draw(self, uniform: Tensor) -> Tensor:
        """Return (n, h, w) codes, each the quantile of its distribution at its one of the (n, h, w) values in [0, 1).

        Every layer keeps what it has seen, so that all codes together cost one forward pass.
        """
        n, height, width = uniform.shape
        reach, dense = self.reach, self.embedding.weight
        seen = [dense.new_zeros(n, dense.shape[1], height + reach, width + 2 * reach) for _ in self.layers]
        codes = torch.zeros(uniform.shape, dtype=torch.long, device=uniform.device)
        for row in range(height):
            for column in range(width):
                for depth, layer in enumerate(self.layers):
                    maps = layer(seen[depth][:, :, row : row + reach + 1, column : column + 2 * reach + 1])
                    if depth + 1 < len(seen):
                        seen[depth + 1][:, :, row + reach, column + reach] = maps[:, :, 0, 0]
                chosen = quantile(self.head(maps)[:, :, 0, 0], uniform[:, row, column])
                codes[:, row, column] = chosen
                seen[0][:, :, row + reach, column + reach] = dense[chosen]
        return codes


class Gated(nn.Module):
    """A causal convolution, the product of a tanh and a sigmoid, and a residual connection (eq. 2, figure 2)."""

    def __init__(self, width: int, reach: int, *, past_only: bool) -> None:
        super().__init__()
        self.reach, self.past_only = reach, past_only
        self.causal = Causal(width, 2 * width, reach, past_only=past_only)
        self.mix = nn.Conv2d(width, width, 1)

    def forward(self, padded: Tensor) -> Tensor:
        """Return maps without the ``reach`` rows above and columns beside them that ``padded`` has."""
        value, gate = self.causal(padded).chunk(2, dim=1)
        change: Tensor = self.mix(value.tanh() * gate.sigmoid())
        return change if self.past_only else change + padded[:, :, self.reach :, self.reach : -self.reach]


class Causal(nn.Conv2d):
    """A convolution with the rows above and what is to the left, with or without the place itself; pads nothing."""

    mask: Tensor

    def __init__(self, before: int, after: int, reach: int, *, past_only: bool) -> None:
        super().__init__(before, after, (reach + 1, 2 * reach + 1))
        mask = torch.ones(reach + 1, 2 * reach + 1)
        mask[-1, reach + (not past_only) :] = 0
        self.register_buffer("mask", mask, persistent=False)

    def forward(self, maps: Tensor) -> Tensor:
        return F.conv2d(maps, self.weight * self.mask, self.bias)


def quantile(logits: Tensor, uniform: Tensor) -> Tensor:
    """Return (n,) draws of the distributions with (n, codes) logits, each at its share in [0, 1)."""
    cumulated = logits.double().softmax(dim=1).cumsum(dim=1)
    return (cumulated <= uniform[:, None] * cumulated[:, -1:]).sum(dim=1).clamp(max=logits.shape[1] - 1)
