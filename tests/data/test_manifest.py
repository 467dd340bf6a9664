import json
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from places import ROOT

from gfp_bench.data.decoding import View
from gfp_bench.data.index import index_digest, to_parquet
from gfp_bench.data.manifest import (
    About,
    Manifest,
    find_manifest,
    list_manifests,
    read_index,
    read_manifest,
    write_manifest,
)
from gfp_bench.errors import DatasetError, UsageError


def index_of(sources: tuple[str, ...] = ("gan", "real"), per_split: int = 2) -> pd.DataFrame:
    rows: list[dict[str, Any]] = []
    for split in ("train", "val", "test"):
        for source in sources:
            for number in range(per_split):
                path = f"{split}/{source}/{number}.png"
                rows.append(
                    {"id": path, "path": path, "source": source, "split": split, "group": f"{split}-{number}"}
                    | {"sha256": sha256(path.encode()).hexdigest(), "width": 8, "height": 6}
                )
    return pd.DataFrame(rows)


def write(file: Path, index: pd.DataFrame, **changes: Any) -> Manifest:
    settings: dict[str, Any] = {
        "about": About("for a test", "CC0-1.0"),
        "folder": Path("images"),
        "image_size": (6, 8),
        "view": View(),
        "sources": {"real": {"real": True}, "gan": {"family": "gan", "year": 2014, "fid": 12.5}},
    }
    return write_manifest(file, index, **(settings | changes))


def edited(manifest: Manifest, old: str, new: str) -> Path:
    text = manifest.file.read_text()
    assert old in text
    manifest.file.write_text(text.replace(old, new))
    return manifest.file


def test_reading_gives_what_was_written(tmp_path: Path) -> None:
    written = write(tmp_path / "toy.toml", index_of(), view=View(convert=True))
    read = read_manifest(tmp_path / "toy.toml")
    assert read == written
    assert read.source_names == ("gan", "real")
    assert read.image_shape == (3, 6, 8)
    assert read.splits == {"train": 4, "val": 4, "test": 4}
    assert read.root == tmp_path / "images"


@given(
    texts=st.tuples(st.text(), st.text(), st.text()),
    metadata=st.dictionaries(
        st.text(),
        st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
        max_size=4,
    ),
)
@example(texts=("\x7f", "\r\n\\", '"""'), metadata={"\x7f\n": "\x7f", "a.b": "\0"})
@settings(max_examples=40)
def test_any_text_and_metadata_survive_the_file(
    tmp_path_factory: pytest.TempPathFactory, texts: tuple[str, str, str], metadata: dict[str, Any]
) -> None:
    file = tmp_path_factory.mktemp("any") / "toy.toml"
    sources = {"real": {"real": True}, "gan": metadata}
    write(file, index_of(), about=About(*texts), sources=sources)
    read = read_manifest(file)
    assert (read.description, read.licence, read.citation) == texts
    assert {key: (type(value), value) for key, value in read.sources["gan"].items()} == {
        key: (type(value), value) for key, value in metadata.items()
    }


@given(order=st.permutations(range(12)))
@settings(max_examples=20)
def test_index_is_the_same_whatever_the_order_of_its_rows(order: list[int]) -> None:
    index, other = index_of(), index_of().iloc[order]
    assert index_digest(other) == index_digest(index)
    assert to_parquet(other) == to_parquet(index)


def test_index_digest_is_that_of_the_sorted_rows() -> None:
    index = index_of().iloc[::-1]
    columns = ["id", "path", "source", "split", "group", "sha256", "width", "height"]
    rows = sorted([row[column] for column in columns] for row in index.to_dict("records"))
    assert index_digest(index) == sha256(json.dumps(rows).encode()).hexdigest()


