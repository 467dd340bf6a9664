"""Pictures of images: sheets, by which a reader judges generators and datasets, and mosaics of attacked images."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from gfp_bench.contracts.attack import Perturbation
from gfp_bench.contracts.images import ImageSet
from gfp_bench.contracts.types import Images
from gfp_bench.errors import UsageError

_GAP, _LINE = 6, 15  # pixels between tiles, and of a line of text
_PAPER, _INK = (255, 255, 255), (0, 0, 0)


def sheet(images: Images, columns: int | None = None) -> Image.Image:
    """Return images row by row, as many columns as rows by default; what is left over is black."""
    columns = columns or math.ceil(math.sqrt(len(images)))
    rows = math.ceil(len(images) / columns)
    height, width = images.shape[-2:]
    tiles = torch.zeros(rows * columns, 3, height, width, dtype=torch.uint8)
    tiles[: len(images)] = images.cpu()
    grid = tiles.reshape(rows, columns, 3, height, width).permute(0, 3, 1, 4, 2)
    return Image.fromarray(grid.reshape(rows * height, columns * width, 3).numpy())


def contact_sheet(images: ImageSet, columns: int = 20, rows: int = 2) -> Image.Image:
    """Return some rows per source, sources in sorted order, images evenly spread over those of a split by their ids.

    Raises:
        UsageError: If a source has fewer images than its rows take.
    """
    ids, labels = np.array(images.ids), images.labels.numpy()
    chosen = []
    for label, source in enumerate(images.sources):
        members = np.flatnonzero(labels == label)
        if len(members) < rows * columns:
            raise UsageError(
                f"split {images.split!r} has {len(members)} images of {source!r}, expected at least {rows * columns} "
                f"for {rows} rows of {columns}; ask for fewer"
            )
        spread = np.linspace(0, len(members) - 1, rows * columns).round().astype(int)
        chosen += members[np.argsort(ids[members])][spread].tolist()
    return sheet(images.read(np.array(chosen)), columns)


@dataclass(frozen=True)
class Use:
    """An attack as one column shows it, in the row of a heading; uses of one heading follow each other."""

    row: str
    title: str
    attack: Perturbation
    seed: int


def mosaic(images: ImageSet, uses: Sequence[Use], *, scale: int = 2) -> Image.Image:
    """Return a picture with one strip per row: a heading, then for the clean images and each use a title and images.

    Args:
        images: What each strip shows, one below the other.
        uses: The attacks; streams are those of a run with the same seed.
        scale: How many pixels one pixel becomes across and down, by nearest neighbour.
    """
    clean = images.images
    strips = []
    for heading, members in groupby(uses, key=lambda use: use.row):
        columns = [("clean", clean)]
        for use in members:
            streams = images.attack_rng(use.attack.name, seed=use.seed)
            columns.append((use.title, use.attack.perturb(clean, streams)))
        strips.append(_strip(heading, columns, scale))
    picture = Image.new("RGB", (max(strip.width for strip in strips), sum(strip.height for strip in strips)), _PAPER)
    top = 0
    for strip in strips:
        picture.paste(strip, (0, top))
        top += strip.height
    return picture


def _strip(heading: str, columns: Sequence[tuple[str, Images]], scale: int) -> Image.Image:
    count, _, height, width = columns[0][1].shape
    lines = max(title.count("\n") + 1 for title, _ in columns)
    tall, wide = scale * height + _GAP, max(scale * width, 8 * _LINE) + _GAP  # titles need room beside small images
    body = _LINE + _GAP + lines * _LINE
    strip = Image.new("RGB", (len(columns) * wide + _GAP, body + count * tall + _GAP), _PAPER)
    draw, font = ImageDraw.Draw(strip), ImageFont.load_default(size=12)
    draw.text((_GAP, _GAP), heading, _INK, font, stroke_width=0.4)
    for column, (title, images) in enumerate(columns):
        left = _GAP + column * wide
        draw.multiline_text((left, _GAP + _LINE), title, _INK, font, spacing=2)
        for row, image in enumerate(images.permute(0, 2, 3, 1).cpu().numpy()):
            tile = np.repeat(np.repeat(image, scale, axis=0), scale, axis=1)
            strip.paste(Image.fromarray(tile), (left, body + row * tall))
    return strip
