"""The trials of a plan on an executor: child processes, time limits, resume, progress."""

import os
import subprocess
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import torch

from gfp_bench import __version__
from gfp_bench.engine.plan import Plan, Trial, plan_to_json
from gfp_bench.engine.process import Limits, Outcome, supervise, warm_up
from gfp_bench.engine.records import Failure, Store, to_json
from gfp_bench.engine.trial import Job
from gfp_bench.errors import UsageError
from gfp_bench.files import write_atomically


@dataclass(frozen=True)
class Options:
    """How a plan is executed; none of it changes a result.

    Attributes:
        manifest: The dataset's manifest file.
        cache: Where decoded images lie.
        results: The results folder.
        jobs: Trials at a time; by default one a GPU, or one a core.
        device: ``auto``, ``cpu`` or ``cuda``.
        timeout: Seconds a trial may take.
        idle_timeout: Seconds a trial may give no sign of life.
        memory: Bytes a trial on the CPU may allocate; by default what the machine has, shared by the jobs.
        retry_failed: Whether failed cells are tried again.
        plugin_files: Single-file plugins.
        checkpoint_every: Seconds between two kept checkpoints of a training.
    """

    manifest: Path
    cache: Path
    results: Path
    jobs: int | None = None
    device: str = "auto"
    timeout: float = 24 * 3600.0
    idle_timeout: float = 900.0
    memory: int | None = None
    retry_failed: bool = False
    plugin_files: tuple[Path, ...] = ()
    checkpoint_every: float = 30.0


@dataclass(frozen=True)
class Event:
    """Something worth showing: ``kind`` is started, progress, done, failed, timeout, busy or finished."""

    kind: str
    trial: Trial
    cell: str = ""
    text: str = ""
    step: int = 0
    total: int = 0
    values: dict[str, float] = field(default_factory=dict)


Report = Callable[[Event], None]


def run(plan: Plan, options: Options, report: Report) -> None:
    """Execute what is pending of a plan; what is done is not touched, and a failure stops nothing else.

    Args:
        plan: The trials.
        options: Where and how.
        report: Called once an event, from several threads.

    Raises:
        OSError: If the results folder cannot be written.
    """
    store = Store(options.results)
    options.results.mkdir(parents=True, exist_ok=True)
    write_atomically(options.results / "plan.json", to_json(plan_to_json(plan)))
    groups = _groups(plan.trials)
    if unfinished := [g for g in groups if any(store.pending(t, retry_failed=options.retry_failed) for t in g)]:
        _Run(plan, options, report, store).execute(unfinished)
    for group in groups:
        if not any(store.pending(trial) for trial in group):
            for trial in group:
                _discard(store, trial)


def _groups(trials: Iterable[Trial]) -> list[list[Trial]]:
    """Return each clean trial with the immunised ones that start from its state; skipped ones are left out."""
    groups: dict[tuple[Path, int], list[Trial]] = {}
    for trial in trials:
        if trial.skip is None:
            groups.setdefault((trial.folder.parent, trial.seed), []).append(trial)
    return list(groups.values())


def _discard(store: Store, trial: Trial) -> None:
    """Delete the fitted state and the checkpoint of a trial whose group is done, unless another run is at it."""
    kept = [kind for kind in ("state", "state.partial", "checkpoint") if store.path(trial, kind).exists()]
    if kept:
        with store.claim(trial) as holder:
            for kind in kept if holder is None else ():
                store.drop(trial, kind)