def test_rows_come_by_content_not_by_source(tmp_path: Path) -> None:
    index = read_index(write(tmp_path / "toy.toml", index_of(per_split=20)))
    assert sorted(index["id"]) == sorted(index_of(per_split=20)["id"])
    for _, rows in index.groupby("split"):
        assert rows["sha256"].is_monotonic_increasing
        assert np.diff(rows.index).max() == 1
        runs = (rows["source"] != rows["source"].shift()).sum()
        assert runs > 5  # 2 if sorted by source; 21 on average in a random order


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({"about": About(description="other")}, True),
        ({"about": About(licence="other")}, True),
        ({"about": About(citation="other")}, True),
        ({"folder": Path("elsewhere")}, True),
        ({"view": View(convert=True)}, False),
        ({"sources": {"real": {}, "gan": {}}}, False),
    ],
)
def test_digest_names_what_bears_on_results(tmp_path: Path, change: dict[str, Any], same: bool) -> None:
    digest = write(tmp_path / "toy.toml", index_of()).digest
    assert (write(tmp_path / "toy.toml", index_of(), **change).digest == digest) is same


def test_digest_follows_the_images(tmp_path: Path) -> None:
    index = index_of()
    digest = write(tmp_path / "toy.toml", index).digest
    index.loc[0, "sha256"] = "0" * 64
    assert write(tmp_path / "toy.toml", index).digest != digest


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("licence =", "license =", r"key 'licence' is missing; .*unknown key 'license'; did you mean 'licence'"),
        ("[view]", "[view]\nresise = '8:box'", "unknown key 'view.resise'; did you mean 'view.resize'"),
        ("[view]", "[view]\nresize = '8:sinc'", "view.resize = '8:sinc': string should match"),
        ("[view]", "[view]\ncrop = 'center:4'", r"image_size = \[6, 8\], but its view gives squares of 4"),
        ("schema_version = 1", "schema_version = 2", "schema_version = 2: input should be 1"),
        ('name = "toy"', 'name = "other"', "name = 'other', expected 'toy'"),
        ('name = "toy"', 'name = "../toy"', r"name = '../toy': string should match"),
        ("[6, 8]", "[6, 0]", "image_size.1 = 0: input should be greater than 0"),
        ("[6, 8]", "[6, 8", "is no TOML file"),
    ],
)
def test_manifest_with_a_wrong_key_or_value_is_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    file = edited(write(tmp_path / "toy.toml", index_of()), old, new)
    with pytest.raises(DatasetError, match=message) as caught:
        read_manifest(file)
    assert str(file) in str(caught.value)


def test_manifest_that_is_missing_or_binary_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"none.toml cannot be read: No such file"):
        read_manifest(tmp_path / "none.toml")
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DatasetError, match=r"bytes.toml is no TOML file"):
        read_manifest(tmp_path / "bytes.toml")


def test_manifest_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"toy.toml cannot be written: No such file or directory; free space"):
        write(tmp_path / "missing" / "toy.toml", index_of())
    assert not list(tmp_path.iterdir())


def set_cell(row: int, **values: object) -> Any:
    def change(index: pd.DataFrame) -> pd.DataFrame:
        for column, value in values.items():
            index.loc[row, column] = value
        return index

    return change


BAD_INDICES = [
    (set_cell(0, id="val/gan/0.png"), "id 'val/gan/0.png' stands in more than one row"),
    (set_cell(0, path="val/gan/0.png"), "path 'val/gan/0.png' stands in more than one row"),
    (set_cell(0, source="vae"), "source 'vae' of 'train/gan/0.png' is not in the manifest, expected one of gan, real"),
    (set_cell(0, path="../0.png"), r"path '../0.png' leaves the dataset's folder"),
    (set_cell(0, path="a/../../0.png"), "path 'a/../../0.png' leaves"),
    (set_cell(0, path="/etc/passwd"), "path '/etc/passwd' leaves"),
    (set_cell(0, path="..\\0.png"), "leaves the dataset's folder"),
    (set_cell(0, path=""), "path '' leaves"),
    (set_cell(0, width=9), "'train/gan/0.png' is 9 wide and 6 high, expected 8 and 6; crop or resize"),
    (lambda index: index.drop(0), "source 'gan' has 1 image in split 'train', expected at least 2"),
    (lambda index: index.drop([0, 1]), "source 'gan' has 0 images in split 'train', expected at least 2"),
    (lambda index: index[index["source"] != "gan"], "source 'gan' has no images; add some or remove the source"),
    (
        set_cell(0, sha256=sha256(b"test/gan/0.png").hexdigest()),
        "the same image is in two splits: 'train/gan/0.png = test/gan/0.png'",
    ),
    (
        set_cell(0, sha256=sha256(b"train/real/0.png").hexdigest()),
        "the same image is in two sources: 'train/gan/0.png = train/real/0.png'",
    ),
]


