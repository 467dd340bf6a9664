"""Archives of images: deterministic to write, checked as they are read, as good as single files everywhere."""

import os
import resource
import time
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from gfp_bench.data.archives import Archives, read_comment, write_archive
from gfp_bench.data.audit import audit, verify
from gfp_bench.data.dataset import load_dataset
from gfp_bench.data.indexing import index_folder
from gfp_bench.data.manifest import Manifest, read_index
from gfp_bench.data.reader import read_images
from gfp_bench.errors import DatasetError

SPLITS = ("train", "val", "test")


def png(rng: np.random.Generator) -> bytes:
    buffer = BytesIO()
    Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two sources as archives, one as folders."""
    rng = np.random.default_rng(0)
    root = tmp_path / "toy"
    for split in SPLITS:
        (root / split / "vae").mkdir(parents=True)
        for number in (0, 1):
            (root / split / "vae" / f"{number}.png").write_bytes(png(rng))
    for source in ("gan", "real"):
        write_archive(
            root / f"{source}.zip", {f"{split}/{number}.png": png(rng) for split in SPLITS for number in (0, 1)}
        )
    return root


def use(manifest: Manifest) -> None:
    load_dataset(manifest.file, cache=manifest.file.parent / "cache").split("val")


@given(members=st.dictionaries(st.text("ab/é", min_size=1).map(lambda name: f"x{name}x"), st.binary(max_size=40)))
@settings(max_examples=25)
def test_members_come_back_and_bytes_follow_from_them(
    members: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("written")
    write_archive(folder / "a.zip", members, b"what it says")
    with zipfile.ZipFile(folder / "a.zip") as archive:
        assert archive.namelist() == sorted(members)
        assert {name: archive.read(name) for name in members} == members
        assert {info.compress_type for info in archive.infolist()} <= {zipfile.ZIP_STORED}
    write_archive(folder / "b.zip", dict(reversed(members.items())), b"what it says")
    assert (folder / "b.zip").read_bytes() == (folder / "a.zip").read_bytes()
    assert read_comment(folder / "a.zip") == b"what it says"


def test_bytes_do_not_tell_when_they_were_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_archive(tmp_path / "a.zip", {"a": b"1"})
    monkeypatch.setattr(time, "time", lambda: 2e9)
    write_archive(tmp_path / "b.zip", {"a": b"1"})
    assert (tmp_path / "b.zip").read_bytes() == (tmp_path / "a.zip").read_bytes()


def test_no_space_left_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard))  # as if the disk were full
    try:
        with pytest.raises(DatasetError, match=r"archive \S+a.zip cannot be written: File too large; free space"):
            write_archive(tmp_path / "a.zip", {"a": bytes(5000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []


def test_archives_and_folders_become_one_manifest(root: Path) -> None:
    manifest = index_folder(root, "toy", group=r"/(\d)\.png$", shared_groups="numbers")
    assert manifest.source_names == ("gan", "real", "vae")
    index = read_index(manifest).set_index("id")
    with zipfile.ZipFile(root / "gan.zip") as archive:
        for member in archive.namelist():
            row = index.loc[f"gan.zip/{member}"]
            assert (row["split"], row["source"], row["group"]) == (member.split("/")[0], "gan", member[-5])
            assert row["sha256"] == sha256(archive.read(member)).hexdigest()
    assert set(index.index) == {f"{s}.zip/{p}/{n}.png" for s in ("gan", "real") for p in SPLITS for n in (0, 1)} | {
        f"{p}/vae/{n}.png" for p in SPLITS for n in (0, 1)
    }


def test_images_in_archives_are_those_of_single_files(root: Path, tmp_path: Path) -> None:
    manifest = index_folder(root, "toy")
    images = read_images(manifest, read_index(manifest))
    for source in ("gan", "real"):
        with zipfile.ZipFile(root / f"{source}.zip") as archive:
            archive.extractall(tmp_path / "unpacked" / f"{source}.zip")  # a folder of that name is a folder
    for path, image in zip(read_index(manifest)["path"], images, strict=True):
        place = root if "vae" in path else tmp_path / "unpacked"
        np.testing.assert_array_equal(image, np.asarray(Image.open(place / path)).transpose(2, 0, 1))
    assert verify(manifest) == 18
    assert audit(manifest).set_index("source").loc["gan", "format"] == {"PNG": 6}


def test_splits_are_drawn_from_archives_without_them(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    (tmp_path / "flat").mkdir()
    for source in ("gan", "real"):
        write_archive(tmp_path / "flat" / f"{source}.zip", {f"deep/{n}.png": png(rng) for n in range(8)})
    index = read_index(index_folder(tmp_path / "flat", "flat", shares={"train": 0.5, "test": 0.5}))
    assert index.groupby(["source", "split"]).size().to_dict() == {
        (source, split): 4 for source in ("gan", "real") for split in ("train", "test")
    }


def test_folders_and_hidden_members_are_no_images(root: Path) -> None:
    with zipfile.ZipFile(root / "gan.zip", "a") as archive:
        archive.mkdir("train")
        archive.writestr("train/.DS_Store", b"hidden")
        archive.writestr(".cache/train/a.png", b"hidden")
    assert index_folder(root, "toy").splits == {"train": 6, "val": 6, "test": 6}


def test_each_archive_is_opened_once_whatever_the_threads(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Path] = []

    class Counted(zipfile.ZipFile):
        def __init__(self, file: Path) -> None:
            opened.append(file)
            time.sleep(0.01)
            super().__init__(file)

    with zipfile.ZipFile(root / "gan.zip") as archive:
        expected = {name: archive.read(name) for name in archive.namelist()}
    monkeypatch.setattr("gfp_bench.data.archives.ZipFile", Counted)
    with Archives(root) as archives, ThreadPoolExecutor(8) as threads:
        names = [*expected] * 50
        contents = list(threads.map(lambda name: archives.read("gan.zip", name), names))
    assert contents == [expected[name] for name in names]
    assert opened == [root / "gan.zip"]


def missing(file: Path) -> None:
    file.unlink()


def truncated(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-30])


def overwritten(file: Path) -> None:
    file.write_bytes(b"an error page\n")


def link_out(file: Path) -> None:
    outside = file.parents[1] / "outside.zip"
    file.rename(outside)
    file.symlink_to(outside)


def without_a_member(file: Path) -> None:
    with zipfile.ZipFile(file) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    del members["val/1.png"]
    write_archive(file, members)


def with_another_member(file: Path) -> None:
    with zipfile.ZipFile(file) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    write_archive(file, members | {"val/1.png": png(np.random.default_rng(9))})


def changed_bytes(file: Path) -> None:
    with zipfile.ZipFile(file) as archive:
        start = archive.getinfo("val/1.png").header_offset
    content = bytearray(file.read_bytes())
    content[start + 60] ^= 255
    file.write_bytes(content)


def changed_header(file: Path) -> None:
    with zipfile.ZipFile(file) as archive:
        start = archive.getinfo("val/1.png").header_offset
    content = bytearray(file.read_bytes())
    content[start] ^= 255
    file.write_bytes(content)


WHOLE = r"archive \S+toy/gan.zip cannot be opened \(%s.*\); restore it"


@pytest.mark.parametrize(
    ("spoil", "count", "message"),
    [
        (missing, 6, WHOLE % "No such file"),
        (truncated, 6, WHOLE % "File is not a zip file"),
        (overwritten, 6, WHOLE % "File is not a zip file"),
        (link_out, 6, r"gan.zip: a link to \S+outside.zip, out of \S+; put the archive itself there"),
        (without_a_member, 1, r"gan.zip/val/1.png: no such member in archive \S+gan.zip; restore it"),
        (with_another_member, 1, r"gan.zip/val/1.png: sha256 \w{64}, expected \w{64}; restore the file"),
        (changed_bytes, 1, r"gan.zip/val/1.png: damaged in archive \S+gan.zip \(Bad CRC-32.*\); restore it"),
        (changed_header, 1, r"gan.zip/val/1.png: damaged in archive \S+gan.zip \(Bad magic number.*\); restore it"),
    ],
)
def test_archive_that_is_not_the_indexed_one_is_not_used(
    root: Path, spoil: Callable[[Path], None], count: int, message: str
) -> None:
    manifest = index_folder(root, "toy")
    spoil(root / "gan.zip")
    for look in (use, verify):
        with pytest.raises(DatasetError, match=rf"'toy': {count} of 18 files are bad:\n  {message}"):
            look(manifest)
    assert not list((root.parent / "cache" / "decoded").iterdir())


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (truncated, WHOLE % "File is not a zip file"),
        (link_out, r"gan.zip: a link to"),
        (changed_bytes, r"1 of 18 files are bad:\n  gan.zip/val/1.png: damaged in archive"),
    ],
)
def test_damaged_archive_is_not_indexed(root: Path, spoil: Callable[[Path], None], message: str) -> None:
    spoil(root / "gan.zip")
    with pytest.raises(DatasetError, match=message):
        index_folder(root, "toy")
    assert not list(root.parent.glob("toy.*"))


@pytest.mark.parametrize(
    ("member", "message"),
    [
        ("../train/9.png", r"member '../train/9.png' leaves its archive gan.zip, expected a path in it"),
        ("/train/9.png", r"member '/train/9.png' leaves its archive gan.zip"),
        ("train\\..\\9.png", r"leaves its archive gan.zip"),
        ("train/0.png", r"archive \S+gan.zip has train/0.png twice, expected it once"),
        ("9.png", r"gan.zip/9.png does not lie in <source>.zip/<split>/<file> with a split of train, val, test"),
        ("__MACOSX/9.png", r"gan.zip/__MACOSX/9.png does not lie in <source>.zip/<split>/<file>.*or give shares"),
        ("train/9.txt", r"gan.zip/train/9.txt: no image \(the file is empty\)"),
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning")
def test_member_that_cannot_be_is_refused(root: Path, member: str, message: str) -> None:
    with zipfile.ZipFile(root / "gan.zip", "a") as archive:
        archive.writestr(member, b"")
    with pytest.raises(DatasetError, match=message):
        index_folder(root, "toy")


def test_index_cannot_lead_out_of_an_archive(root: Path) -> None:
    with Archives(root) as archives, pytest.raises(DatasetError, match=r"'train/../../x.png' leaves its archive"):
        archives.read("gan.zip", "train/../../x.png")


def test_comment_of_no_archive_is_refused(tmp_path: Path) -> None:
    overwritten(tmp_path / "a.zip")
    with pytest.raises(
        DatasetError, match=r"archive \S+a.zip cannot be opened \(File is not a zip file\); restore or delete"
    ):
        read_comment(tmp_path / "a.zip")


def test_an_archive_s_ending_may_be_in_capitals(root: Path) -> None:
    (root / "gan.zip").rename(root / "gan.ZIP")
    manifest = index_folder(root, "toy")
    assert manifest.source_names == ("gan", "real", "vae")
    assert verify(manifest) == 18


def test_a_member_that_unpacks_to_more_than_an_image_is_not_unpacked(root: Path) -> None:
    with (
        zipfile.ZipFile(root / "gan.zip", "a", zipfile.ZIP_DEFLATED) as archive,
        archive.open("train/bomb.png", "w", force_zip64=True) as member,
    ):
        for _ in range(2**10 + 1):
            member.write(bytes(2**18))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(DatasetError, match=r"gan.zip/train/bomb.png: 268697600 bytes, expected an image of at most"):
        index_folder(root, "toy")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**16  # KiB


def test_a_member_that_lies_about_its_size_fills_no_memory(root: Path) -> None:
    with zipfile.ZipFile(root / "gan.zip", "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("train/bomb.png", bytes(2**22))
    content = bytearray((root / "gan.zip").read_bytes())
    for at in (content.rindex(b"train/bomb.png") - 22, content.index(b"train/bomb.png") - 8):
        content[at : at + 4] = (100).to_bytes(4, "little")  # uncompressed size, in both headers
    (root / "gan.zip").write_bytes(content)
    with pytest.raises(DatasetError, match=r"gan.zip/train/bomb.png: (damaged in archive|no image \(100 bytes)"):
        index_folder(root, "toy")


@pytest.mark.parametrize("kind", ["pipe", "sparse", "folder", "device"])
def test_what_is_only_called_an_archive_is_told(root: Path, kind: str) -> None:
    file = root / "x.zip"
    if kind == "pipe":
        os.mkfifo(file)
    elif kind == "sparse":
        with file.open("wb") as opened:
            opened.truncate(2**40)
    elif kind == "folder":
        (file / "deep").mkdir(parents=True)
        (file / "deep" / "1.png").write_bytes(png(np.random.default_rng(5)))
    else:
        file.symlink_to("/dev/zero")
    with pytest.raises(DatasetError, match=r"x.zip.*(no regular file|cannot be opened|does not lie in|a link to /dev)"):
        index_folder(root, "toy")


@pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning")
def test_thousands_of_equal_names_are_told_at_once(root: Path) -> None:
    with zipfile.ZipFile(root / "gan.zip", "a") as archive:
        for number in range(20_000):
            archive.writestr(f"train/{number // 2}.png", b"")
    start = time.process_time()
    with Archives(root) as archives, pytest.raises(DatasetError, match=r"has train/[01].png 3 times, expected it once"):
        archives.members("gan.zip")
    assert time.process_time() - start < 5


def test_an_archive_in_an_archive_is_no_image(root: Path) -> None:
    inner = (root / "real.zip").read_bytes()
    with zipfile.ZipFile(root / "gan.zip", "a") as archive:
        archive.writestr("train/inner.zip", inner)
    with pytest.raises(DatasetError, match=r"gan.zip/train/inner.zip: no image \(a zip archive, which is read only"):
        index_folder(root, "toy")
