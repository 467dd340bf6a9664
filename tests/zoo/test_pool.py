"""Pools of real images: who may learn from what, and how much two training sets share."""

from collections import Counter
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gfp_bench.data import photographs
from gfp_bench.data.dataset import load_dataset
from gfp_bench.data.manifest import Manifest
from gfp_bench.data.photographs import Crops
from gfp_bench.errors import UsageError
from gfp_bench.zoo.pool import Pool, find_pool
from gfp_bench.zoo.recipe import Part


class Numbers(Pool):
    """Images that say who they are: image i is filled with i."""

    identity, side = "numbers", 8

    def __init__(self, groups: list[str]) -> None:
        values = torch.arange(len(groups), dtype=torch.uint8)
        self.found = Crops(values[:, None, None, None].expand(-1, 3, 8, 8), tuple(groups))

    @property
    def crops(self) -> Crops:  # type: ignore[override]
        return self.found

    def held_out(self, split: str, n: int, *, rng: torch.Generator) -> Crops:
        raise NotImplementedError


def rows(images: torch.Tensor) -> list[int]:
    return [int(value) for value in images[:, 0, 0, 0]]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@given(
    groups=st.lists(st.sampled_from("abcd"), min_size=1, max_size=60), share=st.floats(0, 1), seed=st.integers(0, 99)
)
@settings(max_examples=60)
def test_groups_give_equally_many_images_while_they_last(groups: list[str], share: float, seed: int) -> None:
    n = max(1, round(share * len(groups)))
    drawn = Numbers(groups).drawn(n, rng=seeded(seed))
    chosen = rows(drawn.images)
    assert len(set(chosen)) == n
    assert list(drawn.groups) == [groups[row] for row in chosen]
    taken, there = Counter(drawn.groups), Counter(groups)
    fewest = min(taken[group] for group in there if taken[group] < there[group]) if n < len(groups) else 0
    assert all(taken[group] <= fewest + 1 for group in there) or n == len(groups)


def test_images_without_groups_are_drawn_at_random() -> None:
    pool = Numbers([str(number) for number in range(100)])
    counts = Counter(row for seed in range(200) for row in rows(pool.drawn(10, rng=seeded(seed)).images))
    assert len(counts) == 100  # 20 times each on average
    assert max(counts.values()) < 45


def test_too_few_images_are_told() -> None:
    with pytest.raises(UsageError, match=r"pool numbers has 3 real images, expected at least 4; ask for fewer"):
        Numbers(["a", "b", "c"]).drawn(4, rng=seeded())
    with pytest.raises(UsageError, match=r"has 3 images, expected at least 4: 2 and 2 that replace some"):
        Numbers(["a", "b", "c"]).part(Part(images=2, replaced=2))


@pytest.mark.parametrize("replaced", [0, 1, 4, 20, 40])
def test_parts_share_all_but_the_replaced_images(replaced: int) -> None:
    pool = Numbers(["a"] * 100)
    base = rows(pool.part(Part(images=40)))
    part = rows(pool.part(Part(images=40, replaced=replaced)))
    assert len(set(part)) == len(set(base)) == 40
    assert sum(one != other for one, other in zip(base, part, strict=True)) == replaced  # the rest keep their places
    assert len(set(base) - set(part)) == replaced
    assert rows(pool.part(Part(images=40, seed=1))) != base
    assert rows(pool.part(None)) == list(range(100))


def test_pool_of_photographs(monkeypatch: pytest.MonkeyPatch) -> None:
    two = {name: photographs.PHOTOGRAPHS[name] for name in ("coffee", "rocket")}
    monkeypatch.setattr(photographs, "PHOTOGRAPHS", two)
    monkeypatch.setattr(photographs, "POOL_EACH", 3)
    photographs.pool.cache_clear()
    pool = find_pool("photographs", 32)
    try:
        assert (pool.identity, pool.side) == ("photographs", 32)
        assert pool.crops.images.shape == (6, 3, 32, 32)
        expected = photographs.crops("val", 2, rng=seeded(5), size=32)
        assert torch.equal(pool.held_out("val", 4, rng=seeded(5)).images, expected.images)
        odd = pool.held_out("val", 3, rng=seeded(5))
        assert sorted(Counter(odd.groups).values()) == [1, 2]
        assert {image.numpy().tobytes() for image in odd.images} < {
            image.numpy().tobytes() for image in expected.images
        }
    finally:
        photographs.pool.cache_clear()


def test_photographs_have_no_larger_crops() -> None:
    with pytest.raises(
        UsageError, match=r"asked for with side 128, expected at most 96: more would have to be invented"
    ):
        find_pool("photographs", 128)


def test_pool_of_a_dataset(toy: Manifest, cache: Path) -> None:
    pool = find_pool(str(toy.file), cache=cache)
    assert pool.identity == f"toy@{toy.digest}"
    assert pool.side == 32
    train = load_dataset(toy.file, cache=cache).split("train")
    real = train.images[train.labels == train.sources.index("real")]
    assert torch.equal(pool.crops.images, real)
    assert all("/real/" in group for group in pool.crops.groups)
    assert len(pool.held_out("test", 8, rng=seeded()).images) == 8
    with pytest.raises(UsageError, match=r"split 'val' of toy@\w+ has 4 real images, expected at least 5"):
        pool.held_out("val", 5, rng=seeded())


def test_dataset_that_is_no_pool_is_told(toy: Manifest, cache: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"dataset 'toy' has images of 32 x 32 pixels, expected squares of 64"):
        find_pool(str(toy.file), 64, cache=cache)
    with pytest.raises(UsageError, match=r"unknown dataset 'photograph'"):
        find_pool("photograph", cache=cache)
    file = tmp_path / "toy.toml"
    file.write_text(toy.file.read_text().replace("real", "reel"))
    with pytest.raises(UsageError, match=r"has no source 'real' to learn from; its sources: gan-a, gan-b, reel"):
        find_pool(str(file), cache=cache)
