"""The zoo's folders: what a training leaves behind, and when it may go on."""

import json
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from dice import Dice
from full_disk import room_for
from PIL import Image

from gfp_bench import Images, UsageError, load_state, save_state
from gfp_bench.contracts.monitor import Monitor
from gfp_bench.errors import RecordError
from gfp_bench.files import claimed, sha256
from gfp_bench.machine import has_matrix_units
from gfp_bench.zoo import training
from gfp_bench_generators.dcgan import DCGAN

POOL = torch.zeros(1, 3, 4, 4, dtype=torch.uint8)


class Interruption(Monitor):
    """Stops a training after some steps."""

    def __init__(self, step: int) -> None:
        self.step = step

    def progress(self, step: int, total: int, **values: float) -> None:
        if step == self.step:
            raise KeyboardInterrupt


def test_training_is_lengthened_from_its_checkpoint(tmp_path: Path) -> None:
    training.train(Dice(), POOL, tmp_path / "parts", steps=3, seed=1, every=0)
    longer, whole = Dice(), Dice()
    training.train(longer, POOL, tmp_path / "parts", steps=8, seed=1, every=0)
    training.train(whole, POOL, tmp_path / "whole", steps=8, seed=1, every=0)
    assert (longer.thrown, whole.thrown) == (5, 8)
    assert longer.sum == whole.sum


def test_finished_training_is_left_as_it_is(tmp_path: Path) -> None:
    training.train(Dice(), POOL, tmp_path, steps=3, seed=1)
    before = {file.name: file.stat().st_mtime_ns for file in tmp_path.iterdir()}
    again = Dice()
    training.train(again, POOL, tmp_path, steps=3, seed=1)
    assert not hasattr(again, "thrown")
    assert {file.name: file.stat().st_mtime_ns for file in tmp_path.iterdir()} == before
    with pytest.raises(UsageError, match="at step 3, beyond the 2 asked for"):
        training.train(Dice(), POOL, tmp_path, steps=2, seed=1)


def test_checkpoints_wait_for_their_time(tmp_path: Path) -> None:
    training.train(Dice(), POOL, tmp_path, steps=3, seed=1, every=3600)
    assert not (tmp_path / "checkpoint.safetensors").exists()


@pytest.mark.parametrize(
    ("change", "shown"),
    [
        ({"seed": 2}, "seed 1, expected 2"),
        ({"settings": {"sides": 6}}, "settings: sides nothing, expected 6"),
        ({"pool": torch.ones(1, 3, 4, 4, dtype=torch.uint8)}, "pool [0-9a-f]{64}, expected [0-9a-f]{64}"),
    ],
)
def test_folder_of_another_training_is_refused(change: dict[str, object], shown: str, tmp_path: Path) -> None:
    training.train(Dice(), POOL, tmp_path, steps=1, seed=1)
    with pytest.raises(UsageError, match=rf"holds another training \({shown}\); choose another folder"):
        training.train(Dice(), folder=tmp_path, steps=1, **{"pool": POOL, "seed": 1, **change})  # type: ignore[arg-type]


def test_refused_training_leaves_the_folder_to_the_next(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="side 30"):
        training.train(DCGAN(), torch.zeros(40, 3, 30, 30, dtype=torch.uint8), tmp_path, steps=1, seed=1)
    assert list(tmp_path.iterdir()) == []
    training.train(Dice(), POOL, tmp_path, steps=1, seed=1)


def test_training_that_diverges_before_a_checkpoint_leaves_the_folder_to_the_next(tmp_path: Path) -> None:
    with pytest.raises(FloatingPointError, match="at step 2"):
        training.train(Dice(burst=2), POOL, tmp_path, steps=3, seed=1, settings={"burst": 2})
    assert training.remains(tmp_path).endswith("keeps nothing of it, as no checkpoint was due yet")
    training.train(Dice(), POOL, tmp_path, steps=3, seed=1)


def test_lengthening_that_diverges_leaves_what_was_trained(tmp_path: Path) -> None:
    training.train(Dice(), POOL, tmp_path, steps=2, seed=1, sheets=0)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    with pytest.raises(FloatingPointError, match="at step 4"):
        training.train(Dice(burst=4), POOL, tmp_path, steps=5, seed=1, sheets=0)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_sheet_without_room_is_named_and_not_half_there(tmp_path: Path) -> None:
    checkpoints = training.Checkpoints(tmp_path / "checkpoint", torch.Generator(), every=60, sheet_every=1)
    noise = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8)
    with room_for(1000), pytest.raises(OSError, match="File too large") as caught:
        checkpoints.preview(1, lambda: noise)
    assert caught.value.filename == str(tmp_path / "sheet-000001.png")
    assert list(tmp_path.iterdir()) == []


