"""Every kind of bad data, from the file on disk to the words that a user gets, when indexed and when used."""

import os
import re
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from gfp_bench.data.audit import verify
from gfp_bench.data.dataset import load_dataset
from gfp_bench.data.indexing import index_folder
from gfp_bench.data.manifest import Manifest, read_manifest
from gfp_bench.errors import DatasetError

VICTIM = "train/gan/1.b.png"
NOISE = np.random.default_rng(0).integers(0, 256, (40, 16, 16, 3), dtype=np.uint8)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    images = iter(NOISE)
    for split in ("train", "val", "test"):
        for source in ("gan", "real"):
            (tmp_path / "toy" / split / source).mkdir(parents=True)
            for number in range(3):
                Image.fromarray(next(images)).save(tmp_path / "toy" / split / source / f"{number}.b.png")
    return tmp_path / "toy"


def use(manifest: Manifest) -> None:
    load_dataset(manifest.file, cache=manifest.file.parent / "cache").split("val")


def png(image: Image.Image) -> bytes:
    buffer = BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def huge() -> bytes:
    content = bytearray(png(Image.new("RGB", (1, 1))))
    content[16:24] = (80_000).to_bytes(4, "big") * 2
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    return bytes(content)


IMAGE = Image.fromarray(NOISE[39])
NO_IMAGES = {
    "truncated": (png(IMAGE)[:500], "truncated or damaged"),
    "empty": (b"", r"no image \(the file is empty\)"),
    "text": (b"an error page\n", r"no image \(14 bytes that begin with b'an error'\)"),
    "16-bit": (cv2.imencode(".png", NOISE[39].astype(np.uint16) * 200)[1].tobytes(), "16-bit RGB, expected 8-bit RGB"),
    "palette": (png(IMAGE.quantize(9)), "a palette, expected 8-bit RGB"),
    "grey and alpha": (png(IMAGE.convert("LA")), "grey with alpha, expected 8-bit RGB"),
    "huge": (huge(), r"Image size \(6400000000 pixels\) exceeds limit"),
}


def cmyk() -> bytes:
    buffer = BytesIO()
    IMAGE.convert("CMYK").save(buffer, "JPEG")
    return buffer.getvalue()


