import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gfp_bench import ImageRng, Images, ImageSet, Perturbation, load_dataset, load_plugins
from gfp_bench.cli import main
from gfp_bench.data.manifest import Manifest
from gfp_bench.errors import UsageError
from gfp_bench.pictures import Use, contact_sheet, mosaic, sheet


def test_sheet_has_images_row_by_row() -> None:
    images = torch.randint(0, 256, (5, 3, 4, 6), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    drawn = np.asarray(sheet(images, 2))
    assert drawn.shape == (12, 12, 3)
    for number, image in enumerate(images):
        top, left = number // 2 * 4, number % 2 * 6
        np.testing.assert_array_equal(drawn[top : top + 4, left : left + 6], image.permute(1, 2, 0))
    assert (drawn[8:, 6:] == 0).all()
    assert np.asarray(sheet(images)).shape == (2 * 4, 3 * 6, 3)


def numbered() -> ImageSet:
    """Image i is filled with i; ids run against the order, a's images are the odd ones."""
    pixels = np.broadcast_to(np.arange(20, dtype=np.uint8)[:, None, None, None], (20, 3, 2, 2))
    ids = [f"{99 - number}" for number in range(20)]
    return ImageSet(pixels, np.arange(20) % 2, sources=("a", "b"), ids=ids, dataset="toy", split="val")


def test_contact_sheet_spreads_over_each_source_in_the_order_of_ids() -> None:
    drawn = np.asarray(contact_sheet(numbered(), columns=2, rows=2))
    assert drawn.shape == (8, 4, 3)
    assert drawn[::2, ::2, 0].tolist() == [[18, 12], [6, 0], [19, 13], [7, 1]]  # 10 per source: the 1st, 4th, 7th, 10th


def test_contact_sheet_repeats_no_image() -> None:
    with pytest.raises(UsageError, match=r"split 'val' has 10 images of 'a', expected at least 12 for 3 rows of 4"):
        contact_sheet(numbered(), columns=4, rows=3)


class Inverted(Perturbation):
    name = "inverted"
    version = 1

    def perturb(self, images: Images, rng: ImageRng) -> Images:
        return 255 - images


@pytest.fixture
def images() -> ImageSet:
    pixels = np.random.default_rng(0).integers(0, 256, (2, 3, 5, 7), dtype=np.uint8)
    return ImageSet(pixels, np.zeros(2, dtype=np.int64), sources=["a"], ids=["0", "1"])


def holds(sheet: np.ndarray, tile: np.ndarray) -> int:
    """Count the places where a tile stands in a sheet."""
    height, width, _ = tile.shape
    corners = (sheet[: len(sheet) - height + 1, : sheet.shape[1] - width + 1] == tile[0, 0]).all(axis=2)
    return sum(
        np.array_equal(sheet[top : top + height, left : left + width], tile) for top, left in np.argwhere(corners)
    )


def test_every_tile_stands_where_pixels_can_be_seen(images: ImageSet) -> None:
    uses = [
        Use("first", "one", Inverted(), 0),
        Use("first", "two\nlines", Inverted(), 1),
        Use("second", "", Inverted(), 0),
    ]
    sheet = np.asarray(mosaic(images, uses, scale=3))
    for image in images.images:
        clean = np.kron(image.permute(1, 2, 0).numpy(), np.ones((3, 3, 1), dtype=np.uint8))
        assert holds(sheet, clean) == 2, "once a strip"
        assert holds(sheet, 255 - clean) == 3, "once a use"


def test_titles_are_written(images: ImageSet) -> None:
    blank, titled = (np.asarray(mosaic(images, [Use("row", title, Inverted(), 0)])) for title in ("", "title"))
    assert blank.shape == titled.shape
    assert (blank != titled).any()


def drawn(*words: str, monkeypatch: pytest.MonkeyPatch) -> object:
    monkeypatch.setattr(sys, "argv", ["gfp-bench", "mosaic", *words])
    with pytest.raises(SystemExit) as stopped:
        main()
    return stopped.value.code


def test_the_command_draws_what_a_run_scores(
    toy: Manifest, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GFP_BENCH_CACHE", str(cache))
    protocol = tmp_path / "small.toml"
    protocol.write_text(
        'schema = 1\nname = "small"\nversion = 1\ntask = "attribution"\ndescription = ""\n'
        "attack_seed = 5\nseeds = [0]\n"
        '[[attacks]]\nname = "noise"\nlabel = "loud"\nsettings = { low = 400.0, high = 900.0 }\n'
    )
    out = tmp_path / "drawn.png"
    words = ["-d", str(toy.file), "--image", "test/real/3.png", "-p", str(protocol), "-a", "flip", "--out", str(out)]
    assert not drawn(*words, "--split", "test", "--scale", "1", monkeypatch=monkeypatch)
    sheet = np.asarray(Image.open(out))
    test = load_dataset(toy.file, cache=cache).split("test")
    one = test.subset([test.ids.index("test/real/3.png")])
    noisy = load_plugins().attack("noise")(low=400.0, high=900.0).perturb(one.images, one.attack_rng("noise", seed=5))
    for expected in (noisy, one.images.flip(3)):
        assert holds(sheet, expected[0].permute(1, 2, 0).numpy()) == 1


def test_every_attack_and_source_is_drawn_by_default(
    toy: Manifest, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GFP_BENCH_CACHE", str(cache))
    out = tmp_path / "drawn.webp"
    assert not drawn("-d", str(toy.file), "--scale", "1", "--out", str(out), monkeypatch=monkeypatch)
    sheet = np.asarray(Image.open(out))  # without loss
    test = load_dataset(toy.file, cache=cache).split("val")
    first = test.images[test.labels.tolist().index(2)]
    assert holds(sheet, first.permute(1, 2, 0).numpy()) >= len(load_plugins().attacks)


def test_an_image_that_does_not_exist_is_refused(
    toy: Manifest, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GFP_BENCH_CACHE", str(cache))
    words = ["-d", str(toy.file), "--image", "val/real/33.png", "--out", str(tmp_path / "x.png")]
    assert drawn(*words, monkeypatch=monkeypatch) == 2
    assert "unknown image 'val/real/33.png'; did you mean 'val/real/" in capsys.readouterr().err
