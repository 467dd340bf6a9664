"""A file appears whole or not at all, and what went wrong names it."""

import fcntl
import os
from pathlib import Path

import pytest
from full_disk import room_for

from gfp_bench.files import appearing, sweep, write_atomically


@pytest.mark.parametrize("durable", [True, False])
def test_a_file_without_room_is_named_and_the_one_before_stays(tmp_path: Path, durable: bool) -> None:
    file = tmp_path / "scores.npz"
    write_atomically(file, b"before", durable=durable)
    with room_for(1000), pytest.raises(OSError, match="File too large") as caught:
        write_atomically(file, bytes(2000), durable=durable)
    assert caught.value.filename == str(file)
    assert [(left.name, left.read_bytes()) for left in tmp_path.iterdir()] == [("scores.npz", b"before")]


def test_what_a_killed_process_left_is_swept_and_what_is_being_written_is_not(tmp_path: Path) -> None:
    left = tmp_path / f".cache.npy.{os.getpid()}.partial"
    left.write_bytes(b"half")
    other = tmp_path / "other.partial"  # not of ours
    other.write_bytes(b"")
    with appearing(tmp_path / "whole.npy") as file:
        file.write(b"all of it")
        sweep(tmp_path)
        assert not left.exists()
    assert (tmp_path / "whole.npy").read_bytes() == b"all of it"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other.partial", "whole.npy"]


def test_a_file_that_is_swept_before_it_is_locked_is_written_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    locked = fcntl.flock
    swept: list[None] = []

    def slow(file: int, how: int) -> None:
        if not swept:
            swept.append(None)
            sweep(tmp_path)
        locked(file, how)

    monkeypatch.setattr("gfp_bench.files.fcntl.flock", slow)
    write_atomically(tmp_path / "file", b"content")
    assert (tmp_path / "file").read_bytes() == b"content"
    assert swept
