"""How photo-mini is composed, and the files that ship."""

from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.spatial.distance import cdist

from gfp_bench import compose
from gfp_bench.manifests import find_manifest, read_index, read_manifest
from gfp_bench.photographs import PHOTOGRAPHS, textured
from gfp_bench.types import Images

SOURCES = ("dcgan", "real", "vae", "wgan_gp")
COUNTS = {"train": 120, "val": 40, "test": 40}


def noise(n: int, seed: int) -> Images:
    return torch.randint(0, 256, (n, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def test_thumbnails_are_means_of_blocks() -> None:
    images = noise(3, 0)
    blocks = images.double().numpy().reshape(3, 3, 8, 2, 8, 2).mean(axis=(3, 5))
    assert compose.thumbnails(images).numpy() == pytest.approx(blocks.reshape(3, -1))


def test_samples_are_matched_at_the_least_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compose, "SURPLUS", 2)
    wanted, drawn = noise(3, 1), noise(6, 2)
    costs = cdist(compose.thumbnails(wanted), compose.thumbnails(drawn), "sqeuclidean")
    best = min(permutations(range(6), 3), key=lambda chosen: sum(costs[i, j] for i, j in enumerate(chosen)))
    assert torch.equal(compose.matched(wanted, noise, seed=2), drawn[list(best)])


def test_flat_samples_are_never_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compose, "SURPLUS", 4)
    wanted = torch.full((2, 3, 16, 16), 100, dtype=torch.uint8)

    def half_flat(n: int, seed: int) -> Images:
        return torch.cat([wanted[:1].expand(n // 2, -1, -1, -1), noise(n - n // 2, seed)])

    assert textured(compose.matched(wanted, half_flat, seed=0)).all()


def test_nearest_is_the_smallest_distance() -> None:
    images, others = noise(4, 0), noise(5, 1)
    expected = cdist(images.flatten(1).double(), others.flatten(1).double()).min(axis=1) / np.sqrt(3 * 16 * 16)
    assert compose.nearest(images, others).numpy() == pytest.approx(expected, rel=1e-5)


def test_no_two_draws_share_a_stream() -> None:
    seeds = {
        compose.seed_of(kind, source, split) for kind in ("latents", "pool") for source in SOURCES for split in COUNTS
    }
    assert len(seeds) == 2 * len(SOURCES) * len(COUNTS)
    latents = [torch.randn(1920, generator=torch.Generator().manual_seed(seed)) for seed in sorted(seeds)]
    values = torch.cat(latents).reshape(-1, 4)
    assert len(values.unique(dim=0)) == len(values)


def test_composed_files_lie_by_split_and_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compose, "EACH", {"val": 1})
    monkeypatch.setattr(compose, "targets", lambda split, source: noise(10, 3))
    compose.compose("val", {"gan": noise}, tmp_path)
    files = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.png"))
    assert files[:2] == ["val/gan/val-000.png", "val/gan/val-001.png"]
    assert [file for file in files if "real" in file] == [f"val/real/{name}-00.png" for name in sorted(PHOTOGRAPHS)]
    stored = np.asarray(Image.open(tmp_path / "val/gan/val-000.png"))
    wanted = compose.matched(noise(10, 3), noise, seed=compose.seed_of("latents", "gan", "val"))
    assert np.array_equal(stored, wanted[0].permute(1, 2, 0).numpy())


@pytest.fixture(scope="module")
def shipped() -> Path:
    return find_manifest("photo-mini")


def test_shipped_index_is_sound(shipped: Path) -> None:
    manifest = read_manifest(shipped)
    index = read_index(manifest)
    assert manifest.source_names == SOURCES
    assert manifest.image_size == (64, 64)
    counts = index.groupby(["split", "source"]).size().to_dict()
    assert counts == {(split, source): count for split, count in COUNTS.items() for source in SOURCES}


def test_shipped_groups_are_photographs_and_latents(shipped: Path) -> None:
    index = read_index(read_manifest(shipped))
    real = index[index["source"] == "real"]
    shares = real.groupby(["split", "group"]).size()
    assert sorted(real["group"].unique()) == sorted(PHOTOGRAPHS)
    assert all((shares[split] == COUNTS[split] // 10).all() for split in COUNTS)  # retina is a tenth
    made = index[index["source"] != "real"]
    assert made["group"].is_unique


def test_shipped_files_are_small_lossless_and_not_flat(shipped: Path) -> None:
    manifest = read_manifest(shipped)
    files = [manifest.root / path for path in read_index(manifest)["path"]]
    assert sum(file.stat().st_size for file in files) <= 9e6
    assert all(file.suffix == ".png" for file in files)
    some = np.stack([np.asarray(Image.open(file)) for file in files[::4]])
    assert textured(torch.from_numpy(some).permute(0, 3, 1, 2)).all()


def test_shipped_card_has_its_contact_sheet(shipped: Path) -> None:
    card = shipped.with_suffix(".md").read_text()
    for word in (*SOURCES, *PHOTOGRAPHS, "photo-mini-val.png"):
        assert word in card
    assert shipped.with_name("photo-mini-val.png").exists()


@pytest.mark.slow
def test_shipped_real_images_are_the_recipe_s(shipped: Path) -> None:
    manifest = read_manifest(shipped)
    index = read_index(manifest)
    for split in COUNTS:
        paths = sorted(index[(index["source"] == "real") & (index["split"] == split)]["path"])
        stored = np.stack([np.asarray(Image.open(manifest.root / path)) for path in paths])
        assert np.array_equal(stored, compose.real_images(split).images.permute(0, 2, 3, 1).numpy())
