"""The residual network for small images with 20 layers.

Source: He et al., "Deep residual learning for image recognition", arXiv:1512.03385, section 4.2, with projection
shortcuts (option B).
"""

import torch.nn.functional as F
from torch import Tensor, nn

_WIDTHS = (16, 32, 64)
_BLOCKS = 3  # at each width


class ResNet20(nn.Module):
    """Some 0.27 million parameters; takes any image of 4 x 4 pixels or more."""

    def __init__(self, n_sources: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [_conv(3, 16), nn.BatchNorm2d(16), nn.ReLU()]
        channels = 16
        for width in _WIDTHS:
            for _ in range(_BLOCKS):
                layers.append(_Block(channels, width))
                channels = width
        self.trunk = nn.Sequential(*layers)
        self.head = nn.Linear(channels, n_sources)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return (n, s) logits of (n, 3, h, w) values."""
        return F.linear(self.fingerprints(inputs), self.head.weight, self.head.bias)

    def fingerprints(self, inputs: Tensor) -> Tensor:
        """Return the (n, 64) features before the last layer: the means of the last maps."""
        maps: Tensor = self.trunk(inputs)
        return maps.mean(dim=(2, 3))


class _Block(nn.Module):
    """Two convolutions around a shortcut; the first halves the image where the width grows."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        stride = 1 if channels == width else 2
        self.residual = nn.Sequential(
            _conv(channels, width, stride),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            _conv(width, width),
            nn.BatchNorm2d(width),
        )
        self.shortcut = nn.Identity() if stride == 1 else nn.Conv2d(channels, width, 1, stride)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return (n, width, h / stride, w / stride)."""
        return F.relu(self.residual(inputs) + self.shortcut(inputs))


def _conv(channels: int, width: int, stride: int = 1) -> nn.Conv2d:
    conv = nn.Conv2d(channels, width, 3, stride, padding=1, bias=False)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    return conv
