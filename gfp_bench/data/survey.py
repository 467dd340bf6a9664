"""What was found in a folder, in words and a table, for people to look at before anything is written. Torch-free."""

from collections.abc import Iterator

import pandas as pd
from tabulate import tabulate

from gfp_bench.data.likeness import alike

_LISTED = 3  # examples that a text names


def survey(index: pd.DataFrame) -> Iterator[str]:
    """Yield texts: images of each source by split; sizes, modes and formats; then what deserves a look.

    Args:
        index: The columns of an index with `pixels` and `likeness`, besides ``format`` and ``mode``.
    """
    counts = pd.crosstab(index["source"], index["split"])
    groups = index.groupby("source")["group"].nunique().to_dict()
    rows = [{"source": source, **row, "groups": groups[source]} for source, row in counts.to_dict("index").items()]
    yield tabulate(rows, headers="keys", tablefmt="simple")
    sizes = index["width"].astype(str) + " x " + index["height"].astype(str)
    for what, values in (("sizes", sizes), ("modes", index["mode"]), ("formats", index["format"])):
        yield f"{what}: {', '.join(f'{value} ({count})' for value, count in values.value_counts().items())}"
    formats = index.groupby("source")["format"].agg(lambda found: " and ".join(sorted(set(found))))
    if formats.nunique() > 1:
        told = ", ".join(f"{source} {kinds}" for source, kinds in formats.items())
        yield f"look: sources have other formats ({told}), which tells them apart; see `gfp-bench data audit`"
    yield from duplicates(index)


def duplicates(index: pd.DataFrame) -> Iterator[str]:
    """Yield a sentence on equal images, and one on nearly equal ones: within splits, and across splits or sources.

    Args:
        index: With `pixels` and `likeness`.
    """
    again = index["pixels"].duplicated(keep=False)
    if again.any():
        yield (
            f"look: {int(again.sum())} images are equal to another, pixel by pixel: {_examples(index[again], 'pixels')}"
        )
    index = index.drop_duplicates("pixels")
    index = index.assign(alike=alike(index["likeness"].to_list()))
    index = index[index["alike"].duplicated(keep=False)]
    if len(index):
        apart = index.groupby("alike")[["split", "source"]].transform("nunique") > 1
        yield (
            f"look: {len(index)} images are near duplicates of another by their perceptual hash, "
            f"{int(apart['split'].sum())} of them across splits and {int(apart['source'].sum())} across sources: "
            f"{_examples(index[apart['split']] if apart['split'].any() else index, 'alike')}"
        )


def _examples(index: pd.DataFrame, column: str) -> str:
    members = index.groupby(column, sort=False)["path"].agg(lambda paths: " = ".join(list(paths)[:_LISTED]))
    more = f" and {len(members) - _LISTED} more" if len(members) > _LISTED else ""
    return ", ".join(members[:_LISTED]) + more