def test_record_tells_what_was_trained(tmp_path: Path) -> None:
    training.train(Dice(), POOL, tmp_path, steps=1, seed=4, settings={"burst": 6})
    assert training.read_record(tmp_path) == {
        "generator": "dice",
        "version": 1,
        "settings": {"burst": 6},
        "seed": 4,
        "pool": sha256(bytes(3 * 4 * 4)),
    }


def test_record_from_before_a_setting_and_pools_is_the_same_training(tmp_path: Path) -> None:
    given = {"path": "", "patience": 0.0, "burst": 0, "flat": False}
    old = {"generator": "dice", "version": 1, "settings": {"path": "", "burst": 0}, "seed": 1}
    (tmp_path / "training.json").write_text(json.dumps(old))
    training.train(Dice(), POOL, tmp_path, steps=1, seed=1, settings=given)
    with pytest.raises(UsageError, match="choose another folder"):
        training.train(Dice(), POOL, tmp_path, steps=1, seed=1, settings={**given, "flat": True})


def test_checkpoint_from_before_times_and_records_is_taken(tmp_path: Path) -> None:
    rng = torch.Generator().manual_seed(1)
    save_state(tmp_path / "checkpoint.safetensors", {"rng": rng.get_state(), "training": {"step": 2, "sum": 5}})
    generator = Dice()
    training.train(generator, POOL, tmp_path, steps=3, seed=1)
    assert generator.thrown == 1
    done = training.trained(tmp_path)
    assert done is not None
    assert (done["seconds"], done["processor_seconds"]) == (None, None)


