"""Files of an index are read in its order, by several threads, and all that is bad is told at once."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gfp_bench.data.indexing import index_folder
from gfp_bench.data.manifest import read_index
from gfp_bench.data.reader import in_threads, read_images
from gfp_bench.errors import DatasetError


def test_files_read_back_are_those_on_disk(cats: Path) -> None:
    manifest = index_folder(cats, "toy")
    index = read_index(manifest)
    done: list[tuple[int, int]] = []
    images = list(read_images(manifest, index, lambda *progress: done.append(progress)))
    for path, image in zip(index["path"], images, strict=True):
        np.testing.assert_array_equal(image, np.asarray(Image.open(cats / path)).transpose(2, 0, 1))
    assert done == [(16, 18), (18, 18)]


def test_threads_keep_the_order_and_stop_at_nothing() -> None:
    def half(number: int) -> int:
        if number % 20 == 5:
            raise DatasetError(f"{number}: odd one out")
        return number // 2

    assert list(in_threads(half, range(5), "numbers")) == [0, 0, 1, 1, 2]
    results = in_threads(half, range(250), "numbers")
    assert [next(results) for _ in range(5)] == [0, 0, 1, 1, 2]
    with pytest.raises(
        DatasetError, match=r"^numbers: 13 of 250 files are bad:\n  5: odd.*\n  25: (.|\n)*\n  and 3 more$"
    ):
        next(results)


def test_other_errors_keep_their_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        list(in_threads(lambda number: 1 // number, [1, 0], "numbers"))
