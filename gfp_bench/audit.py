"""What `gfp-bench data` tells of a dataset: a summary, a full check, and how the files alone betray their source.

Torch-free.
"""

from itertools import pairwise
from typing import Any, TypeAlias

import pandas as pd

from gfp_bench.decoding import open_image
from gfp_bench.manifests import Manifest, read_index
from gfp_bench.readers import Progress, in_threads, read_encoded, read_images

Plain: TypeAlias = dict[str, Any]  # what JSON can hold, of any depth


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


def verify(manifest: Manifest, progress: Progress | None = None) -> int:
    """Read every file again, cache or not, and return how many are what the manifest says.

    Raises:
        DatasetError: If any is not, or the index is not sound; the message lists them.
    """
    return sum(1 for _ in read_images(manifest, read_index(manifest), progress))


def audit(manifest: Manifest, progress: Progress | None = None) -> pd.DataFrame:
    """Return what a look at the files, without their pixels, tells of each source; one row a source.

    Columns: source; images; format (by content, not by name), mode and size with the number of files of each;
    bytes_min, bytes_median, bytes_max; repeated, the number of files equal to another of the source.

    Raises:
        DatasetError: If files are missing or no images, or the index is not sound.
    """
    index = read_index(manifest)
    subject = f"dataset {manifest.name!r}"
    headers = list(in_threads(lambda path: _header(manifest, path), index["path"].to_list(), subject, progress))
    files = index.join(pd.DataFrame(headers))
    return pd.DataFrame([_profile(str(source), rows) for source, rows in files.groupby("source")])


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


def _header(manifest: Manifest, path: str) -> Plain:
    content = read_encoded(manifest.root, path)
    image = open_image(content, path)
    size = f"{image.width} x {image.height}"
    return {"format": image.format, "mode": image.mode, "size": size, "bytes": len(content)}


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