def test_time_of_a_training_counts_its_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Clocks of our own: a step takes 2 s on the wall, 1 s on the processor."""
    clock = [100.0]
    monkeypatch.setattr(time, "sleep", lambda seconds: clock.__setitem__(0, clock[0] + seconds))
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(time, "process_time", lambda: clock[0] / 2)
    slow = Dice(patience=2.0)
    with pytest.raises(KeyboardInterrupt):
        training.train(slow, POOL, tmp_path, steps=6, seed=1, every=0, monitor=Interruption(3))
    assert training.trained(tmp_path) is None
    assert training.steps_done(tmp_path) == 2  # the third was not reported as done when its state was kept
    clock[0] += 1000
    training.train(slow, POOL, tmp_path, steps=6, seed=1, every=0)
    assert training.trained(tmp_path) == {
        "steps": 6,
        "seconds": 12.0,
        "processor_seconds": 6.0,
        "device": "cpu",
        "matrix_units": has_matrix_units(),
        "threads": 1,
        "torch": torch.__version__,
        "weights": None,
    }
    assert training.steps_done(tmp_path) == 6


def test_folder_without_a_training_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"holds no trained generator.*zoo train"):
        training.read_record(tmp_path)


def test_training_that_has_not_ended_gives_no_samples(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        training.train(Dice(), POOL, tmp_path, steps=6, seed=1, every=0, monitor=Interruption(3))
    with pytest.raises(UsageError, match="holds no finished training; go on with"):
        training.sample(Dice(), tmp_path, 2, seed=0)


def test_weights_of_another_generator_are_refused(tmp_path: Path) -> None:
    save_state(tmp_path / "dice.safetensors", {"weights": torch.zeros(3)})
    with pytest.raises(UsageError, match=r"weights that do not fit generator 'dice' .*'sum'"):
        training.sample(Dice(), tmp_path, 2, seed=0)


@pytest.mark.parametrize("file", ["dice.safetensors", "checkpoint.safetensors"])
def test_truncated_files_are_refused(file: str, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        training.train(Dice(), POOL, tmp_path, steps=6, seed=1, every=0, monitor=Interruption(3))
    Dice.save(_trained(), tmp_path)
    (tmp_path / file).write_bytes((tmp_path / file).read_bytes()[:-1])
    with pytest.raises(RecordError, match=rf"{file} is damaged .*delete it"):
        training.load(Dice(), tmp_path)
        training.train(Dice(), POOL, tmp_path, steps=6, seed=1)


def _trained() -> Dice:
    generator = Dice()
    generator.train(POOL, steps=1, rng=torch.Generator())
    return generator


def test_checkpoint_of_another_training_is_refused(tmp_path: Path) -> None:
    for seed in (1, 2):
        with pytest.raises(KeyboardInterrupt):
            training.train(Dice(), POOL, tmp_path / f"{seed}", steps=6, seed=seed, every=0, monitor=Interruption(3))
    (tmp_path / "1" / "checkpoint.safetensors").replace(tmp_path / "2" / "checkpoint.safetensors")
    with pytest.raises(RecordError, match=r"checkpoint .* is of another training \(seed 1, expected 2\); delete"):
        training.train(Dice(), POOL, tmp_path / "2", steps=6, seed=2)
    Dice.save(_trained(), tmp_path / "2")
    (tmp_path / "2" / "dice.safetensors").replace(tmp_path / "2" / "checkpoint.safetensors")
    with pytest.raises(RecordError, match="no checkpoint of a training"):
        training.train(Dice(), POOL, tmp_path / "2", steps=6, seed=2)


def test_divergence_keeps_the_last_good_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(FloatingPointError, match="at step 4"):
        training.train(Dice(burst=4), POOL, tmp_path, steps=6, seed=1, every=0)
    assert load_state(tmp_path / "checkpoint.safetensors")["training"]["step"] == 3
    assert training.trained(tmp_path) is None


def test_folder_that_another_process_trains_in_is_left_alone(tmp_path: Path) -> None:
    with claimed(tmp_path / ".claim"), pytest.raises(UsageError, match=r"locked by process \d+"):
        training.train(Dice(), POOL, tmp_path, steps=1, seed=1)
    training.train(Dice(), POOL, tmp_path, steps=1, seed=1)


def test_samples_follow_from_the_seed(tmp_path: Path) -> None:
    training.train(Dice(), POOL, tmp_path, steps=2, seed=1)
    first, again, other = (training.sample(Dice(), tmp_path, 2, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_progress_reaches_the_caller(tmp_path: Path) -> None:
    seen = []

    class Watcher(Monitor):
        def progress(self, step: int, total: int, **values: float) -> None:
            seen.append((step, total))

    training.train(Dice(), POOL, tmp_path, steps=2, seed=1, monitor=Watcher())
    assert seen == [(1, 2), (2, 2)]


@pytest.mark.parametrize(
    ("sheets", "written"),
    [(0, []), (1, [20]), (4, [5, 10, 15, 20]), (10, [12, 14, 16, 18, 20]), (100, [16, 17, 18, 19, 20])],
)
def test_sheets_are_written_at_intervals_and_the_last_kept(sheets: int, written: list[int], tmp_path: Path) -> None:
    training.train(Dice(), POOL, tmp_path, steps=20, seed=1, sheets=sheets)
    files = sorted(tmp_path.glob("sheet-*"))
    assert [file.name for file in files] == [f"sheet-{step:06d}.png" for step in written]
    for file, step in zip(files, written, strict=True):
        sheet = np.asarray(Image.open(file))
        assert sheet.shape == (8, 12, 3)  # five images of 4 x 4 in rows of three
        assert (sheet[:4] == step).all()
        assert (sheet[4:, 8:] == 0).all()


def test_images_for_sheets_are_drawn_only_if_wanted(tmp_path: Path) -> None:
    def draw() -> Images:
        raise AssertionError

    monitor = training.Checkpoints(tmp_path / "checkpoint", torch.Generator(), every=0, sheet_every=5)
    monitor.preview(4, draw)
    with pytest.raises(AssertionError):
        monitor.preview(5, draw)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("dcgan", ("dcgan", {})),
        ("dcgan[rate=0.1,width=8]", ("dcgan", {"rate": "0.1", "width": "8"})),
        ("diffusers:some/folder[1], old", ("diffusers", {"path": "some/folder[1], old"})),
        ("diffusers[path=C:/models]", ("diffusers", {"path": "C:/models"})),
    ],
)
def test_generators_are_named_with_settings_or_a_path(text: str, expected: tuple[str, dict[str, str]]) -> None:
    assert training.parse_generator(text) == expected
