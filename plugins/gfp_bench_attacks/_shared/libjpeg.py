"""libjpeg's baseline round trip on tensors: what its coder loses and its decoder gives back, without entropy coding.

Source: ITU-T T.81 and the integer arithmetic of libjpeg(-turbo), of which Pillow and OpenCV are front ends: 16-bit
fixed-point colour conversion, `islow` transforms (Loeffler, Ligtenberg and Moschytz, ICASSP 1989, with 13-bit
constants), quantisation tables of the standard's annex K scaled by quality, "fancy" up-sampling of halved chroma.
The transforms run as float64 products of whole numbers below 2**53, so they are exact in any order.
"""

import torch
from torch import Tensor

from gfp_bench import Images

_BATCH = 2**22  # values at a time; each takes some 60 bytes on the way

_LUMA = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
_CHROMA = (
    (17, 18, 24, 47, 99, 99, 99, 99),
    (18, 21, 26, 66, 99, 99, 99, 99),
    (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99),
    *[(99,) * 8] * 4,
)
_DCT_LEFT = (  # left half of the transform's rows in 2**-13ths; the right half mirrors it, odd rows with changed sign
    (8192, 8192, 8192, 8192),
    (11363, 9633, 6437, 2260),
    (10703, 4433, -4433, -10703),
    (9633, -2259, -11362, -6436),
    (8192, -8192, -8192, 8192),
    (6437, -11362, 2261, 9633),
    (4433, -10704, 10704, -4433),
    (2260, -6436, 9633, -11363),
)