def broken_off(kind: str) -> bytes:
    """Return a file whose second half never came into the room that was reserved for it."""
    buffer = BytesIO()
    IMAGE.resize((256, 256)).crop((0, 0, 16, 16)).resize((64, 64)).save(buffer, kind)
    content = buffer.getvalue()
    return content[: len(content) // 2] + bytes(len(content) - len(content) // 2)


NO_IMAGES["PNG of zeros"] = (broken_off("PNG"), r"truncated or damaged \(chunk IDAT at byte 33 has a wrong checksum\)")
NO_IMAGES["JPEG of zeros"] = (broken_off("JPEG"), r"truncated or damaged \(it has no end marker")
NO_IMAGES["TIFF of zeros"] = (broken_off("TIFF"), r"truncated or damaged \(its last \d+ of \d+ bytes are zeros")
NO_IMAGES["CMYK"] = (cmyk(), "CMYK, expected 8-bit RGB")


@pytest.mark.parametrize("kind", NO_IMAGES)
def test_bad_file_is_not_indexed(root: Path, kind: str) -> None:
    content, message = NO_IMAGES[kind]
    (root / VICTIM).write_bytes(content)
    with pytest.raises(DatasetError, match=rf"1 of 18 files are bad:\n  {VICTIM}: {message}"):
        index_folder(root, "toy")
    assert [path.name for path in root.parent.iterdir()] == ["toy"]


@pytest.mark.parametrize("kind", NO_IMAGES)
def test_file_that_went_bad_is_not_used(root: Path, kind: str) -> None:
    manifest = index_folder(root, "toy")
    (root / VICTIM).write_bytes(NO_IMAGES[kind][0])
    for look in (use, verify):
        with pytest.raises(DatasetError, match=rf"'toy': 1 of 18 files are bad:\n  {VICTIM}: sha256 \w+, expected \w+"):
            look(manifest)
    assert not list((root.parent / "cache" / "decoded").iterdir())


def missing(file: Path) -> None:
    file.unlink()


def another_image(file: Path) -> None:
    IMAGE.save(file)


def link_out(file: Path) -> None:
    outside = file.parents[3] / "outside.png"
    file.rename(outside)
    file.symlink_to(outside)


def link_to_itself(file: Path) -> None:
    file.unlink()
    file.symlink_to(file)


def folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


def pipe(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


SPOILT: list[tuple[Callable[[Path], None], str]] = [
    (missing, r"cannot be read in \S+ \(No such file or directory\); restore it"),
    (another_image, r"sha256 \w{64}, expected \w{64}; restore the file"),
    (link_out, r"a link to \S+/outside.png, out of \S+; put the file itself there"),
    (link_to_itself, r"cannot be read in \S+ \(.*\); restore it"),
    (folder, r"no regular file in \S+, expected an image"),
    (pipe, r"no regular file in \S+, expected an image"),
]


@pytest.mark.parametrize(("spoil", "message"), SPOILT)
def test_file_that_is_not_the_indexed_one_is_not_used(root: Path, spoil: Callable[[Path], None], message: str) -> None:
    manifest = index_folder(root, "toy")
    spoil(root / VICTIM)
    for look in (use, verify):
        with pytest.raises(DatasetError, match=rf"{VICTIM}: {message}"):
            look(manifest)


@pytest.mark.parametrize(("spoil", "message"), [SPOILT[2], SPOILT[3], SPOILT[5]])
def test_link_or_pipe_is_not_indexed(root: Path, spoil: Callable[[Path], None], message: str) -> None:
    spoil(root / VICTIM)
    with pytest.raises(DatasetError, match=rf"{VICTIM}: {message}"):
        index_folder(root, "toy")


def test_link_inside_the_folder_is_fine(root: Path) -> None:
    (root / "train" / "gan" / "stored").mkdir()
    (root / VICTIM).rename(root / "train" / "gan" / "stored" / ".1.png")
    (root / VICTIM).symlink_to(root / "train" / "gan" / "stored" / ".1.png")
    manifest = index_folder(root, "toy")
    assert verify(manifest) == 18
    use(manifest)


def test_every_damaged_file_is_counted_and_the_first_are_named(root: Path) -> None:
    manifest = index_folder(root, "toy")
    for file in root.rglob("*.png"):
        file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(DatasetError, match=r"18 of 18 files are bad:(\n  \S+: sha256 .*){10}\n  and 8 more$"):
        use(manifest)


def test_mixed_sizes_are_refused(root: Path) -> None:
    Image.fromarray(NOISE[39][:8]).save(root / VICTIM)
    with pytest.raises(DatasetError, match=rf"2 sizes: .*16 x 8 \(1 files, {VICTIM}\); crop or resize them by a view"):
        index_folder(root, "toy")


def test_same_image_in_two_splits_is_refused(root: Path) -> None:
    (root / "test" / "gan" / "0.b.png").write_bytes((root / VICTIM).read_bytes())
    with pytest.raises(DatasetError, match=rf"the same image is in two splits: 'test/gan/0.b.png = {VICTIM}'"):
        index_folder(root, "toy")


def test_source_with_one_image_is_refused(root: Path) -> None:
    for number in (0, 1):
        (root / "test" / "gan" / f"{number}.b.png").unlink()
    with pytest.raises(DatasetError, match=r"source 'gan' has 1 image in split 'test', expected at least 2"):
        index_folder(root, "toy")


def test_source_without_images_is_refused(root: Path) -> None:
    with pytest.raises(DatasetError, match=r"source 'flow' has no images; add some or remove the source"):
        index_folder(root, "toy", sources={"flow": {}})
    manifest = index_folder(root, "toy")
    manifest.file.write_text(manifest.file.read_text() + "\n[sources.flow]\n")
    with pytest.raises(DatasetError, match=r"source 'flow' has no images"):
        use(read_manifest(manifest.file))


def test_unknown_key_is_refused_with_the_nearest_ones(root: Path) -> None:
    manifest = index_folder(root, "toy")
    manifest.file.write_text(manifest.file.read_text().replace("citation", "citations"))
    with pytest.raises(DatasetError, match=r"unknown key 'citations'; did you mean 'citation'"):
        use(manifest)


def test_folder_that_cannot_be_written_is_told(root: Path) -> None:
    (root.parent / "file").write_text("in the way")
    with pytest.raises(
        DatasetError, match=r"toy.toml cannot be written: Not a directory; free space or choose another"
    ):
        index_folder(root, "toy", folder=root.parent / "file")


@pytest.mark.parametrize("name", ["../up", "a/b", ".hidden", "", "two words", "line\n"])
def test_name_that_would_not_do_for_a_file_is_refused(root: Path, name: str) -> None:
    with pytest.raises(DatasetError, match=re.escape(f"dataset name {name!r}, expected letters")):
        index_folder(root, name)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_folder_that_cannot_be_read_is_told(root: Path) -> None:
    (root / "train" / "gan").chmod(0)
    with pytest.raises(DatasetError, match=r"train/gan cannot be read: Permission denied"):
        index_folder(root, "toy")
