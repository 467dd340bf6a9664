"""A process for plugins alone: it does what the trial asks for and reaches nothing that would tell an answer.

A trial has one for its method and one for attacks. Both are forked before the trial has read anything of the dataset,
and shut themselves in before they import a plugin that gfp-bench does not bring.
"""

import faulthandler
import math
import os
import pkgutil
import resource
import signal
import socket
import sys
import tempfile
import threading
import traceback
from collections.abc import Iterator, Sequence
from contextlib import suppress
from multiprocessing import current_process, resource_tracker
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from numpy.typing import NDArray

from gfp_bench.apart import reason
from gfp_bench.contracts.images import ImageSet
from gfp_bench.contracts.rng import ImageRng
from gfp_bench.contracts.settings import Setting
from gfp_bench.engine.attacking import CheckedAttack
from gfp_bench.engine.blame import is_machines
from gfp_bench.engine.channel import Arrays, Channel, ClosedError, Message
from gfp_bench.engine.contender import Contender, partial_state, scratch_folder
from gfp_bench.engine.events import Progress
from gfp_bench.engine.job import Job
from gfp_bench.engine.landlock import restrict
from gfp_bench.engine.records import Store
from gfp_bench.engine.sandbox import die_with, grants
from gfp_bench.errors import PluginError, UsageError
from gfp_bench.machine import keep_freed_memory
from gfp_bench.registry.code import files_of
from gfp_bench.registry.discovery import load_built_in, load_only
from gfp_bench.registry.plugins import Plugins

STACK = signal.SIGUSR1  # at which a trial's processes print the stacks of their threads
_CARRIED = 2**22  # bytes of images in a message
_CACHES = {"TRITON_CACHE_DIR": "triton", "MPLCONFIGDIR": "matplotlib", "NUMBA_CACHE_DIR": "numba"}


def work(job: Job, end: socket.socket, trial: int) -> NoReturn:
    """Serve a trial, whose process ``trial`` forked this one, until it ends this process."""
    here = os.getpid()
    die_with(trial)
    current_process().daemon = False  # it may have children, all of which end with the trial
    _close_all_but(end.fileno())
    faulthandler.register(STACK, all_threads=True)
    if job.memory and job.device == "cpu":
        resource.setrlimit(resource.RLIMIT_DATA, (job.memory, job.memory))
    channel = Channel(end, longest=2**31)
    try:
        _serve(job, channel)
    except ClosedError:
        _leave(1)
    except BaseException as error:
        if os.getpid() == here:  # and not a copy that the plugin made of its process
            channel.send({"say": "failed", "reason": _reason(error), "machine": is_machines(error)})
        with suppress(Exception):  # whatever a plugin left in place of the stream
            traceback.print_exc()
        _leave(1)


def prepare(device: str) -> None:
    """Make this process compute as every other does that computes for a trial."""
    keep_freed_memory()
    torch.set_num_threads(1)  # sums depend on how they are split: one thread everywhere, one trial per core
    torch.backends.cudnn.benchmark = False
    if device != "cpu":  # with one thread a CPU has no order to vary
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(mode=True, warn_only=True)


def _reason(error: BaseException) -> str:
    hint = "; a trial reaches only what its settings name besides code, and writes to its temporary folder alone"
    return reason(error) + hint * isinstance(error, PermissionError)


def _serve(job: Job, channel: Channel) -> NoReturn:
    message, _ = channel.receive()
    _shut_in(job, channel, message)
    prepare(job.device)
    worker = _Worker(job, channel)
    while True:
        worker.obey(*channel.receive())


def _shut_in(job: Job, channel: Channel, message: Message) -> None:
    """Give up access to everything but code and what is the trial's own, for good."""
    store, temporary = Store(job.results), scratch_folder(job) / "tmp"
    states = [store.path(trial, "state") for trial in (job.trial, job.base) if trial]
    own = [] if message["attacks"] else [scratch_folder(job), partial_state(job)]
    named = _named(job, attacks=message["attacks"])
    files = [source.file.parent / name for source in job.sources if source.file for name in files_of(source.file)]
    granted = grants(files, named, own, {Path(place) for place in message["hidden"]})
    readable = granted.readable if message["attacks"] else (*granted.readable, *states)
    tempfile.tempdir = os.environ["TMPDIR"] = str(temporary)
    os.environ |= {name: str(temporary / folder) for name, folder in _CACHES.items()}
    for place in sys.path:  # importers list the folders that they search while they may; later they only open modules
        if finder := pkgutil.get_importer(place):
            finder.find_spec("gfp_bench_nowhere")
    channel.send({"say": "shut in", "landlock": restrict(readable, granted.writable)})


