"""What `gfp-bench data` tells of a dataset: a summary, a full check, and how the files alone betray their source.

Torch-free.
"""

from itertools import groupby, pairwise
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from PIL import Image
from scipy.stats import chi2_contingency

from gfp_bench.data.coding import DETAILS, details
from gfp_bench.data.decoding import open_image
from gfp_bench.data.likeness import perceptual_hash, pixel_digest
from gfp_bench.data.manifest import Manifest, read_index
from gfp_bench.data.reader import Files, OnProgress, in_threads, read_images
from gfp_bench.data.soundness import chunks
from gfp_bench.data.survey import duplicates
from gfp_bench.metrics.confidence import bootstrap, interval, mean_credit

Plain: TypeAlias = dict[str, Any]  # what JSON can hold, of any depth

FACTS = ("format", "mode", "size", "encoding")
_LEVEL = 0.01  # of the test of whether sources share a property
_APART = 0.05  # difference of shares that deserves a word
_KINDS = 3  # values of a property that a sentence names per source
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
    return sum(1 for _ in read_images(manifest, read_index(manifest), progress, thorough=True))


def audit(manifest: Manifest, progress: OnProgress | None = None) -> pd.DataFrame:
    """Return what a look at the files, without their pixels, tells of each source, see `profiles`.

    Raises:
        DatasetError: If files are missing or no images, or the index is not sound.
    """
    return profiles(file_facts(manifest, progress))


def profiles(files: pd.DataFrame) -> pd.DataFrame:
    """Return what `file_facts` tell of each source; one row per source.

    Columns: source; images; format (by content, not by name), mode, size and `DETAILS` with the number of files of
    each; bytes_min, bytes_median, bytes_max; repeated, the number of files equal to another of the source.
    """
    return pd.DataFrame([_profile(str(source), rows) for source, rows in files.groupby("source")])


def look_alikes(manifest: Manifest, progress: OnProgress | None = None) -> list[str]:
    """Return a sentence on equal images and one on nearly equal ones, by their pixels, see `duplicates`.

    Raises:
        DatasetError: If the index is not sound; or if it does not say what the pixels are, and files are damaged.
    """
    index = read_index(manifest)
    if "likeness" not in index:
        seen = [(pixel_digest(image), perceptual_hash(image)) for image in read_images(manifest, index, progress)]
        index[["pixels", "likeness"]] = seen
    return list(duplicates(index))


def file_facts(manifest: Manifest, progress: OnProgress | None = None) -> pd.DataFrame:
    """Return the index with what each file tells besides its pixels: `FACTS`, `DETAILS` and ``bytes``.

    ``encoding`` is how a file was written, not what it shows: the keys of its metadata; of a PNG the kinds of chunks
    in order, the header's options and the level that its compressed stream names; of others `DETAILS`.

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
    """Return a sentence for each property in an audit that tells sources apart without a look at the pixels.

    A property counts if sources share it unequally by a chi-square test (1 %), and by 5 % of their files or more.
    """
    found = [
        f"{column} differs: "
        + ", ".join(f"{a} {_shares(b)}" for a, b in zip(table["source"], table[column], strict=True))
        for column in ("format", "mode", "size", *(() if _unequal(table["format"].to_list()) else DETAILS))
        if _unequal(table[column].to_list())
    ]
    for (_, small), (_, large) in pairwise(table.sort_values("bytes_median").iterrows()):
        if small["bytes_max"] < large["bytes_min"]:
            found.append(
                f"file size differs: all files of {small['source']} are smaller than those of {large['source']}"
            )
    return found


def _unequal(counts: list[dict[str, int]]) -> bool:
    """Return whether sources, each with its number of files by kind, have other shares of kinds."""
    table = pd.DataFrame(counts).fillna(0).to_numpy()
    shares = table / table.sum(axis=1, keepdims=True)
    if min(table.shape) < 2 or np.ptp(shares, axis=0).max() < _APART:
        return False
    return bool(chi2_contingency(table).pvalue < _LEVEL)


def _shares(counts: dict[str, int]) -> str:
    """Return the kinds of a source's files, with their shares where there are several."""
    if len(counts) == 1:
        return next(iter(counts))
    total = sum(counts.values())
    told = [f"{kind} {100 * count / total:.0f} %" for kind, count in list(counts.items())[:_KINDS]]
    return " and ".join(told) + (" and others" if len(counts) > _KINDS else "")


def _header(files: Files, path: str) -> Plain:
    content = files.read(path)
    image = open_image(content, path)
    size = f"{image.width} x {image.height}"
    told = details(content, image)
    encoding = _encoding(content, image, told)
    return {
        "format": image.format,
        "mode": image.mode,
        "size": size,
        "encoding": encoding,
        "bytes": len(content),
        **told,
    }


def _encoding(content: bytes, image: Image.Image, told: dict[str, str]) -> str:
    if image.format != "PNG":
        return " ".join([*sorted(map(str, image.info)), *told.values()])
    kinds = [(kind, content[start : start + min(size, 2)]) for kind, start, size in chunks(content)]
    stream = b"".join(start for kind, start in kinds if kind == "IDAT")[:2]
    named = [kind for kind, _ in groupby(kind for kind, _ in kinds)]
    return " ".join([*sorted(map(str, image.info)), "", *named, content[24:29].hex(), stream.hex()])


def _profile(source: str, rows: pd.DataFrame) -> Plain:
    return {
        "source": source,
        "images": len(rows),
        **{column: rows[column].value_counts().to_dict() for column in ("format", "mode", "size", *DETAILS)},
        "bytes_min": int(rows["bytes"].min()),
        "bytes_median": float(rows["bytes"].median()),
        "bytes_max": int(rows["bytes"].max()),
        "repeated": int(rows["sha256"].duplicated().sum()),
    }