def roundtrip_tensor(images: Images, quality: int | Tensor, subsampling: str = "4:2:0") -> Images:
    """Return images as a JPEG decoder gives them back: Pillow's bytes, on the images' device.

    Args:
        images: Of any height and width.
        quality: 1 to 100, for all images or (n,) for each.
        subsampling: ``4:2:0`` (chroma halved both ways) or ``4:4:4``.

    Raises:
        ValueError: If a quality or the sub-sampling is none of these.
    """
    qualities = torch.as_tensor(quality, device=images.device).expand(len(images))
    if len(images) and not 1 <= int(qualities.min()) <= int(qualities.max()) <= 100:
        raise ValueError(f"JPEG quality {qualities.tolist()}, expected whole numbers from 1 to 100")
    if subsampling not in ("4:2:0", "4:4:4"):
        raise ValueError(f"JPEG subsampling {subsampling!r}, expected 4:2:0 or 4:4:4")
    size = max(1, _BATCH // max(1, images[:1].numel()))
    attacked = torch.empty_like(images, memory_format=torch.contiguous_format)
    for start in range(0, len(images), size):
        part = slice(start, start + size)
        attacked[part] = _roundtrip(images[part], qualities[part], halved=subsampling == "4:2:0")
    return attacked


def _roundtrip(images: Images, quality: Tensor, *, halved: bool) -> Images:
    height, width = images.shape[2:]
    planes = _to_ycc(images)
    luma, chroma = planes[:, :1], planes[:, 1:]
    luma = _through_dct(luma, _table(_LUMA, quality))
    chroma = _through_dct(_halve(chroma) if halved else chroma, _table(_CHROMA, quality))
    if halved:
        chroma = _double(chroma[..., : (width + 1) // 2])[..., :height, :width]
    return _to_rgb(luma, chroma)


def _table(base: tuple[tuple[int, ...], ...], quality: Tensor) -> Tensor:
    """Return (n, 1, 8, 8) float64 quantisation steps."""
    percent = torch.where(quality < 50, 5000 // quality, 200 - 2 * quality)[:, None, None, None]
    return ((torch.tensor(base, device=quality.device) * percent + 50) // 100).clamp_(1, 255).double()


def _fixed(value: float) -> int:
    return int(value * 2**16 + 0.5)


def _to_ycc(images: Images) -> Tensor:
    """Return (n, 3, h, w) int32 luma and chroma, 0 to 255."""
    red, green, blue = images.int().unbind(1)
    offset = (128 << 16) + (1 << 15) - 1  # chroma rounds halves down
    y = _fixed(0.299) * red + _fixed(0.587) * green + _fixed(0.114) * blue + (1 << 15)
    cb = _fixed(0.5) * blue - _fixed(0.16874) * red - _fixed(0.33126) * green + offset
    cr = _fixed(0.5) * red - _fixed(0.41869) * green - _fixed(0.08131) * blue + offset
    return torch.stack([y, cb, cr], dim=1) >> 16


def _to_rgb(luma: Tensor, chroma: Tensor) -> Images:
    y, (cb, cr) = luma[:, 0], (chroma - 128).unbind(1)
    half = 1 << 15
    red = y + ((_fixed(1.402) * cr + half) >> 16)
    green = y + ((half - _fixed(0.34414) * cb - _fixed(0.71414) * cr) >> 16)
    blue = y + ((_fixed(1.772) * cb + half) >> 16)
    return torch.stack([red, green, blue], dim=1).clamp_(0, 255).to(torch.uint8)


def _through_dct(planes: Tensor, table: Tensor) -> Tensor:
    """Return (n, c, h, w) int32 planes after transform, quantisation and back; ``table`` is (n, 1, 8, 8)."""
    height, width = planes.shape[2:]
    padded = _extend(planes, -height % 8, -width % 8)
    blocks = [size // 8 for size in padded.shape[2:]]
    grid = padded.reshape(*padded.shape[:2], blocks[0], 8, blocks[1], 8).transpose(3, 4)
    half = torch.tensor(_DCT_LEFT, dtype=torch.float64, device=planes.device)
    dct = torch.cat([half, half.flip(1) * torch.tensor([[1.0], [-1.0]] * 4, device=planes.device)], dim=1)
    rows = _descale((grid - 128).flatten(1, 3).double() @ dct.T, 11)
    coefficients = _descale(rows.mT @ dct.T, 15)  # transposed, 8 times too large
    step = table.mT
    levels = ((coefficients.abs() + 4 * step) / (8 * step)).floor_() * coefficients.sign()
    columns = _descale((levels * step) @ dct, 11)
    pixels = _descale(columns.mT @ dct, 18).add_(128).clamp_(0, 255).int()
    return pixels.view(grid.shape).transpose(3, 4).reshape(padded.shape)[..., :height, :width]


def _descale(values: Tensor, bits: int) -> Tensor:
    return values.mul_(2.0**-bits).add_(0.5).floor_()


def _extend(planes: Tensor, below: int, right: int) -> Tensor:
    """Return (n, c, h + below, w + right) planes, their last row and column repeated."""
    rows = torch.arange(planes.shape[2] + below, device=planes.device).clamp_(max=planes.shape[2] - 1)
    columns = torch.arange(planes.shape[3] + right, device=planes.device).clamp_(max=planes.shape[3] - 1)
    return planes[..., rows, :][..., columns]


def _halve(planes: Tensor) -> Tensor:
    """Return means of 2 x 2, which round down and up in turns; the width is padded to whole blocks."""
    whole = _extend(planes, -planes.shape[2] % 2, -planes.shape[3] % 16)
    sums = whole[..., ::2, ::2] + whole[..., ::2, 1::2] + whole[..., 1::2, ::2] + whole[..., 1::2, 1::2]
    bias = 1 + torch.arange(sums.shape[3], device=planes.device, dtype=planes.dtype) % 2
    return (sums + bias) >> 2


def _double(planes: Tensor) -> Tensor:
    """Return (n, c, 2h, 2w) planes by libjpeg's triangle filter: 3/4 the nearer, 1/4 the further neighbour."""
    if planes.shape[3] <= 2:  # too narrow for the filter: libjpeg repeats
        return planes.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    tall = torch.stack([_beside(planes, 2, -1), _beside(planes, 2, 1)], dim=3).flatten(2, 3)
    return torch.stack([(_beside(tall, 3, -1) + 8) >> 4, (_beside(tall, 3, 1) + 7) >> 4], dim=4).flatten(3, 4)


def _beside(planes: Tensor, dim: int, step: int) -> Tensor:
    """Return three times each value plus its neighbour's, the edge's own beyond the edge."""
    size = planes.shape[dim]
    neighbour = (torch.arange(size, device=planes.device) + step).clamp_(0, size - 1)
    return 3 * planes + planes.index_select(dim, neighbour)
