"""The trial's side of its workers: it asks, hands images over, and takes numbers alone for an answer."""

import os
import signal
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gfp_bench.apart import exit_reason
from gfp_bench.contracts.attack import Perturbation
from gfp_bench.contracts.images import ImageSet
from gfp_bench.contracts.rng import ImageRng
from gfp_bench.contracts.types import Images
from gfp_bench.engine.channel import Arrays, Channel, ClosedError, Message, fields
from gfp_bench.engine.contender import What
from gfp_bench.engine.events import Progress, checked_progress
from gfp_bench.engine.job import Job
from gfp_bench.engine.monitor import Pulse
from gfp_bench.engine.plan import Attack
from gfp_bench.engine.worker import STACK, images_at_a_time, work
from gfp_bench.errors import MachineError, PluginError
from gfp_bench.files import has_room
from gfp_bench.texts import clean

_LAST_BREATH = 5.0  # seconds that a process whose connection is closed has to end by itself


class FallenError(PluginError):
    """What a plugin's process says of its own failure, or what is to be said of its end."""


class Worker:
    """A process for plugins. Made before anything is read that it must not know, since it is a copy of this process.

    Attributes:
        gpu: The largest memory that it says it held on a GPU, in bytes.
    """

    def __init__(self, job: Job, whose: str) -> None:
        """Start the process; errors call it ``whose``."""
        self._whose = whose
        ours, theirs = socket.socketpair()
        here = os.getpid()
        self.pid = os.fork()
        if not self.pid:
            try:
                work(job, theirs, here)
            finally:
                os._exit(1)
        theirs.close()
        self._channel, self._folder = Channel(ours), job.results
        self.gpu = 0

    def send(self, message: Message, *arrays: NDArray[Any]) -> None:
        """Ask for something; raises `FallenError` if the process has ended."""
        try:
            self._channel.send(message, *arrays)
        except ClosedError:
            raise FallenError(self._end_reason()) from None

    def receive(self) -> tuple[Message, Arrays]:
        """Return what the process says.

        Raises:
            FallenError: If it has failed or ended.
            MachineError: If it has failed through no plugin's fault.
            PluginError: If it says what no one can read.
        """
        try:
            message, arrays = self._channel.receive()
        except ClosedError:
            raise FallenError(self._end_reason()) from None
        except PluginError as error:
            raise PluginError(f"{self._whose}: {error}") from None
        if message.get("say") == "failed":
            reason, is_machines = fields(message, reason=str, machine=bool)
            believed = is_machines and not has_room(self._folder)  # else a lie would stop all others
            raise (MachineError if believed else FallenError)(clean(reason))
        return message, arrays

    def answer(self) -> Arrays:
        """Return the arrays that the process answers with."""
        message, arrays = self.receive()
        if message.get("say") != "answer":
            raise PluginError(f"its process said {str(message.get('say'))[:100]!r}, expected an answer")
        (gpu,) = fields(message, gpu=int)
        self.gpu = max(self.gpu, gpu)
        return arrays

    def end(self) -> int:
        """End the process; returns the largest memory that it has held, in bytes."""
        os.kill(self.pid, signal.SIGKILL)
        _, _, usage = os.wait4(self.pid, 0)
        return usage.ru_maxrss * 1024

    def _end_reason(self) -> str:
        until = time.monotonic() + _LAST_BREATH
        while time.monotonic() < until:
            ended, status = os.waitpid(self.pid, os.WNOHANG)
            if ended:
                return exit_reason(os.waitstatus_to_exitcode(status))
            time.sleep(0.01)
        return "closed its connection before it was done"


class Workers:
    """The processes of a trial's plugins: one for its method, one for attacks if it has any."""

    device = "cpu"  # where the trial's images lie; the method's process takes them further

    def __init__(self, job: Job) -> None:
        self._method = Worker(job, f"method {job.trial.method!r}")
        self._attacks = Worker(job, "attacks") if any(cell.attack for cell in job.trial.cells) else None
        self._landlock = 0

    def shut_in(self, hidden: set[Path]) -> None:
        """Have them give up access to all but code and the method's own folders, before they import a plugin.

        Args:
            hidden: What stays out of reach wherever it lies.
        """
        told = {"hidden": sorted(map(str, hidden))}
        self._method.send(told | {"attacks": False})
        if self._attacks:
            self._attacks.send(told | {"attacks": True})
            self._attacks.receive()
        message, _ = self._method.receive()
        (self._landlock,) = fields(message, landlock=int)

    @property
    def isolation(self) -> str:
        """What keeps them from files, in a word for the record."""
        return f"landlock {self._landlock}" if self._landlock else "none"

    def contender(self, pulse: Pulse) -> "RemoteContender":
        """Return the method."""
        return RemoteContender(self._method, pulse.pass_on)

    def attack(self, attack: Attack) -> Perturbation:
        """Return an attack, which takes the place of the one before."""
        assert self._attacks is not None  # noqa: S101 - a cell has it
        return RemoteAttack.of(self._attacks, attack)

    def ask_for_stacks(self) -> None:
        """Have them print where they are."""
        for worker in filter(None, (self._method, self._attacks)):
            with suppress(ProcessLookupError):
                os.kill(worker.pid, STACK)

    def peaks(self) -> dict[str, int]:
        """End them; returns the largest memory that the method has held, in bytes."""
        if self._attacks:
            self._attacks.end()
        return {"peak_memory": self._method.end(), "peak_gpu_memory": self._method.gpu}


