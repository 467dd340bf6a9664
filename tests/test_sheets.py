import numpy as np
import pytest
import torch

from gfp_bench.errors import UsageError
from gfp_bench.images import ImageSet
from gfp_bench.sheets import contact_sheet, sheet


def test_sheet_has_images_row_by_row() -> None:
    images = torch.randint(0, 256, (5, 3, 4, 6), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    drawn = np.asarray(sheet(images, 2))
    assert drawn.shape == (12, 12, 3)
    for number, image in enumerate(images):
        top, left = number // 2 * 4, number % 2 * 6
        np.testing.assert_array_equal(drawn[top : top + 4, left : left + 6], image.permute(1, 2, 0))
    assert (drawn[8:, 6:] == 0).all()
    assert np.asarray(sheet(images)).shape == (2 * 4, 3 * 6, 3)


def images() -> ImageSet:
    """Image i is filled with i; ids run against the order, a's images are the odd ones."""
    pixels = np.broadcast_to(np.arange(20, dtype=np.uint8)[:, None, None, None], (20, 3, 2, 2))
    ids = [f"{99 - number}" for number in range(20)]
    return ImageSet(pixels, np.arange(20) % 2, sources=("a", "b"), ids=ids, dataset="toy", split="val")


def test_contact_sheet_spreads_over_each_source_in_the_order_of_ids() -> None:
    drawn = np.asarray(contact_sheet(images(), columns=2, rows=2))
    assert drawn.shape == (8, 4, 3)
    assert drawn[::2, ::2, 0].tolist() == [[18, 12], [6, 0], [19, 13], [7, 1]]  # 10 a source: the 1st, 4th, 7th, 10th


def test_contact_sheet_repeats_no_image() -> None:
    with pytest.raises(UsageError, match=r"split 'val' has 10 images of 'a', expected at least 12 for 3 rows of 4"):
        contact_sheet(images(), columns=4, rows=3)
