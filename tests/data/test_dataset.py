import multiprocessing
from multiprocessing.synchronize import Barrier
from pathlib import Path

import numpy as np
import pytest
import torch
from full_disk import room_for
from PIL import Image
from torch.utils.data import DataLoader

from gfp_bench.data.cache import UncachedMap
from gfp_bench.data.dataset import Dataset, load_dataset
from gfp_bench.data.indexing import index_folder
from gfp_bench.errors import DatasetError, UsageError

SOURCES = ("gan", "real", "vae")
PER_SPLIT = 5


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for split in ("train", "val", "test"):
        for source in SOURCES:
            folder = tmp_path / "toy" / split / source
            folder.mkdir(parents=True)
            for number in range(PER_SPLIT):
                values = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
                Image.fromarray(values).save(folder / f"p{number % 2}-{number}.png")
    return index_folder(tmp_path / "toy", "toy", group=r"/(p\d)-", shared_groups="for a test").file


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def test_split_holds_the_files_with_their_sources(manifest: Path, cache: Path) -> None:
    dataset = load_dataset(manifest, cache=cache)
    assert dataset.sources == SOURCES
    seen: list[str] = []
    for split in ("train", "val", "test"):
        images = dataset.split(split)
        assert (images.dataset, images.split, images.image_shape) == ("toy", split, (3, 6, 8))
        assert images.labels.tolist() == [SOURCES.index(name.split("/")[1]) for name in images.ids]
        assert images.groups == tuple(name.split("/")[2][:2] for name in images.ids)
        for name, image in zip(images.ids, images.images, strict=True):
            expected = np.asarray(Image.open(manifest.parent / "toy" / name)).transpose(2, 0, 1)
            np.testing.assert_array_equal(image.numpy(), expected)
        seen += images.ids
    assert sorted(seen) == sorted(
        str(file.relative_to(manifest.parent / "toy")) for file in manifest.parent.rglob("*.png")
    )


def test_order_is_that_of_the_content(manifest: Path, cache: Path) -> None:
    labels = load_dataset(manifest, cache=cache).split("train").labels
    assert (labels.diff() != 0).sum() > len(SOURCES) - 1  # equal if the sources came one after the other


def test_limit_takes_the_same_images_of_every_source(manifest: Path, cache: Path) -> None:
    dataset = load_dataset(manifest, cache=cache)
    whole, part = dataset.split("test"), dataset.split("test", limit=2)
    assert torch.bincount(part.labels).tolist() == [2, 2, 2]
    for source in SOURCES:
        assert [name for name in part.ids if f"/{source}/" in name] == [
            name for name in whole.ids if f"/{source}/" in name
        ][:2]
    positions = [whole.ids.index(name) for name in part.ids]
    assert torch.equal(part.images, whole.images[positions])
    assert len(dataset.split("test", limit=100)) == len(whole)


def test_limit_and_split_that_do_not_exist_are_refused(manifest: Path, cache: Path) -> None:
    dataset = load_dataset(manifest, cache=cache)
    with pytest.raises(UsageError, match=r"limit is 0, expected at least 1 image per source"):
        dataset.split("test", limit=0)
    with pytest.raises(UsageError, match=r"unknown split 'tset'; did you mean 'test'"):
        dataset.split("tset")


def test_dataset_is_found_by_name(manifest: Path, cache: Path) -> None:
    dataset = load_dataset("toy", cache=cache, folders=[manifest.parent])
    assert dataset.name == "toy"
    assert dataset.digest == dataset.manifest.digest
    with pytest.raises(UsageError, match=r"unknown dataset 'toys'; did you mean 'toy'"):
        load_dataset("toys", folders=[manifest.parent])


def test_files_are_read_once(manifest: Path, cache: Path) -> None:
    first = load_dataset(manifest, cache=cache).split("val").images
    for file in manifest.parent.rglob("*.png"):
        file.unlink()
    assert torch.equal(load_dataset(manifest, cache=cache).split("val").images, first)


def test_cached_images_cannot_be_written_to(manifest: Path, cache: Path) -> None:
    pixels = load_dataset(manifest, cache=cache).pixels()
    with pytest.raises(ValueError, match="read-only"):
        pixels[0] = 0
    images = load_dataset(manifest, cache=cache).split("val").images
    before = images.clone()
    images.zero_()  # a copy: what a plugin does to it reaches nobody else
    assert torch.equal(load_dataset(manifest, cache=cache).split("val").images, before)


def test_data_loader_takes_a_split(manifest: Path, cache: Path) -> None:
    images = load_dataset(manifest, cache=cache).split("train")
    batches = list(DataLoader(images, batch_size=4))  # type: ignore[arg-type] # map-style by its methods
    assert torch.equal(torch.cat([batch for batch, _ in batches]), images.images)


