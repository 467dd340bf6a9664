"""The files of photo-mini that ship, and that its recipe still gives them."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gfp_bench.contracts.dataset import REAL
from gfp_bench.data.manifest import find_manifest, read_index, read_manifest
from gfp_bench.data.photographs import PHOTOGRAPHS, textured
from gfp_bench.zoo import selection
from gfp_bench.zoo.pool import find_pool
from gfp_bench.zoo.recipe import load_recipe

SOURCES = ("dcgan", "real", "vae", "wgan_gp")
COUNTS = {"train": 120, "val": 40, "test": 40}


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


def test_recipe_says_what_was_shipped(shipped: Path) -> None:
    recipe, manifest = load_recipe("photo-mini"), read_manifest(shipped)
    assert tuple(sorted({*recipe.sources, REAL})) == SOURCES
    assert recipe.images.model_dump() == COUNTS
    for text in ("name", "description", "licence", "citation"):
        assert getattr(recipe, text) == getattr(manifest, text)


@pytest.mark.slow
def test_shipped_real_images_are_the_recipe_s(shipped: Path) -> None:
    manifest = read_manifest(shipped)
    members = selection.real_members(find_pool("photographs"), COUNTS)
    index = read_index(manifest)
    paths = {path.replace("/real/", "/"): path for path in index["path"][index["source"] == "real"]}
    assert paths.keys() == members.keys()
    for name, content in members.items():
        made = np.asarray(Image.open(BytesIO(content)))
        assert np.array_equal(made, np.asarray(Image.open(manifest.root / paths[name])))
