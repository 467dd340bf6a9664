"""Methods that break the contract, one way each; loaded as a single-file plugin."""

import errno
import os
import signal
import sys
import tempfile
import time
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader

from gfp_bench import SILENT, Images, ImageSet, Method, Monitor, Register, Scores, files, hookimpl
from gfp_bench.errors import MachineError


class Brightness(Method):
    """Nearest mean brightness; the sound method that the others break."""

    name = "brightness"
    paper = ""
    version = 1
    stochastic = False

    def fit(self, train: ImageSet, val: ImageSet, *, rng: torch.Generator, monitor: Monitor = SILENT) -> None:
        means = [train.images[train.labels == k].float().mean() for k in range(len(train.sources))]
        self.means = torch.stack(means)

    def scores(self, images: Images) -> Scores:
        return -(images.float().mean(dim=(1, 2, 3))[:, None] - self.means).abs()


class Raises(Brightness):
    name = "raises"

    def fit(self, train: ImageSet, val: ImageSet, *, rng: torch.Generator, monitor: Monitor = SILENT) -> None:
        raise RuntimeError("no fit today")


class RaisesOnce(Brightness):
    """Fails on the first cell that it scores after a fit, and on no other."""

    name = "raises-once"

    def fit(self, train: ImageSet, val: ImageSet, *, rng: torch.Generator, monitor: Monitor = SILENT) -> None:
        super().fit(train, val, rng=rng, monitor=monitor)
        self.mark = str(Path(tempfile.mkdtemp()) / "raised")

    def scores(self, images: Images) -> Scores:
        if not Path(self.mark).exists():
            Path(self.mark).write_text("")
            raise RuntimeError("not this one")
        return super().scores(images)


class Hangs(Brightness):
    name = "hangs"

    def fit(self, train: ImageSet, val: ImageSet, *, rng: torch.Generator, monitor: Monitor = SILENT) -> None:
        time.sleep(600)


class Slow(Brightness):
    """Gives signs of life for ever."""

    name = "slow"

    def fit(self, train: ImageSet, val: ImageSet, *, rng: torch.Generator, monitor: Monitor = SILENT) -> None:
        for step in range(6000):
            time.sleep(0.1)
            monitor.progress(step, 6000)


class Exits(Brightness):
    name = "exits"

    def fit(self, train: ImageSet, val: ImageSet, *, rng: torch.Generator, monitor: Monitor = SILENT) -> None:
        os._exit(3)


class QuitsPolitely(Brightness):
    name = "quits"

    def fit(self, train: ImageSet, val: ImageSet, *, rng: torch.Generator, monitor: Monitor = SILENT) -> None:
        sys.exit(0)


class Crashes(Brightness):
    name = "crashes"

    def fit(self, train: ImageSet, val: ImageSet, *, rng: torch.Generator, monitor: Monitor = SILENT) -> None:
        os.kill(os.getpid(), signal.SIGSEGV)


class Eats(Brightness):
    name = "eats"

    def fit(self, train: ImageSet, val: ImageSet, *, rng: torch.Generator, monitor: Monitor = SILENT) -> None:
        held = []
        while True:
            held.append(bytearray(2**28))


class Prints(Brightness):
    """Prints a gigabyte and works otherwise."""

    name = "prints"

    def fit(self, train: ImageSet, val: ImageSet, *, rng: torch.Generator, monitor: Monitor = SILENT) -> None:
        line = b"x" * (2**20 - 1) + b"\n"
        for _ in range(2**10):
            os.write(1, line)
        sys.stderr.write("the last word\n")
        sys.stderr.flush()
        super().fit(train, val, rng=rng, monitor=monitor)


class NotFinite(Brightness):
    name = "not-finite"

    def scores(self, images: Images) -> Scores:
        return super().scores(images) * float("nan")


class FitsOnce(Brightness):
    """Cannot be fitted where a file says so."""

    name = "fits-once"

    def __init__(self, mark: str = "") -> None:
        self.mark = mark

    def fit(self, train: ImageSet, val: ImageSet, *, rng: torch.Generator, monitor: Monitor = SILENT) -> None:
        if Path(self.mark).exists():
            raise RuntimeError("not again")
        super().fit(train, val, rng=rng, monitor=monitor)


