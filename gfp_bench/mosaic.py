"""Images under attacks, drawn beside each other and enlarged so that their pixels can be seen."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from gfp_bench.attack import Perturbation
from gfp_bench.images import ImageSet
from gfp_bench.types import Images

_GAP, _LINE = 6, 15  # pixels between tiles, and of a line of text
_PAPER, _INK = (255, 255, 255), (0, 0, 0)


@dataclass(frozen=True)
class Use:
    """An attack as one column shows it, in the row of a heading; uses of one heading follow each other."""

    row: str
    title: str
    attack: Perturbation
    seed: int


def mosaic(images: ImageSet, uses: Sequence[Use], *, scale: int = 2) -> Image.Image:
    """Return a picture with a strip a row: its heading, then for the clean images and each use a title and the images.

    Args:
        images: What each strip shows, one below the other.
        uses: The attacks; streams are those of a run with the same seed.
        scale: How many pixels a pixel becomes across and down, by nearest neighbour.
    """
    clean = images.images
    strips = []
    for heading, members in groupby(uses, key=lambda use: use.row):
        columns = [("clean", clean)]
        for use in members:
            streams = images.attack_rng(use.attack.name, seed=use.seed)
            columns.append((use.title, use.attack.perturb(clean, streams)))
        strips.append(_strip(heading, columns, scale))
    sheet = Image.new("RGB", (max(strip.width for strip in strips), sum(strip.height for strip in strips)), _PAPER)
    top = 0
    for strip in strips:
        sheet.paste(strip, (0, top))
        top += strip.height
    return sheet


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
