"""The index of a dataset: one row per image, kept as parquet and named by its content."""

import json
from collections.abc import Callable, Collection, Iterator
from io import BytesIO
from pathlib import Path, PurePosixPath

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from gfp_bench.errors import DatasetError
from gfp_bench.files import sha256

SCHEMA = pa.schema(
    [(name, pa.string()) for name in ("id", "path", "source", "split", "group", "sha256")]
    + [(name, pa.int64()) for name in ("width", "height")]
)
"""The columns; group ties images together (photograph, prompt, latent), width and height are the file's, in pixels."""

SEEN = pa.schema([(name, pa.string()) for name in ("pixels", "likeness")])
"""Columns of newer indices, see `gfp_bench.data.likeness`; they follow from the files, and so are in no digest."""

_LISTED = 5  # how many offending rows a message names


def index_digest(index: pd.DataFrame) -> str:
    """Return the sha256 of an index's content, whatever the order of its rows and the version of its file format."""
    rows = index[SCHEMA.names].sort_values("id", kind="stable").to_numpy(dtype=object).tolist()
    return sha256(json.dumps(rows).encode())


def to_parquet(index: pd.DataFrame) -> bytes:
    """Return an index as a parquet file, sorted by id."""
    schema = _schema(index.columns)
    rows = index[schema.names].sort_values("id", kind="stable")
    buffer = BytesIO()
    pq.write_table(pa.Table.from_pandas(rows, schema=schema, preserve_index=False), buffer, compression="zstd")
    return buffer.getvalue()


def from_parquet(file: Path) -> pd.DataFrame:
    """Return the index in a parquet file; any writer's kinds of text and integers will do.

    Raises:
        DatasetError: If the file is missing, is no parquet, or has other columns or gaps.
    """
    try:
        table = pq.read_table(BytesIO(file.read_bytes()))
        schema = _schema(table.column_names)
        strange = sorted(table.column_names) != sorted(schema.names)  # missing, unknown or twice
        if strange or any(column.null_count for column in table.columns):
            raise DatasetError(
                f"index {file} has columns {', '.join(table.column_names)}; expected {', '.join(SCHEMA.names)}, "
                "without gaps; index the folder again"
            )
        return pd.DataFrame(table.select(schema.names).cast(schema).to_pandas())
    except (OSError, pa.ArrowException, ValueError) as error:  # ValueError: text that is no UTF-8
        raise DatasetError(f"index {file} cannot be read: {error}; restore it or index the folder again") from error


def _schema(columns: Collection[str]) -> pa.Schema:
    """Return the columns of an index, and of those that newer ones have, those that are there."""
    return pa.schema([*SCHEMA, *(field for field in SEEN if field.name in columns)])


def rows_of(index: pd.DataFrame, split: str, sources: Collection[str], limit: int | None) -> pd.DataFrame:
    """Return the rows of a split that are of some sources, at most ``limit`` per source, always the same ones."""
    rows = index[(index["split"] == split) & index["source"].isin(list(sources))]
    return rows if limit is None else rows.groupby("source").head(limit)


def index_problems(
    index: pd.DataFrame,
    sources: Collection[str],
    splits: Collection[str],
    probes: Collection[str] = (),
    *,
    shared_groups: bool = False,
) -> list[str]:
    """Return a sentence for each rule that an index breaks; none if it is sound.

    Args:
        index: Its rows.
        sources: The manifest's.
        splits: The manifest's.
        probes: Those sources that are in ``test`` alone.
        shared_groups: Whether a group may stand in several splits.
    """
    checks: list[Callable[[], Iterator[str]]] = [
        lambda: _unlisted(index, "source", sources),
        lambda: _unlisted(index, "split", splits),
        lambda: _unsafe_paths(index),
        lambda: _repeated(index, "id"),
        lambda: _repeated(index, "path"),
    ]
    return [
        *(problem for check in checks for problem in check()),
        *place_problems(index, sources, splits, probes, shared_groups=shared_groups),
        *same_images(index),
    ]