class RemoteContender:
    """The method of a trial in a process of its own, with what `Contender` does."""

    def __init__(self, worker: Worker, tell: Callable[[Progress], None]) -> None:
        self._worker, self._tell = worker, tell

    def fit(self, train: ImageSet, val: ImageSet) -> None:
        """Have it fitted on images that it asks for as it needs them, and its state saved."""
        sets = {"train": train, "val": val}
        facts = {name: _facts(images) for name, images in sets.items()}
        self._worker.send({"do": "fit", **facts}, *(images.labels.numpy() for images in sets.values()))
        self._serve(sets)

    def save(self) -> None:
        """Have its fitted state saved."""
        self._worker.send({"do": "save"})
        self._serve({})

    def _serve(self, sets: Mapping[str, ImageSet]) -> None:
        """Hand over images and pass on progress until what was asked for is done."""
        while True:
            message, arrays = self._worker.receive()
            match message.get("say"), arrays:
                case "answer", []:
                    self._worker.gpu = max(self._worker.gpu, *fields(message, gpu=int))
                    return
                case "progress", []:
                    step, total, values = fields(message, step=int, total=int, values=dict)
                    self._tell(checked_progress(step, total, values))
                case "read", [rows] if message.get("set") in sets:
                    images = sets[message["set"]]
                    images.tick()
                    self._worker.send({}, _lent(images, rows))
                case said, _:
                    raise PluginError(f"its process said {str(said)[:100]!r} in the middle, expected an answer")

    def answers(self, images: Images, whats: Sequence[What], place: str) -> Iterator[NDArray[Any]]:
        """Yield its answers as they come."""
        self._worker.send({"do": "answer", "whats": list(whats), "place": place}, images.numpy())
        for what in whats:
            arrays = self._worker.answer()
            if len(arrays) != 1:
                raise PluginError(f"its process answered with {len(arrays)} arrays of {what}, expected 1")
            yield arrays[0]


class RemoteAttack(Perturbation):
    """An attack in a process of its own, under its name."""

    _worker: Worker

    @classmethod
    def of(cls, worker: Worker, attack: Attack) -> "RemoteAttack":
        """Have an attack made, and return what stands for it."""
        remote = cls()
        remote._worker = worker
        remote.name, remote.version = attack.name, attack.version  # type: ignore[misc] # its original's
        remote._asked({"do": "attack", "name": attack.name, "settings": attack.settings})
        return remote

    def perturb(self, images: Images, rng: ImageRng) -> Images:
        """Return what the attack makes of images.

        Raises:
            PluginError: If it fails or breaks its contract; the message has its name.
        """
        keys, position = rng.state
        arrays = self._asked({"do": "perturb", "position": position}, images.numpy(), keys.numpy())
        if [(array.dtype, array.shape) for array in arrays] != [(np.dtype(np.uint8), tuple(images.shape))]:
            raise PluginError(f"attack {self.name!r} answered with something else than images; they stay unattacked")
        return torch.from_numpy(arrays[0])

    def _asked(self, message: Message, *arrays: NDArray[Any]) -> Arrays:
        try:
            self._worker.send(message, *arrays)
            return self._worker.answer()
        except PluginError as error:
            reason = str(error)
            raise FallenError(
                reason if f"attack {self.name!r}" in reason else f"attack {self.name!r}: {reason}"
            ) from None


def _facts(images: ImageSet) -> dict[str, Any]:
    """Return what a method may know of a set that it is fitted on."""
    names: Mapping[str, Any] = {
        name: getattr(images, name) for name in ("sources", "ids", "groups", "dataset", "split")
    }
    return {**names, "shape": [len(images), *images.image_shape]}


def _lent(images: ImageSet, rows: NDArray[Any]) -> NDArray[np.uint8]:
    if rows.dtype != np.int64 or rows.ndim != 1 or not ((rows >= 0) & (rows < len(images))).all():
        raise PluginError(f"its process asked for images that are not among the {len(images)} of its set")
    if len(rows) > (most := images_at_a_time((len(images), *images.image_shape))):
        raise PluginError(f"its process asked for {len(rows)} images at a time, expected at most {most}")
    pixels: NDArray[np.uint8] = images.read(rows).numpy()
    return pixels
