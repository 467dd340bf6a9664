"""Which images a dataset gets: real ones by group, samples by their colours."""

from io import BytesIO
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from rounding import rounding
from scipy.spatial.distance import cdist

from gfp_bench.contracts.types import Images
from gfp_bench.data.manifest import Manifest
from gfp_bench.data.photographs import textured
from gfp_bench.errors import UsageError
from gfp_bench.metrics.distances import nearest
from gfp_bench.seeding import seed_of
from gfp_bench.zoo import selection
from gfp_bench.zoo.pool import Pool, find_pool

COUNTS = {"train": 4, "val": 2, "test": 3}


@pytest.fixture
def pool(toy: Manifest, cache: Path) -> Pool:
    return find_pool(str(toy.file), cache=cache)


def noise(n: int, seed: int, side: int = 16) -> Images:
    return torch.randint(0, 256, (n, 3, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def sampler(n: int, seed: int) -> Images:
    return noise(n, seed, 32)


def decoded(content: bytes) -> torch.Tensor:
    return torch.tensor(np.asarray(Image.open(BytesIO(content)))).permute(2, 0, 1)


def test_thumbnails_are_means_of_blocks() -> None:
    images = noise(3, 0)
    blocks = images.double().numpy().reshape(3, 3, 8, 2, 8, 2).mean(axis=(3, 5))
    assert selection.thumbnails(images).numpy() == pytest.approx(blocks.reshape(3, -1))


def test_samples_are_matched_at_the_least_cost() -> None:
    wanted, drawn = noise(3, 1), noise(6, 2)
    costs = cdist(selection.thumbnails(wanted), selection.thumbnails(drawn), "sqeuclidean")
    best = min(permutations(range(6), 3), key=lambda chosen: sum(costs[i, j] for i, j in enumerate(chosen)))
    assert torch.equal(selection.matched(wanted, noise, surplus=2, seed=2), drawn[list(best)])


def test_samples_apart_from_known_images_are_matched_alone() -> None:
    wanted, known, drawn = noise(2, 1), noise(5, 3), noise(12, 2)
    distances = cdist(drawn.flatten(1).double(), known.flatten(1).double()).min(axis=1)
    farthest = sorted(np.argsort(distances)[-4:])
    costs = cdist(selection.thumbnails(wanted), selection.thumbnails(drawn), "sqeuclidean")
    best = min(permutations(farthest, 2), key=lambda chosen: sum(costs[i, j] for i, j in enumerate(chosen)))
    chosen = selection.matched(wanted, noise, surplus=6, seed=2, known=known, apart=3)
    assert torch.equal(chosen, drawn[list(best)])
    assert not torch.equal(chosen, selection.matched(wanted, noise, surplus=6, seed=2, known=known))


def test_samples_apart_are_never_fewer_than_wanted() -> None:
    wanted, drawn = noise(4, 1), noise(8, 2)
    chosen = selection.matched(wanted, noise, surplus=2, seed=2, known=noise(1, 3), apart=5)
    distances = nearest(drawn, noise(1, 3))
    kept = sorted(distances.tolist())[4:]
    assert sorted(nearest(chosen, noise(1, 3)).tolist()) == pytest.approx(
        kept, rel=rounding(torch.float32, 3 * 16 * 16)
    )


def test_flat_samples_are_never_chosen() -> None:
    wanted = torch.full((2, 3, 16, 16), 100, dtype=torch.uint8)

    def half_flat(n: int, seed: int) -> Images:
        return torch.cat([wanted[:1].expand(n // 2, -1, -1, -1), noise(n - n // 2, seed)])

    assert textured(selection.matched(wanted, half_flat, surplus=4, seed=0)).all()


def test_samples_that_cannot_be_used_are_told() -> None:
    wanted = noise(5, 0)
    with pytest.raises(UsageError, match=r"source 'gan' has 0 images of 20 that are not flat, expected at least 5"):
        selection.matched(wanted, lambda n, seed: torch.zeros_like(noise(n, 0)), surplus=4, seed=0, source="gan")
    with pytest.raises(UsageError, match=r"'gan' makes images of shape \(3, 32, 32\), expected \(3, 16, 16\)"):
        selection.matched(wanted, sampler, surplus=4, seed=0, source="gan")


def test_nearest_is_the_smallest_distance() -> None:
    images, others = noise(4, 0), noise(5, 1)
    expected = cdist(images.flatten(1).double(), others.flatten(1).double()).min(axis=1) / np.sqrt(3 * 16 * 16)
    assert nearest(images, others).numpy() == pytest.approx(expected, rel=rounding(torch.float32, 3 * 16 * 16))


def test_no_two_draws_share_a_stream() -> None:
    sources = ("dcgan", "real", "vae", "wgan_gp")
    seeds = {seed_of(kind, source, split) for kind in ("latents", "pool") for source in sources for split in COUNTS}
    assert len(seeds) == 2 * len(sources) * len(COUNTS)
    latents = [torch.randn(1920, generator=torch.Generator().manual_seed(seed)) for seed in sorted(seeds)]
    values = torch.cat(latents).reshape(-1, 4)
    assert len(values.unique(dim=0)) == len(values)


def test_generated_members_are_the_matched_samples(pool: Pool) -> None:
    members = selection.generated_members("gan", sampler, pool, COUNTS, surplus=3)
    assert list(members) == [f"{split}/{number:03d}.png" for split, n in COUNTS.items() for number in range(n)]
    wanted = selection.targets(pool, "test", "gan", 3)
    chosen = selection.matched(wanted, sampler, surplus=3, seed=seed_of("latents", "gan", "test"))
    for number, image in enumerate(chosen):
        assert torch.equal(decoded(members[f"test/{number:03d}.png"]), image)
    known = {image.numpy().tobytes() for image in pool.crops.images}
    assert {image.numpy().tobytes() for image in wanted} <= known
    assert not torch.equal(wanted, selection.targets(pool, "test", "other", 3))


def test_val_and_test_are_apart_from_train(pool: Pool) -> None:
    near, far = (selection.generated_members("gan", sampler, pool, COUNTS, surplus=6, apart=apart) for apart in (1, 6))
    assert list(near) == list(far)
    assert [near[name] == far[name] for name in near if name.startswith("train")] == [True] * COUNTS["train"]
    train = torch.stack([decoded(content) for name, content in far.items() if name.startswith("train")])
    for split in ("val", "test"):
        drawn = sampler(6 * COUNTS[split], seed_of("latents", "gan", split))
        distances = np.sort(cdist(drawn.flatten(1).double(), train.flatten(1).double()).min(axis=1))
        images = torch.stack([decoded(content) for name, content in far.items() if name.startswith(split)])
        found = cdist(images.flatten(1).double(), train.flatten(1).double()).min(axis=1)
        assert np.sort(found) == pytest.approx(distances[-COUNTS[split] :])


def test_collapsed_generator_is_told(pool: Pool) -> None:
    with pytest.raises(UsageError, match=r"source 'gan' made the same image for train and val, .* it has collapsed"):
        selection.generated_members("gan", lambda n, seed: sampler(1, 0).expand(n, -1, -1, -1), pool, COUNTS, surplus=3)


def test_real_members_are_named_by_group_and_of_their_split(pool: Pool) -> None:
    members = selection.real_members(pool, COUNTS)
    assert len(members) == sum(COUNTS.values())
    train = {image.numpy().tobytes() for image in pool.crops.images}
    for name, content in members.items():
        split, _, file = name.partition("/")
        assert file.startswith(f"{split}_real_")  # a group of the toy set is a path
        assert (decoded(content).numpy().tobytes() in train) == (split == "train")
