"""The archives of gm-photo64 that are finished: made by the recipe, complete, and each image in one split only."""

import io
from collections import Counter
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
from PIL import Image

from gfp_bench import load_plugins
from gfp_bench.build import Build
from gfp_bench.photographs import PHOTOGRAPHS
from gfp_bench.pools import find_pool
from gfp_bench.recipes import REAL, load_recipe

DATASETS = Path(__file__).parent.parent / "datasets"
ARCHIVES = sorted((DATASETS / "gm-photo64").glob("*.zip"))
COUNTS = {"train": 200, "val": 50, "test": 100}


def test_the_recipe_takes_the_archives_as_they_are(tmp_path: Path) -> None:
    recipe = load_recipe("gm-photo64")
    build = Build(recipe, find_pool(recipe.pool, recipe.side), load_plugins(), DATASETS, tmp_path)
    here = {archive.stem for archive in ARCHIVES}
    assert build.pending() == [source for source in (REAL, *recipe.sources) if source not in here]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("archive", ARCHIVES, ids=lambda archive: archive.stem)
def test_an_archive_holds_its_splits(archive: Path) -> None:
    with ZipFile(archive) as opened:
        files = {name: opened.read(name) for name in opened.namelist()}
    assert Counter(name.split("/")[0] for name in files) == COUNTS
    assert len(set(files.values())) == sum(COUNTS.values()), "an image stands twice"
    for content in files.values():
        assert np.asarray(Image.open(io.BytesIO(content))).shape == (64, 64, 3)


def test_real_images_are_equally_many_of_each_photograph() -> None:
    with ZipFile(DATASETS / "gm-photo64" / f"{REAL}.zip") as opened:
        found = Counter(tuple(name.rsplit("-", 1)[0].split("/")) for name in opened.namelist())
    assert found == {(split, name): count // 10 for split, count in COUNTS.items() for name in PHOTOGRAPHS}


def test_all_fourteen_fit_into_50_megabytes() -> None:
    assert len(load_recipe("gm-photo64").sources) == 13
    sizes = [archive.stat().st_size for archive in ARCHIVES]
    assert 14 * sum(sizes) / len(sizes) < 50e6