@pytest.mark.parametrize(("change", "message"), BAD_INDICES)
def test_index_that_breaks_a_rule_is_neither_written_nor_read(tmp_path: Path, change: Any, message: str) -> None:
    bad = change(index_of())
    with pytest.raises(DatasetError) as caught:
        write(tmp_path / "toy.toml", bad)
    assert message in str(caught.value)
    assert not list(tmp_path.iterdir())
    manifest = write(tmp_path / "toy.toml", index_of())
    planted = edited(manifest, manifest.index, index_digest(bad))  # by someone who knows how to compute a digest
    manifest.index_file.write_bytes(parquet(bad))
    with pytest.raises(DatasetError) as caught:
        read_index(read_manifest(planted))
    assert message in str(caught.value)
    assert "dataset 'toy'" in str(caught.value)


def test_probes_are_in_test_alone_and_of_a_learnt_family(tmp_path: Path) -> None:
    index = index_of()
    twin = index[(index["source"] == "gan") & (index["split"] == "test")].copy()
    for column in ("id", "path", "sha256", "group"):
        twin[column] = [sha256(f"{value} again".encode()).hexdigest() for value in twin[column]]
    both = pd.concat([index, twin.assign(source="gan-1")], ignore_index=True)
    known = {"gan": {"family": "gan"}, "real": {}}
    manifest = write(tmp_path / "toy.toml", both, sources={**known, "gan-1": {"probe_of": "gan"}})
    assert manifest.probes == ("gan-1",)
    assert len(read_index(manifest)) == len(both)
    assert write(tmp_path / "toy.toml", both, sources={**known, "gan-1": {"unseen": True}}).probes == ("gan-1",)
    for family in ("gam", "gan-1"):
        with pytest.raises(DatasetError, match=f"probe 'gan-1' is of the family '{family}', which is no"):
            write(tmp_path / "toy.toml", both, sources={**known, "gan-1": {"probe_of": family}})
    with pytest.raises(DatasetError, match="'gan-1' has 0 images in split 'train', expected at least 2"):
        write(tmp_path / "toy.toml", both, sources={**known, "gan-1": {}})
    learnt = both.assign(split=both["split"].where(both["source"] != "gan-1", "val"))
    with pytest.raises(DatasetError, match=r"probe 'gan-1' has 2 images in split 'val', expected none"):
        write(tmp_path / "toy.toml", learnt, sources={**known, "gan-1": {"probe_of": "gan"}})


def parquet(index: pd.DataFrame) -> bytes:
    content: bytes = index.to_parquet(index=False)  # pandas' own writer
    return content


def test_unknown_split_is_refused(tmp_path: Path) -> None:
    manifest = write(tmp_path / "toy.toml", index_of())
    index = index_of().replace({"split": {"val": "dev"}})
    manifest.index_file.write_bytes(parquet(index))
    file = edited(manifest, manifest.index, index_digest(index))
    with pytest.raises(
        DatasetError, match=r"split 'dev' of .* is not in the manifest, expected one of test, train, val"
    ):
        read_index(read_manifest(file))


def test_wrong_count_is_refused(tmp_path: Path) -> None:
    file = edited(write(tmp_path / "toy.toml", index_of()), "val = 4", "val = 5")
    with pytest.raises(DatasetError, match=r"the index has \{.*\} images, expected \{.*'val': 5\}"):
        read_index(read_manifest(file))