def same_images(index: pd.DataFrame) -> list[str]:
    """Return a sentence each if two splits or two sources have the same image, by its pixels where they are known."""
    return [*_shared(index, "split"), *_shared(index, "source")]


def place_problems(
    index: pd.DataFrame,
    sources: Collection[str],
    splits: Collection[str],
    probes: Collection[str] = (),
    *,
    shared_groups: bool = False,
) -> list[str]:
    """Return likewise what source, split and group alone tell, which are known before any file is read."""
    found = list(_scarce(index, sources, splits, probes))
    return found if shared_groups else [*found, *_torn(index)]


def size_problems(index: pd.DataFrame, height: int, width: int) -> list[str]:
    """Return a sentence for each size, in pixels, of files that are not ``height`` by ``width``."""
    other = index[(index["width"] != width) | (index["height"] != height)]
    return [
        f"{_some(rows['path'])} {'is' if len(rows) == 1 else 'are'} {size[0]} wide and {size[1]} high, expected "
        f"{width} and {height}; crop or resize by the manifest's view"
        for size, rows in other.groupby(["width", "height"])
    ]


def _unlisted(index: pd.DataFrame, column: str, known: Collection[str]) -> Iterator[str]:
    for name, rows in index[~index[column].isin(list(known))].groupby(column):
        expected = ", ".join(sorted(known))
        yield f"{column} {name!r} of {_some(rows['path'])} is not in the manifest, expected one of {expected}"


def _unsafe_paths(index: pd.DataFrame) -> Iterator[str]:
    unsafe = [path for path in index["path"] if not _is_safe(path)]
    if unsafe:
        yield f"path {_some(unsafe)} leaves the dataset's folder, expected to be below it; move the file there"


def _is_safe(path: str) -> bool:
    return (
        bool(path)
        and "\\" not in path
        and "\0" not in path
        and not path.startswith("/")
        and ".." not in PurePosixPath(path).parts
    )


def _repeated(index: pd.DataFrame, column: str) -> Iterator[str]:
    repeated = index[column][index[column].duplicated()].unique()
    if len(repeated):
        yield f"{column} {_some(repeated)} stands in more than one row, expected one; remove the others"


def _scarce(
    index: pd.DataFrame, sources: Collection[str], splits: Collection[str], probes: Collection[str]
) -> Iterator[str]:
    counts = index.groupby(["source", "split"]).size()
    for source in sorted(sources):
        if not (index["source"] == source).any():
            yield f"source {source!r} has no images; add some or remove the source"
            continue
        for split in splits:
            count = int(counts.get((source, split), 0))
            if source in probes and split != "test":
                if count:
                    yield f"probe {source!r} has {count} image{'s' * (count != 1)} in split {split!r}, expected none"
            elif count < 2:
                yield f"source {source!r} has {count} image{'s' * (count != 1)} in split {split!r}, expected at least 2"


def _shared(index: pd.DataFrame, column: str) -> Iterator[str]:
    content = "pixels" if "pixels" in index else "sha256"  # equal files have equal pixels
    spread = index.groupby(content)[column].transform("nunique") > 1
    if spread.any():
        pairs = index[spread].groupby(content)["path"].agg(" = ".join)
        yield f"the same image is in two {column}s: {_some(pairs)}; keep one of each"


def _torn(index: pd.DataFrame) -> Iterator[str]:
    splits = index.groupby("group")["split"].agg(lambda found: ", ".join(sorted(set(found))))
    torn = splits[splits.str.contains(", ")]
    if len(torn):
        examples = [f"{group} ({where})" for group, where in torn.items()]
        yield (
            f"{len(torn)} of {len(splits)} groups are in several splits: {_some(examples)}; draw the splits by shares, "
            'which keeps groups whole, or allow it by shared_groups = "<why it is no leakage>" in the manifest '
            "(--shared-groups)"
        )


def _some(names: Collection[str]) -> str:
    """Return the first few names, and how many more there are."""
    listed = ", ".join(repr(name) for name in list(names)[:_LISTED])
    return listed + (f" and {len(names) - _LISTED} more" if len(names) > _LISTED else "")
