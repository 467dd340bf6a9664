"""The files of gm-photo64 that ship: made by the recipe, complete, each image in one split only."""

import io
from collections import Counter
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
import torch
from PIL import Image
from places import ROOT

from gfp_bench import load_plugins
from gfp_bench.contracts.dataset import REAL
from gfp_bench.data.manifest import Manifest, read_index, read_manifest
from gfp_bench.data.photographs import PHOTOGRAPHS, textured
from gfp_bench.zoo.builder import DatasetBuilder, read_made
from gfp_bench.zoo.pool import find_pool
from gfp_bench.zoo.recipe import load_recipe

DATASETS = ROOT / "datasets"
ARCHIVES = sorted((DATASETS / "gm-photo64").glob("*.zip"))
COUNTS = {"train": 200, "val": 50, "test": 100}


@pytest.fixture(scope="module")
def manifest() -> Manifest:
    return read_manifest(DATASETS / "gm-photo64.toml")


def test_the_recipe_takes_the_archives_as_they_are(tmp_path: Path) -> None:
    recipe = load_recipe("gm-photo64")
    builder = DatasetBuilder(
        recipe=recipe,
        pool=find_pool(recipe.pool, recipe.side),
        plugins=load_plugins(),
        folder=DATASETS,
        zoo=tmp_path,
    )
    since = {"dragan", "lsgan", "wgan_gp"}  # their networks are others now
    assert builder.pending([name for name in ("real", *recipe.sources) if name not in since]) == []
    assert list(tmp_path.iterdir()) == []


def test_the_index_is_sound(manifest: Manifest) -> None:
    index = read_index(manifest)
    assert manifest.source_names == tuple(archive.stem for archive in ARCHIVES)
    assert len(ARCHIVES) == 14
    counts = index.groupby(["split", "source"]).size().to_dict()
    assert counts == {(split, source): count for split, count in COUNTS.items() for source in manifest.source_names}


def test_the_manifest_says_what_recipe_and_archives_say(manifest: Manifest) -> None:
    recipe = load_recipe("gm-photo64")
    for text in ("name", "description", "licence", "citation"):
        assert getattr(recipe, text) == getattr(manifest, text)
    for source in recipe.sources:
        assert manifest.sources[source] == read_made(DATASETS / "gm-photo64" / f"{source}.zip")["metadata"]


def test_groups_are_photographs_and_latents(manifest: Manifest) -> None:
    index = read_index(manifest)
    shares = index[index["source"] == REAL].groupby(["split", "group"]).size().to_dict()
    assert shares == {(split, name): count // 10 for split, count in COUNTS.items() for name in PHOTOGRAPHS}
    assert index[index["source"] != REAL]["group"].is_unique


@pytest.mark.parametrize("archive", ARCHIVES, ids=lambda archive: archive.stem)
def test_an_archive_holds_its_splits(archive: Path) -> None:
    with ZipFile(archive) as opened:
        files = {name: opened.read(name) for name in opened.namelist()}
    assert Counter(name.split("/")[0] for name in files) == COUNTS
    assert len(set(files.values())) == sum(COUNTS.values()), "an image stands twice"
    images = [Image.open(io.BytesIO(content)) for content in files.values()]
    assert {(image.format, image.mode, image.size) for image in images} == {("PNG", "RGB", (64, 64))}
    some = torch.from_numpy(np.stack([np.asarray(image) for image in images[::7]]))
    assert textured(some.permute(0, 3, 1, 2)).all()


def test_all_fit_into_50_megabytes() -> None:
    assert sum(archive.stat().st_size for archive in ARCHIVES) < 50e6


def test_the_card_names_every_source_and_shows_them() -> None:
    card = (DATASETS / "gm-photo64.md").read_text()
    for archive in ARCHIVES:
        assert f"| {archive.stem} |" in card
    assert "(gm-photo64-val.webp)" in card
    assert (DATASETS / "gm-photo64-val.webp").exists()