def test_all_problems_are_named_at_once(tmp_path: Path) -> None:
    index = index_of().drop(0)
    index.loc[5, "path"] = "../x"
    with pytest.raises(DatasetError, match=r"leaves .*; .*source 'gan' has 1 image"):
        write(tmp_path / "toy.toml", index)


def test_many_problems_are_counted(tmp_path: Path) -> None:
    index = index_of(per_split=10)
    index["path"] = "/" + index["path"]
    with pytest.raises(DatasetError, match=r"'/train/gan/4\.png' and 55 more leaves"):
        write(tmp_path / "toy.toml", index)


def test_damaged_or_replaced_index_is_refused(tmp_path: Path) -> None:
    manifest = write(tmp_path / "toy.toml", index_of())
    content = manifest.index_file.read_bytes()
    manifest.index_file.write_bytes(parquet(index_of(per_split=3)))
    with pytest.raises(DatasetError, match=f"has digest [0-9a-f]{{64}}, expected {manifest.index}"):
        read_index(manifest)
    manifest.index_file.write_bytes(content[:-20])
    with pytest.raises(DatasetError, match=r"toy.parquet cannot be read: .*; restore it"):
        read_index(manifest)
    manifest.index_file.write_bytes(parquet(index_of().drop(columns="group")))
    with pytest.raises(DatasetError, match="columns id, path, source, split, sha256, width, height; expected id"):
        read_index(manifest)
    manifest.index_file.unlink()
    with pytest.raises(DatasetError, match="No such file"):
        read_index(manifest)


def test_datasets_are_found_by_name_and_by_path(tmp_path: Path) -> None:
    file = write(tmp_path / "toy.toml", index_of()).file
    assert find_manifest("toy", [tmp_path]) == file
    assert find_manifest(str(file)) == file
    assert find_manifest(file) == file
    with pytest.raises(UsageError, match=r"unknown dataset 'toi'; did you mean 'toy'\?"):
        find_manifest("toi", [tmp_path])


def test_two_datasets_of_one_name_are_refused(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        write(tmp_path / folder / "toy.toml", index_of())
    folders = [tmp_path / "a", tmp_path / "b"]
    with pytest.raises(DatasetError, match=r"dataset 'toy' is both .*/a/toy.toml and .*/b/toy.toml"):
        find_manifest("toy", folders)
    assert find_manifest("photo-mini", folders), "others are found as before"
    assert find_manifest("toy", [tmp_path / "a", tmp_path / "a"]) == tmp_path / "a" / "toy.toml"


def test_other_toml_files_are_no_datasets_and_stop_nothing(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "pyproject.toml").write_text("x = 1")
        (tmp_path / folder / "folder.toml").mkdir()
    write(tmp_path / "a" / "toy.toml", index_of())
    folders = [tmp_path / "a", tmp_path / "b"]
    assert {"photo-mini", "toy"} <= set(list_manifests(folders))
    assert not {"pyproject", "folder"} & set(list_manifests(folders))
    assert find_manifest("toy", folders) == tmp_path / "a" / "toy.toml"


def test_a_checkout_takes_its_own_datasets_where_others_are_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gfp_bench_datasets").mkdir()
    write(tmp_path / "gfp_bench_datasets" / "photo-mini.toml", index_of())
    monkeypatch.syspath_prepend(tmp_path)
    assert find_manifest("photo-mini") == ROOT / "datasets" / "photo-mini.toml"


def test_datasets_are_found_where_a_wheel_puts_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gfp_bench_datasets").mkdir()
    (tmp_path / "datasets").mkdir()  # Hugging Face's package
    write(tmp_path / "gfp_bench_datasets" / "shipped.toml", index_of())
    monkeypatch.setattr("gfp_bench.data.manifest.__file__", str(tmp_path / "gfp_bench" / "data" / "manifest.py"))
    assert find_manifest("shipped") == tmp_path / "gfp_bench_datasets" / "shipped.toml"


def test_manifests_and_readers_do_not_import_torch() -> None:
    code = "import sys; from gfp_bench.data import audit, indexing, manifest, reader; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
