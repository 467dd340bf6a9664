"""Whatever lies where an index should, it is read as one or refused in the project's words."""

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gfp_bench.data.index import SCHEMA, SEEN, from_parquet, index_digest, index_problems, to_parquet
from gfp_bench.errors import DatasetError

ROWS = pd.DataFrame(
    {
        "id": f"{split}/{source}/{number}.png",
        "path": f"{split}/{source}/{number}.png",
        "source": source,
        "split": split,
        "group": f"{split}{number}",
        "sha256": f"{hash_:064x}",
        "width": 8,
        "height": 8,
        "pixels": f"{hash_:064x}",
        "likeness": f"{hash_:016x}",
    }
    for hash_, (split, source, number) in enumerate(
        (split, source, number) for split in ("train", "val") for source in ("gan", "real") for number in range(2)
    )
)
CONTENT = to_parquet(ROWS)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)  # no surrogates: parquet holds none


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("index") / "toy.parquet"


def read(file: Path, content: bytes) -> pd.DataFrame | None:
    file.write_bytes(content)
    try:
        return from_parquet(file)
    except DatasetError:
        return None


def test_what_is_seen_is_kept_and_is_in_no_digest(file: Path) -> None:
    kept = read(file, CONTENT)
    assert kept is not None
    pd.testing.assert_frame_equal(kept, ROWS, check_dtype=False)
    bare = read(file, to_parquet(ROWS.drop(columns=SEEN.names)))
    assert bare is not None
    assert list(bare.columns) == SCHEMA.names
    assert index_digest(bare) == index_digest(ROWS)


@given(at=st.integers(0, len(CONTENT) - 1), byte=st.integers(1, 255), length=st.integers(0, len(CONTENT)))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damaged_indices_are_refused_or_differ(file: Path, at: int, byte: int, length: int) -> None:
    content = bytearray(CONTENT)
    content[at] ^= byte
    for damaged in (bytes(content), CONTENT[:length]):
        read(file, damaged)


@given(content=st.binary(max_size=200))
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_other_files_are_refused(file: Path, content: bytes) -> None:
    assert read(file, content) is None


@given(
    columns=st.lists(
        st.sampled_from([*SCHEMA.names, *SEEN.names, "odd"]), unique=True, max_size=len(SCHEMA) + len(SEEN) + 1
    )
)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_columns_are_all_there_or_the_index_is_refused(file: Path, columns: list[str]) -> None:
    table = pa.Table.from_pandas(ROWS.assign(odd=1)[columns], preserve_index=False)
    pq.write_table(table, file)
    expected = set(SCHEMA.names) <= set(columns) <= {*SCHEMA.names, *SEEN.names}
    assert (read(file, file.read_bytes()) is not None) == expected


@given(
    rows=st.lists(
        st.fixed_dictionaries(
            dict.fromkeys(SCHEMA.names[:6], TEXT) | dict.fromkeys(SCHEMA.names[6:], st.integers(1, 9))
        ),
        min_size=1,
        max_size=6,
    )
)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_comes_back_and_no_unsound_index_passes(file: Path, rows: list[dict[str, object]]) -> None:
    index = pd.DataFrame(rows)
    kept = read(file, to_parquet(index))
    assert kept is not None
    assert index_digest(kept) == index_digest(index)
    counts = index.groupby(["source", "split"]).size()
    sound = (
        {*index["source"]} <= {"a", "b"}
        and {*index["split"]} <= {"train"}
        and index["id"].is_unique
        and index["path"].is_unique
        and (counts >= 2).all()
    )
    assert sound or index_problems(index, ["a", "b"], ["train"])
