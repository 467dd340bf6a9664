"""One pattern per source, and how well images agree with each."""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from gfp_bench import Images, ImageSet, Labels

_AROUND = 2  # values on each side of a peak that belong to it
_VALUES = 2**22  # of correlation planes made at once


def evenly(labels: Labels, count: int | None) -> list[int]:
    """Return the positions of at most ``count`` images of each source, spread evenly over those that there are."""
    chosen = []
    for label in sorted(set(labels.tolist())):
        places = (labels == label).nonzero()[:, 0].tolist()
        taken = len(places) if count is None else min(count, len(places))
        chosen += [places[number * len(places) // taken] for number in range(taken)]
    return sorted(chosen)


def source_sums(patterns: Callable[[Images], Sequence[Tensor]], images: ImageSet) -> list[Tensor]:
    """Return (s, ...) float64 sums over the images of each source, for each of the (n, ...) patterns of a batch.

    Raises:
        ValueError: If a source has no image.
    """
    counts = torch.bincount(images.labels, minlength=len(images.sources)).tolist()
    if 0 in counts:
        raise ValueError(f"got no training images of source {images.sources[counts.index(0)]!r}, expected some of each")
    totals: list[Tensor] = []
    for batch, labels in images.batches():
        member = F.one_hot(labels, len(images.sources)).double()
        found = patterns(batch)
        sums = [(member.T @ rows.double().flatten(1)).view(-1, *rows.shape[1:]) for rows in found]
        totals = [total + part for total, part in zip(totals, sums, strict=True)] if totals else sums
    return totals


def unit(rows: Tensor, *, centred: bool = True) -> Tensor:
    """Return (n, ...) patterns as (n, d) rows of norm 1, by default of mean 0; one without any variation is all zero.

    Products of such rows are correlations.
    """
    rows = rows.flatten(1)
    return F.normalize(rows - rows.mean(dim=1, keepdim=True) if centred else rows)


def peak_to_energy(images: Tensor, fingerprints: Tensor) -> Tensor:
    """Return the (n, s) peak-to-correlation energies of (n, c, h, w) and (s, c, h, w) patterns, float64.

    The correlation is taken at all cyclic shifts and added over channels. Its largest value, squared and with its sign,
    is divided by the mean square of those more than two pixels away from it. Without any variation it is 0.

    Source: Goljan, Fridrich, Filler, "Large scale test of sensor fingerprint camera identification", SPIE 2009.
    """
    height, width = images.shape[2:]
    templates = torch.fft.rfft2(_centred(fingerprints)).conj()
    size = max(1, _VALUES // (len(fingerprints) * height * width))
    energies = []
    for part in torch.split(_centred(images), size):
        spectra = torch.einsum("nchw,schw->nshw", torch.fft.rfft2(part), templates)
        energies.append(_peaks(torch.fft.irfft2(spectra, s=(height, width))))
    return torch.cat(energies) if energies else images.new_zeros((0, len(fingerprints)), dtype=torch.float64)


def _centred(patterns: Tensor) -> Tensor:
    patterns = patterns.double()
    return patterns - patterns.mean(dim=(2, 3), keepdim=True)


def _peaks(planes: Tensor) -> Tensor:
    """Return the (n, s) peak-to-correlation energies of (n, s, h, w) planes."""
    height, width = planes.shape[2:]
    peak, place = planes.flatten(2).max(dim=2)
    near = torch.arange(-_AROUND, _AROUND + 1, device=planes.device)
    rows = (place[..., None, None] // width + near[:, None]) % height
    columns = (place[..., None, None] % width + near) % width
    apart = planes.flatten(2).scatter(2, (rows * width + columns).flatten(2), 0.0)
    energy = apart.square().sum(dim=2) / (height * width - len(near) ** 2)
    return torch.where(energy > 0, peak * peak.abs() / energy, 0)