class _Run:
    """One execution of a plan."""

    def __init__(self, plan: Plan, options: Options, report: Report, store: Store) -> None:
        self.plan, self.options, self.report, self.store = plan, options, report, store
        self.stop = threading.Event()
        self.revision = _revision()
        self.devices: SimpleQueue[str] = SimpleQueue()
        for device in _devices(options):
            self.devices.put(device)
        self.slots = self.devices.qsize()

    def execute(self, groups: Sequence[Sequence[Trial]]) -> None:
        """Run the clean trials, and the immunised ones of a group as soon as its clean one is through."""
        warm_up()
        pool = ThreadPoolExecutor(self.slots)
        try:
            rest: dict[Future[None], Sequence[Trial]] = {pool.submit(self._trial, g[0], None, g): g for g in groups}
            running = set(rest)
            while running:
                finished, running = wait(running, return_when=FIRST_COMPLETED)
                for future in finished:
                    future.result()
                    group = rest.pop(future, ())
                    running |= {pool.submit(self._trial, trial, group[0], [trial]) for trial in group[1:]}
        except BaseException:
            self.stop.set()
            raise
        finally:
            pool.shutdown(cancel_futures=True)

    def _trial(self, trial: Trial, base: Trial | None, needed_for: Sequence[Trial]) -> None:
        """Bring one trial to its end: launch it again after a failed cell while others are pending."""
        if not self._wanted(trial, base, needed_for, retry=self.options.retry_failed):
            return
        device = self.devices.get()
        try:
            with self.store.claim(trial) as holder:
                if holder is not None:
                    self.report(Event("busy", trial, text=holder))
                    return
                retry = self.options.retry_failed
                while not self.stop.is_set() and self._wanted(trial, base, needed_for, retry=retry):
                    if not self._launch(trial, base, device, needed_for, retry=retry):
                        break
                    retry = False
        finally:
            self.devices.put(device)

    def _wanted(self, trial: Trial, base: Trial | None, needed_for: Sequence[Trial], *, retry: bool) -> bool:
        """Return whether there is something left to compute that can be computed."""
        if base and not self.store.path(base, "state").exists():
            return False
        if self.store.pending(trial, retry_failed=retry):
            return True
        if self.store.path(trial, "state").exists() or any(self.store.failure(trial, cell) for cell in trial.cells):
            return False
        return any(self.store.pending(other, retry_failed=retry) for other in needed_for)

    def _launch(
        self, trial: Trial, base: Trial | None, device: str, needed_for: Sequence[Trial], *, retry: bool
    ) -> bool:
        """Run a trial's process once, keep what it leaves; returns whether another launch can help."""
        self.report(Event("started", trial))
        names = {cell.key: cell.name for cell in trial.cells}
        if retry:
            for cell in trial.cells:
                self.store.forget_failure(trial, cell)

        def heard(event: tuple[Any, ...]) -> None:
            if event[0] == "done":
                self.report(Event("done", trial, cell=names[event[1]]))
            elif event[0] == "progress":
                self.report(Event("progress", trial, step=event[1], total=event[2], values=event[3]))

        self.store.folder(trial).mkdir(parents=True, exist_ok=True)
        limits = Limits(self.options.timeout, self.options.idle_timeout)
        outcome = supervise(self._job(trial, base, device), limits, self.store.path(trial, "log"), heard, self.stop)
        if self.stop.is_set():
            return False
        if outcome.status == "done":
            write_atomically(self.store.path(trial, "timing"), to_json(outcome.timing))
            self.report(Event("finished", trial))
            return False
        return self._failed(trial, needed_for, outcome)

    def _failed(self, trial: Trial, needed_for: Sequence[Trial], outcome: Outcome) -> bool:
        """Keep why cells failed: those of the step in hand, or all that waited for a process that never named one.

        A clean trial that is fitted again, for its immunised ones alone, takes those with it. Returns whether another
        launch can help: each one that ends badly has lost a cell or kept one, so there is an end.
        """
        status: Failure = "timeout" if outcome.status == "timeout" else "failed"
        own = [(trial, cell) for cell in self.store.pending(trial)]
        waiting = own or [(other, cell) for other in needed_for for cell in self.store.pending(other)]
        for other, cell in waiting:
            if not outcome.stake or cell.key in outcome.stake:
                reason = outcome.reason if other is trial else f"clean, fitted again: {outcome.reason}"
                self.store.fail(other, cell, status, reason)
                self.report(Event(status, other, cell=cell.name, text=reason))
        return True

    def _job(self, trial: Trial, base: Trial | None, device: str) -> Job:
        options = self.options
        return Job(
            trial=trial,
            base=base,
            protocol=self.plan.protocol,
            manifest=options.manifest,
            cache=options.cache,
            results=options.results,
            device=device,
            limit=self.plan.limit,
            plugin_files=options.plugin_files,
            memory=options.memory or int(0.9 * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / self.slots),
            checkpoint_every=options.checkpoint_every,
            revision=self.revision,
        )


def _devices(options: Options) -> list[str]:
    """Return the device of each slot: one a GPU, or one a core."""
    cuda = torch.cuda.device_count() if options.device != "cpu" and torch.cuda.is_available() else 0
    if options.device == "cuda" and not cuda:
        raise UsageError("device 'cuda' was asked for, but torch sees none here; use --device auto or cpu")
    devices = [f"cuda:{index}" for index in range(cuda)] or ["cpu"] * len(os.sched_getaffinity(0))
    jobs = options.jobs or len(devices)
    return [devices[slot % len(devices)] for slot in range(jobs)]


def _revision() -> dict[str, Any]:
    """Return what names the code that runs: the package's version and, in a checkout, git's revision."""
    here = Path(__file__).parent

    def git(*words: str) -> str | None:
        done = subprocess.run(["git", "-C", str(here), *words], capture_output=True, text=True, check=False)  # noqa: S603, S607
        return done.stdout.strip() if done.returncode == 0 else None

    try:
        tracked = git("ls-files", "--error-unmatch", str(Path(__file__)))
        revision, changes = (
            (git("rev-parse", "HEAD"), git("status", "--porcelain", "--untracked-files=no"))
            if tracked
            else (None, None)
        )
    except FileNotFoundError:  # no git on this machine
        revision = changes = None
    return {"version": __version__, "revision": revision, "dirty": bool(changes)}
