"""Regions, crops and the flatness filter."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gfp_bench.data import photographs
from gfp_bench.data.photographs import GAP, PHOTOGRAPHS, SIZE, Region, crops, cut, pool, regions, textured


def covered(region: Region, height: int, width: int) -> np.ndarray:
    mask = np.zeros((height, width), bool)
    mask[region.top : region.top + region.height, region.left : region.left + region.width] = True
    return mask


@given(st.integers(100, 400), st.integers(100, 400))
def test_regions_share_no_pixel_and_keep_their_distance(height: int, width: int) -> None:
    masks = {split: covered(region, height, width) for split, region in regions(height, width).items()}
    for split, mask in masks.items():
        assert mask.sum() == regions(height, width)[split].height * regions(height, width)[split].width  # none outside
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        around = np.zeros_like(mask)  # the region and everything less than GAP pixels from it
        around[max(0, rows[0] - GAP) : rows[-1] + GAP + 1, max(0, columns[0] - GAP) : columns[-1] + GAP + 1] = True
        assert not any((around & other).any() for name, other in masks.items() if name != split)


@pytest.mark.parametrize("name", PHOTOGRAPHS)
def test_every_region_has_room_for_crops(name: str) -> None:
    photograph = PHOTOGRAPHS[name]()
    assert photograph.dtype == np.uint8
    for region in regions(*photograph.shape[:2]).values():
        assert min(region.height, region.width) >= photographs.SIDES[0]


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_crops_see_their_own_region_only(split: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Red is 0 in the region and 255 elsewhere: one foreign pixel, even in the scaling, would show."""
    height, width = 216, 220  # regions barely larger than crops, so that these reach every edge
    painted = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    painted[..., 0] = np.where(covered(regions(height, width)[split], height, width), 0, 255)
    monkeypatch.setattr(photographs, "PHOTOGRAPHS", {"painted": lambda: painted})
    drawn = crops(split, 40, rng=torch.Generator().manual_seed(1))
    assert drawn.images.shape == (40, 3, SIZE, SIZE)
    assert drawn.groups == ("painted",) * 40
    assert drawn.images[:, 0].max() == 0
    assert drawn.images[:, 1].float().std() > 10


@pytest.mark.parametrize(("split", "size"), [("train", 32), ("val", 64), ("test", 100), ("val", 256)])
def test_square_is_cut_inside_its_region_which_may_be_small(split: str, size: int) -> None:
    photograph = PHOTOGRAPHS["chelsea"]()
    region = regions(*photograph.shape[:2])[split]
    inside = (slice(region.top, region.top + region.height), slice(region.left, region.left + region.width))
    elsewhere = np.zeros_like(photograph)
    elsewhere[inside] = photograph[inside]
    for seed in range(5):
        squares = [
            cut(one, region, (3 * size // 2, 2 * size), size, rng=torch.Generator().manual_seed(seed))
            for one in (photograph, elsewhere)
        ]
        assert np.array_equal(*squares), "a pixel from outside of the region"
        assert squares[0].shape == (size, size, 3)


def test_flat_crops_are_drawn_again(monkeypatch: pytest.MonkeyPatch) -> None:
    half = np.full((600, 400, 3), 90, np.uint8)
    half[:, :150] = np.random.default_rng(0).integers(0, 256, (600, 150, 3), dtype=np.uint8)
    monkeypatch.setattr(photographs, "PHOTOGRAPHS", {"half": lambda: half})
    assert textured(crops("train", 30, rng=torch.Generator().manual_seed(2)).images).all()


def test_flatness_is_the_deviation_of_luma() -> None:
    images = np.random.default_rng(0).normal(120, np.linspace(1, 20, 40)[:, None, None, None], (40, 3, 16, 16))
    images = images.clip(0, 255).astype(np.uint8)
    luma = 0.299 * images[:, 0] + 0.587 * images[:, 1] + 0.114 * images[:, 2]
    expected = luma.reshape(40, -1).std(axis=1) >= photographs.FLATNESS
    assert 5 < expected.sum() < 35
    assert textured(torch.from_numpy(images)).tolist() == expected.tolist()


def test_crops_follow_from_the_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(photographs, "PHOTOGRAPHS", {"coffee": PHOTOGRAPHS["coffee"]})
    first, again, other = (crops("val", 3, rng=torch.Generator().manual_seed(seed)).images for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.slow
def test_pool_has_equal_shares() -> None:
    everything = pool()
    counts = {name: everything.groups.count(name) for name in PHOTOGRAPHS}
    assert len(everything.images) >= 5000
    assert set(counts.values()) == {len(everything.groups) // 10}  # so retina has 10 %