def fill(manifest: Path, cache: Path, barrier: Barrier) -> None:
    dataset = load_dataset(manifest, cache=cache)
    barrier.wait()
    dataset.pixels()


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # torch's threads sleep here
def test_two_processes_may_fill_the_cache_at_once(manifest: Path, cache: Path) -> None:
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(2)
    processes = [context.Process(target=fill, args=(manifest, cache, barrier)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    file, _ = sorted((cache / "decoded").iterdir())  # and its seal, and nothing half-written
    elsewhere = load_dataset(manifest, cache=cache.with_name("other"))
    np.testing.assert_array_equal(np.load(file), elsewhere.pixels())


def test_what_killed_fillings_left_goes_with_the_next(manifest: Path, cache: Path) -> None:
    made = load_dataset(manifest, cache=cache)
    made.cache.parent.mkdir(parents=True)
    for number in range(5):
        made.cache.with_name(f".{made.cache.name}.{number}.partial").write_bytes(bytes(1000))
    made.pixels()
    left = {path.name for path in made.cache.parent.iterdir()}
    assert left == {made.cache.name, made.cache.with_suffix(".seal.npz").name}


def test_another_view_has_another_cache(manifest: Path, cache: Path) -> None:
    load_dataset(manifest, cache=cache).pixels()
    text = manifest.read_text()
    manifest.write_text(text.replace("[view]", '[view]\ncrop = "center:4"').replace("[6, 8]", "[4, 4]"))
    assert load_dataset(manifest, cache=cache).split("val").image_shape == (3, 4, 4)
    assert len(list((cache / "decoded").glob("*.npy"))) == 2


def test_no_space_left_is_told_and_leaves_nothing(manifest: Path, cache: Path) -> None:
    message = r"cache .*toy-\S+\.npy of 6480 bytes cannot be written: File too large; free space, or choose another"
    with room_for(2000), pytest.raises(DatasetError, match=message):
        load_dataset(manifest, cache=cache).split("train")
    assert not list((cache / "decoded").iterdir())
    assert len(load_dataset(manifest, cache=cache).split("train")) == 3 * PER_SPLIT


def test_cache_folder_that_cannot_be_made_is_told(manifest: Path, cache: Path) -> None:
    cache.write_text("a file in the way")
    with pytest.raises(DatasetError, match=r"cannot be written: Not a directory; .*GFP_BENCH_CACHE"):
        load_dataset(manifest, cache=cache).split("train")


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", b"text"])
def test_damaged_cache_is_told(manifest: Path, cache: Path, content: bytes) -> None:
    dataset = load_dataset(manifest, cache=cache)
    dataset.pixels()
    dataset.cache.write_bytes(content)
    with pytest.raises(DatasetError, match=r"cache .* cannot be read: .*; delete it"):
        load_dataset(manifest, cache=cache).split("train")


def test_truncated_cache_is_told(manifest: Path, cache: Path) -> None:
    dataset = load_dataset(manifest, cache=cache)
    dataset.pixels()
    dataset.cache.write_bytes(dataset.cache.read_bytes()[:-1])
    with pytest.raises(DatasetError, match=r"cache .* cannot be read: .*; delete it"):
        dataset.pixels()


def test_cache_of_another_shape_is_told(manifest: Path, cache: Path) -> None:
    dataset = load_dataset(manifest, cache=cache)
    dataset.pixels()
    np.save(dataset.cache, np.zeros((45, 3, 6, 7), np.uint8))
    with pytest.raises(DatasetError, match=r"holds uint8 of shape \(45, 3, 6, 7\), expected uint8 \(45, 3, 6, 8\)"):
        dataset.pixels()


def resident(file: Path) -> int:
    """Return how many bytes of a mapped file lie in this process's memory."""
    _, _, mapping = Path("/proc/self/smaps").read_text().partition(str(file))
    return int(mapping.split("Rss:")[1].split()[0]) * 1024


def test_pages_that_were_read_do_not_stay_resident(tmp_path: Path) -> None:
    file = tmp_path / "large.npy"
    np.save(file, np.ones((1000, 3, 64, 64), np.uint8))  # 12 MB
    mapped = np.load(file, mmap_mode="r")
    pixels = mapped.view(UncachedMap)
    for start in range(0, 1000, 100):
        batch = pixels[np.arange(start, start + 100)]
        assert type(batch) is np.ndarray
        assert batch.flags.writeable
        assert batch.sum() == batch.size
        assert resident(file) == 0
    assert mapped.sum() == mapped.size
    assert resident(file) >= mapped.nbytes  # what the measure says of a plain map


def test_dataset_is_light_until_it_is_read(manifest: Path, cache: Path) -> None:
    dataset = Dataset(load_dataset(manifest).manifest, cache)
    assert dataset.sources == SOURCES
    assert not cache.exists()
