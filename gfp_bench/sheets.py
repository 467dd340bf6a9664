"""Sheets of images, by which a reader judges generators and datasets."""

import math

import numpy as np
import torch
from PIL import Image

from gfp_bench.errors import UsageError
from gfp_bench.images import ImageSet
from gfp_bench.types import Images


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
    """Return some rows a source, sources in sorted order, images evenly spread over those of a split by their ids.

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
