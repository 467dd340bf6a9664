"""An autoencoder through a codebook: the nearest entry to each encoding, and how entries follow their encodings.

Source: van den Oord et al., arXiv:1711.00937, eq. 1 to 3, section 4.1 and appendix A.1.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gfp_bench_generators._shared.networks import Residual

_UNUSED = 1e-3  # encodings, a moving average; an entry with fewer stays where it is


class Codebook(nn.Module):
    """Entries (k, d); encodings are maps (n, d, h, w), codes (n, h, w)."""

    counts: Tensor
    sums: Tensor

    def __init__(self, codes: int, values: int) -> None:
        super().__init__()
        self.entries = nn.Parameter(torch.zeros(codes, values))
        self.register_buffer("counts", torch.zeros(codes))
        self.register_buffer("sums", torch.zeros(codes, values))

    def forward(self, codes: Tensor) -> Tensor:
        return F.embedding(codes, self.entries).permute(0, 3, 1, 2)

    @torch.no_grad()
    def nearest(self, encodings: Tensor) -> Tensor:
        """Return the code of the entry nearest to each encoding (eq. 1)."""
        distances = self.entries.square().sum(dim=1) - 2 * _rows(encodings) @ self.entries.T  # without what all share
        n, _, height, width = encodings.shape
        return distances.argmin(dim=1).reshape(n, height, width)

    @torch.no_grad()
    def begin(self, encodings: Tensor, rng: torch.Generator) -> None:
        """Make some encodings the entries, unless this was done before."""
        if not self.counts.any():
            rows = _rows(encodings)
            chosen = torch.randint(len(rows), (len(self.entries),), generator=rng)
            self.entries.copy_(rows[chosen.to(rows.device)])
            self.sums.copy_(self.entries)
            self.counts.fill_(1)

    @torch.no_grad()
    def follow(self, encodings: Tensor, codes: Tensor, decay: float, *, move: bool = True) -> None:
        """Average how many encodings are nearest to each entry, and where; ``move`` it there (appendix A.1)."""
        member = F.one_hot(codes.flatten(), len(self.entries)).float()  # index_add_ varies on CUDA
        self.counts.lerp_(member.sum(dim=0), 1 - decay)
        self.sums.lerp_(member.T @ _rows(encodings), 1 - decay)
        if move:
            used = self.counts[:, None] > _UNUSED
            self.entries.copy_(torch.where(used, self.sums / self.counts[:, None].clamp(min=_UNUSED), self.entries))

    @torch.no_grad()
    def renew(self, encodings: Tensor, least: float, rng: torch.Generator) -> None:
        """Make random encodings of the entries with less than ``least`` of the mean number of encodings."""
        mean, rows = self.counts.mean(), _rows(encodings)
        rare = self.counts < least * mean
        chosen = rows[torch.randint(len(rows), (len(rare),), generator=rng).to(rows.device)]
        self.entries.copy_(torch.where(rare[:, None], chosen, self.entries))
        self.sums.copy_(torch.where(rare[:, None], chosen * mean, self.sums))
        self.counts.copy_(torch.where(rare, mean, self.counts))


class Autoencoder(nn.Module):
    """Images to their reconstructions, values not bounded, by strided and transposed convolutions and two residuals.

    Args:
        width: Channels of the maps of codes' size; half of them at twice the side and so on.
        codebook: What the encodings are replaced by.
        factor: The image's side against that of the map of codes, a power of two.
    """

    def __init__(self, width: int, codebook: Codebook, factor: int) -> None:
        super().__init__()
        values = codebook.entries.shape[1]
        widths = [width // place for place in _halvings(factor)][::-1]
        down: list[nn.Module] = []
        for before, after in zip([3, *widths], widths, strict=False):
            down += [nn.Conv2d(before, after, 4, 2, 1), nn.ReLU()]
        inner = [nn.Conv2d(width, width, 3, padding=1), *_residuals(width), nn.ReLU(), nn.Conv2d(width, values, 1)]
        up: list[nn.Module] = [nn.Conv2d(values, width, 3, padding=1), *_residuals(width)]
        for before, after in zip(widths[::-1], [*widths[-2::-1], 3], strict=True):
            up += [nn.ReLU(), nn.ConvTranspose2d(before, after, 4, 2, 1)]
        self.encoder = nn.Sequential(*down, *inner)
        self.codebook = codebook
        self.decoder = nn.Sequential(*up)

    def forward(self, images: Tensor) -> Tensor:
        rebuilt: Tensor = self.decoder(self.codebook(self.codebook.nearest(self.encoder(images))))
        return rebuilt


def straight_through(encodings: Tensor, entries: Tensor) -> Tensor:
    """Return the entries, with the slope of the encodings (section 3.2)."""
    return encodings + (entries - encodings).detach()


def _rows(encodings: Tensor) -> Tensor:
    return encodings.permute(0, 2, 3, 1).flatten(0, 2)


def _halvings(factor: int) -> list[int]:
    """Return 1, 2, 4, ..., factor / 2."""
    return [1 << place for place in range(factor.bit_length() - 1)]


def _residuals(width: int) -> list[nn.Module]:
    half = width // 2
    return [
        Residual(
            nn.Sequential(nn.ReLU(), nn.Conv2d(width, half, 3, padding=1), nn.ReLU(), nn.Conv2d(half, width, 1)),
            nn.Identity(),
        )
        for _ in range(2)
    ]
