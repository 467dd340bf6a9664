"""What `gfp-bench data` tells of a dataset: a summary, a full check, and how the files alone betray their source.

Torch-free.
"""

import struct
from collections.abc import Iterator
from itertools import groupby, pairwise
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from PIL import Image

from gfp_bench.data.decoding import open_image
from gfp_bench.data.manifest import Manifest, read_index
from gfp_bench.data.reader import Files, OnProgress, in_threads, read_images
from gfp_bench.metrics.confidence import bootstrap, interval, mean_credit

Plain: TypeAlias = dict[str, Any]  # what JSON can hold, of any depth

FACTS = ("format", "mode", "size", "encoding")
_BINS = 20  # of file sizes, each with as many training images


def describe(manifest: Manifest) -> Plain:
    """Return the manifest's content, the number of images by source and split, and that of groups.

    Raises:
        DatasetError: If the index is not sound.
    """
    index = read_index(manifest)
    counts = pd.crosstab(index["source"], index["split"])
    return {
        **manifest.model_dump(mode="json", exclude_defaults=True),
        "digest": manifest.digest,
        "root": str(manifest.root),
        "images": counts.to_dict("index"),
        "groups": index.groupby("source")["group"].nunique().to_dict(),
    }


def verify(manifest: Manifest, progress: OnProgress | None = None) -> int:
    """Read every file again, cache or not, and return how many are what the manifest says.

    Raises:
        DatasetError: If any is not, or the index is not sound; the message lists them.
    """
    return sum(1 for _ in read_images(manifest, read_index(manifest), progress))


def audit(manifest: Manifest, progress: OnProgress | None = None) -> pd.DataFrame:
    """Return what a look at the files, without their pixels, tells of each source; one row per source.

    Columns: source; images; format (by content, not by name), mode and size with the number of files of each;
    bytes_min, bytes_median, bytes_max; repeated, the number of files equal to another of the source.

    Raises:
        DatasetError: If files are missing or no images, or the index is not sound.
    """
    return pd.DataFrame(
        [_profile(str(source), rows) for source, rows in file_facts(manifest, progress).groupby("source")]
    )


def file_facts(manifest: Manifest, progress: OnProgress | None = None) -> pd.DataFrame:
    """Return the index with what each file tells besides its pixels: `FACTS` and ``bytes``.

    ``encoding`` is how a file was written, not what it shows: the keys of its metadata; of a PNG the kinds of chunks
    in order, the header's options and the level that its compressed stream names; of a JPEG the quantisation tables.

    Raises:
        DatasetError: If files are missing or no images, or the index is not sound.
    """
    index = read_index(manifest)
    subject = f"dataset {manifest.name!r}"
    with Files(manifest.root) as opened:
        headers = list(in_threads(lambda path: _header(opened, path), index["path"].to_list(), subject, progress))
    return index.join(pd.DataFrame(headers))


def told_by_files(files: pd.DataFrame) -> dict[str, tuple[float, float, float]]:
    """Return how well files give their source away: balanced accuracies on val with their 95 % intervals.

    ``facts``: of the training files with the same format, mode, size and encoding, the commonest source is the answer.
    ``bytes``: likewise of those with the same number of bytes, in 20 bins of equally many training files. The latter
    is not only the writer's doing: detail costs bytes.

    Args:
        files: What `file_facts` gave, with the splits train and val.
    """
    train = files["split"] == "train"
    edges = np.unique(np.quantile(files["bytes"][train], np.arange(1, _BINS) / _BINS))
    binned = files.assign(bin=np.searchsorted(edges, files["bytes"]))
    val = binned[files["split"] == "val"]
    labels = val["source"].astype("category").cat.codes.to_numpy(np.int64)
    found = {}
    for name, columns in (("facts", FACTS), ("bytes", ("bin",))):
        correct = (_guesses(binned[train], val, list(columns)) == val["source"]).to_numpy(np.float64)[None]
        drawn = bootstrap(correct, labels, val["group"].to_numpy(str))[:, 0]
        found[name] = float(mean_credit(correct, labels)[0]), *interval(drawn)
    return found


def _guesses(train: pd.DataFrame, val: pd.DataFrame, columns: list[str]) -> "pd.Series[str]":
    """Return each row's guess: the commonest source of the training rows that are equal to it, else of all."""
    commonest = train.groupby(columns)["source"].agg(_commonest)
    keys = pd.MultiIndex.from_frame(val[columns]) if len(columns) > 1 else val[columns[0]]
    return pd.Series(commonest.reindex(keys).to_numpy(), val.index).fillna(_commonest(train["source"]))


def _commonest(sources: "pd.Series[str]") -> str:
    return str(sources.mode().iloc[0])  # the first by name, of several


def leaks(table: pd.DataFrame) -> list[str]:
    """Return a sentence for each property in an audit that tells sources apart without a look at the pixels."""
    found = []
    for column in ("format", "mode", "size"):
        kinds = table[column].map(sorted).str.join(" and ")
        if kinds.nunique() > 1:
            found.append(
                f"{column} differs: " + ", ".join(f"{a} {b}" for a, b in zip(table["source"], kinds, strict=True))
            )
    for (_, small), (_, large) in pairwise(table.sort_values("bytes_median").iterrows()):
        if small["bytes_max"] < large["bytes_min"]:
            found.append(
                f"file size differs: all files of {small['source']} are smaller than those of {large['source']}"
            )
    return found


def _header(files: Files, path: str) -> Plain:
    content = files.read(path)
    image = open_image(content, path)
    size = f"{image.width} x {image.height}"
    encoding = _encoding(content, image)
    return {"format": image.format, "mode": image.mode, "size": size, "encoding": encoding, "bytes": len(content)}


def _encoding(content: bytes, image: Image.Image) -> str:
    told = [*sorted(map(str, image.info)), str(getattr(image, "quantization", ""))]
    if image.format == "PNG":
        chunks = list(_chunks(content))
        stream = b"".join(start for kind, start in chunks if kind == "IDAT")[:2]
        told += [kind for kind, _ in groupby(kind for kind, _ in chunks)]
        told += [content[24:29].hex(), stream.hex()]
    return " ".join(told)


def _chunks(content: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield the kind and the first two bytes of each of a PNG file's chunks."""
    at = 8
    while at + 8 <= len(content):
        size, kind = struct.unpack_from(">I4s", content, at)
        yield kind.decode("latin-1"), content[at + 8 : at + 8 + min(size, 2)]
        at += 12 + size


def _profile(source: str, rows: pd.DataFrame) -> Plain:
    return {
        "source": source,
        "images": len(rows),
        **{column: rows[column].value_counts().to_dict() for column in ("format", "mode", "size")},
        "bytes_min": int(rows["bytes"].min()),
        "bytes_median": float(rows["bytes"].median()),
        "bytes_max": int(rows["bytes"].max()),
        "repeated": int(rows["sha256"].duplicated().sum()),
    }