def _named(job: Job, *, attacks: bool) -> Iterator[Setting]:
    """Yield the settings of what runs here: of the cells' attacks, or of the method and of what it is immunised to."""
    if not attacks:
        yield from job.trial.settings.values()
    for use in [cell.attack for cell in job.trial.cells] if attacks else [job.trial.condition]:
        yield from use.settings.values() if use else ()


class _Worker:
    """Does what messages ask for."""

    def __init__(self, job: Job, channel: Channel) -> None:
        self._job, self._channel, self._process = job, channel, os.getpid()
        self._contender: Contender | None = None
        self._attack: CheckedAttack | None = None

    def obey(self, message: Message, arrays: Arrays) -> None:
        """Do one thing and answer."""
        match message["do"]:
            case "fit":
                self._method.fit(
                    *(self._set(name, message[name], arrays[i]) for i, name in enumerate(("train", "val")))
                )
                self._answer()
            case "save":
                self._method.save()
                self._answer()
            case "answer":
                images = torch.from_numpy(arrays[0])
                for values in self._method.answers(images, message["whats"], message["place"]):
                    self._answer(values)
            case "attack":
                self._attack = CheckedAttack.of(_made(self._job, message["name"], message["settings"]))
                self._answer()
            case "perturb":
                assert self._attack is not None  # noqa: S101 - the trial names it first
                images, keys = map(torch.from_numpy, arrays)
                self._answer(self._attack.perturb(images, ImageRng(keys, message["position"])).numpy())

    @property
    def _method(self) -> Contender:
        if self._contender is None:
            self._contender = Contender(self._job, load_only(self._job.sources), self._tell)
        return self._contender

    def _answer(self, *arrays: NDArray[Any]) -> None:
        gpu = torch.cuda.max_memory_allocated() if self._job.device != "cpu" else 0
        self._send({"say": "answer", "gpu": gpu}, *arrays)

    def _tell(self, progress: Progress) -> None:
        self._send({"say": "progress", "step": progress.step, "total": progress.total, "values": progress.values})

    def _send(self, message: Message, *arrays: NDArray[Any]) -> None:
        if os.getpid() != self._process:  # a copy that the plugin made of its process and let go on
            os._exit(0)
        self._channel.send(message, *arrays)

    def _set(self, name: str, facts: Message, labels: NDArray[np.int64]) -> ImageSet:
        pixels = _Lent(self._channel, name, tuple(facts.pop("shape")))
        return ImageSet(pixels, labels, device=self._job.device, **facts)


_READ_ELSEWHERE = (
    "images of an ImageSet were wanted in a process that the method started, as a DataLoader with workers does; read "
    "them in fit: by batches(), or with num_workers=0"
)


class _Lent:
    """The images of a set, which the trial's process hands over when they are asked for.

    Attributes:
        shape: (n, 3, h, w).
    """

    def __init__(self, channel: Channel, name: str, shape: tuple[int, ...]) -> None:
        self._channel, self._name, self.shape = channel, name, shape
        self._lock, self._process = threading.Lock(), os.getpid()

    def __getstate__(self) -> NoReturn:
        raise PluginError(_READ_ELSEWHERE)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Return some images, (m, 3, h, w)."""
        if os.getpid() != self._process:
            raise PluginError(_READ_ELSEWHERE)
        images = np.empty((len(rows), *self.shape[1:]), np.uint8)
        size = images_at_a_time(self.shape)
        with self._lock:
            for start in range(0, len(rows), size):
                self._channel.send({"say": "read", "set": self._name}, np.asarray(rows[start : start + size], np.int64))
                _, (images[start : start + size],) = self._channel.receive()
        return images


def images_at_a_time(shape: Sequence[int]) -> int:
    """Return how many images of an (n, 3, h, w) set one message carries."""
    return max(1, _CARRIED // math.prod(shape[1:]))


def _made(job: Job, name: str, settings: dict[str, Any]) -> Any:  # an attack, from whose class mypy cannot tell
    """Return an attack with settings; code that gfp-bench does not bring is imported for its own attacks alone."""
    plugins: Plugins = load_built_in()
    try:
        return plugins.attack(name)(**settings)
    except UsageError:
        return load_only(job.sources).attack(name)(**settings)


def _close_all_but(kept: int) -> None:
    """Close what the trial's process has open: the runner's pipes, and whatever else could tell or do harm."""
    os.closerange(3, kept)
    os.closerange(kept + 1, os.sysconf("SC_OPEN_MAX"))
    vars(resource_tracker._resource_tracker).update(_fd=None, _pid=None)  # it would be asked by a closed pipe


def _leave(code: int) -> NoReturn:
    """End the process without taking torch apart first, which only takes time."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):
            stream.flush()
    os._exit(code)