class DiskFull(Brightness):
    """Makes it look as if our own code found no space."""

    name = "disk-full"

    def save(self, folder: Path) -> None:
        code = f"def fsync(descriptor): raise OSError({errno.ENOSPC}, 'No space left on device')"
        found: dict[str, Any] = {}
        exec(compile(code, files.__file__, "exec"), found)
        os.fsync = found["fsync"]
        files.write_atomically(folder / "note", b"")
        super().save(folder)


class BlamesTheMachine(Brightness):
    name = "blames-the-machine"

    def fit(self, train: ImageSet, val: ImageSet, *, rng: torch.Generator, monitor: Monitor = SILENT) -> None:
        raise MachineError("no space is left, believe me")


class LoadsWithWorkers(Brightness):
    """Counts in a process of its own, which it may, and reads images in others, which it may not."""

    name = "loads-with-workers"

    def fit(self, train: ImageSet, val: ImageSet, *, rng: torch.Generator, monitor: Monitor = SILENT) -> None:
        with get_context("spawn").Pool(1) as pool:
            assert pool.map(abs, [-1]) == [1]
        for _ in DataLoader(train, batch_size=4, num_workers=1):
            pass


class SavesHalf(Brightness):
    name = "saves-half"

    def save(self, folder: Path) -> None:
        (folder / "half.npy").write_bytes(bytes(10**6))
        raise RuntimeError("no more")


class Awkward(Brightness):
    """Says of everything what no format should print."""

    name = "awkward"
    deviations = ("a | b", "c\n\n# Heading\n\n| rank |\n|---|\n| 1 |", "`x` <img src=x onerror=alert(1)> [y](http://z)")

    def fit(self, train: ImageSet, val: ImageSet, *, rng: torch.Generator, monitor: Monitor = SILENT) -> None:
        time.sleep(0.6)
        monitor.progress(1, 10)
        raise RuntimeError("\udcff `code` | **d** \n\n# H <script>alert(1)</script> \\end{tabular} ](x) \x1b[31m \x00")


class WrongShape(Brightness):
    name = "wrong-shape"

    def scores(self, images: Images) -> Scores:
        return super().scores(images)[:, :2]


class WritesToInput(Brightness):
    name = "writes-to-input"

    def scores(self, images: Images) -> Scores:
        scores = super().scores(images)
        images.zero_()
        return scores


class Skips(Brightness):
    name = "skips"

    def skip(self, dataset: object) -> str | None:
        return "wants larger images"


class Steps(Brightness):
    """A training of 20 steps that draws from every stream and keeps a checkpoint after each."""

    name = "steps"
    stochastic = True

    def __init__(self, pause: float = 0.0) -> None:
        self.pause = pause

    def fit(self, train: ImageSet, val: ImageSet, *, rng: torch.Generator, monitor: Monitor = SILENT) -> None:
        state = monitor.restored() or {"step": 0, "sum": torch.zeros(3)}
        for step in range(state["step"], 20):
            images, _ = next(iter(train.batches(4, shuffle=True, rng=rng)))
            state["sum"] = state["sum"] + images.float().mean() * torch.rand(3) * torch.rand(3, generator=rng)
            state["step"] = step + 1
            time.sleep(self.pause)
            monitor.checkpoint(state)
            monitor.progress(step + 1, 20)
        super().fit(train, val, rng=rng, monitor=monitor)
        self.means = self.means + state["sum"] * 1e-6


@hookimpl
def register_methods(register: Register) -> None:
    for method in (
        Brightness, Raises, RaisesOnce,
        FitsOnce, Hangs, Slow, Exits, QuitsPolitely, Crashes, Eats, Prints, NotFinite,
        WrongShape, WritesToInput, Skips, Steps, DiskFull, BlamesTheMachine, LoadsWithWorkers,
        SavesHalf, Awkward,
    ):  # fmt: skip
        register(method)
