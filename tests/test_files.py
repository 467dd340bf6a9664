"""A file appears whole or not at all, and what went wrong names it."""

from pathlib import Path

import pytest
from full_disk import room_for

from gfp_bench.files import write_atomically


@pytest.mark.parametrize("durable", [True, False])
def test_a_file_without_room_is_named_and_the_one_before_stays(tmp_path: Path, durable: bool) -> None:
    file = tmp_path / "scores.npz"
    write_atomically(file, b"before", durable=durable)
    with room_for(1000), pytest.raises(OSError, match="File too large") as caught:
        write_atomically(file, bytes(2000), durable=durable)
    assert caught.value.filename == str(file)
    assert [(left.name, left.read_bytes()) for left in tmp_path.iterdir()] == [("scores.npz", b"before")]
