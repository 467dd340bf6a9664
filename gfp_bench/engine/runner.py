"""The trials of a plan on an executor: child processes, time limits, resume, progress."""

import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import torch

from gfp_bench.contracts.settings import Setting
from gfp_bench.engine.events import (
    CellDone,
    CellsFailed,
    Done,
    Event,
    Progress,
    Report,
    TrialBusy,
    TrialFinished,
    TrialProgress,
    TrialStarted,
)
from gfp_bench.engine.job import Job
from gfp_bench.engine.plan import Cell, Plan, Trial
from gfp_bench.engine.process import Ending, Limits, supervise, warm_up
from gfp_bench.engine.provenance import revision
from gfp_bench.engine.records import FailureKind, Store, to_json
from gfp_bench.engine.trial import execute
from gfp_bench.errors import MachineError, UsageError
from gfp_bench.files import sweep, write_atomically
from gfp_bench.registry.discovery import as_planned, sources, survey_plugins
from gfp_bench.registry.plugins import Plugins, Source
from gfp_bench.texts import clean


@dataclass(frozen=True, kw_only=True)
class Options:
    """How a plan is executed; none of it changes a result.

    Attributes:
        manifests: The manifest file of each dataset that the plan reads, by name.
        cache: Where decoded images lie.
        results: The results folder.
        jobs: Trials at a time; by default one per GPU, or one per core.
        device: ``auto``, ``cpu`` or ``cuda``.
        timeout: Seconds that a trial may take.
        idle_timeout: Seconds that a trial may give no sign of life.
        memory: Bytes a trial on the CPU may allocate; by default what the machine has, shared by the jobs.
        retry_failed: Whether failed cells are tried again.
        plugin_files: Single-file plugins.
        plugins: What is registered, so that a trial loads only what it needs of it; all by default.
        digests: What identifies the content of the datasets beside the plan's own, by name.
        checkpoint_every: Seconds between two kept checkpoints of a training.
    """

    manifests: Mapping[str, Path]
    cache: Path
    results: Path
    jobs: int | None = None
    device: str = "auto"
    timeout: float = 24 * 3600.0
    idle_timeout: float = 900.0
    memory: int | None = None
    retry_failed: bool = False
    plugin_files: tuple[Path, ...] = ()
    plugins: Plugins | None = None
    digests: Mapping[str, str] = field(default_factory=dict)
    checkpoint_every: float = 30.0


def run(plan: Plan, options: Options, report: Report) -> None:
    """Execute what is pending of a plan; what is done is not touched, and a failure stops nothing else.

    Args:
        plan: The trials.
        options: Where and how.
        report: Called once per event, from several threads.

    Raises:
        OSError: If the results folder cannot be written.
        MachineError: If a trial could not come to its end through no plugin's fault; nothing is recorded of it.
    """
    store = Store(options.results)
    store.keep_plan(plan)
    families = [family for trial in plan.trials if trial.base is None for family in [_family(plan, trial)] if family]
    if unfinished := [f for f in families if any(store.pending(t, retry_failed=options.retry_failed) for t in f)]:
        _Run(plan, options, report, store).execute([family[0] for family in unfinished])
    for family in families:
        if not any(store.pending(trial) for trial in family):
            for trial in family:
                _discard(store, trial)


def debug(plan: Plan, options: Options, report: Report) -> Trial:
    """Execute the first pending trial of a contender in this process, without limits, so that breakpoints work.

    What a plugin raises is raised; nothing is recorded as failed. Returns the trial.

    Raises:
        UsageError: If nothing is pending.
    """
    store = Store(options.results)
    store.keep_plan(plan)
    rows = {row.title for row in plan.rows if not row.floor}
    by_key = {trial.key: trial for trial in plan.trials}
    pending = [t for t in plan.trials if t.row in rows and not t.skip and store.pending(t, retry_failed=True)]
    if not pending:
        raise UsageError("no trial is pending, so there is nothing to debug; name another method or results folder")
    trial = pending[0]
    while trial.base and not store.path(by_key[trial.base], "state").exists():
        trial = by_key[trial.base]
    running = _Run(plan, options, report, store)
    with store.claim(trial) as holder:
        if holder is not None:
            raise UsageError(f"{trial.title} is locked by {holder}; wait for it, or name another results folder")
        for cell in trial.cells:
            store.forget_failure(trial, cell)
        report(TrialStarted(trial))
        execute(running.job(trial, running.devices.get()), lambda event: running.heard(trial, event))
    report(TrialFinished(trial))
    return trial


def _family(plan: Plan, trial: Trial) -> list[Trial]:
    """Return a trial and all that start from its state, each after its base; skipped ones are left out."""
    if trial.skip is not None:
        return []
    members = [trial]
    for other in plan.trials:
        if other.skip is None and other.base in {member.key for member in members}:
            members.append(other)
    return members


def _discard(store: Store, trial: Trial) -> None:
    """Delete the fitted state and the scratch folder of a trial whose family is done, unless another run is at it."""
    kept = [kind for kind in ("state", "state.partial", "scratch") if store.path(trial, kind).exists()]
    if kept:
        with store.claim(trial) as holder:
            for kind in kept if holder is None else ():
                store.drop(trial, kind)


class _Run:
    """One execution of a plan."""

    def __init__(self, plan: Plan, options: Options, report: Report, store: Store) -> None:
        self.plan, self.options, self.report, self.store = plan, options, report, store
        self.stop = threading.Event()
        self.revision = revision()
        self.by_key = {trial.key: trial for trial in plan.trials}
        self.devices: SimpleQueue[str] = SimpleQueue()
        for device in _devices(options):
            self.devices.put(device)
        self.slots = self.devices.qsize()
        self.alone = self.slots == 1
        self.suspects: SimpleQueue[Trial] = SimpleQueue()  # one of these has killed the fork server under all

    def execute(self, trials: Sequence[Trial]) -> None:
        """Run trials; whoever was running when the fork server was killed runs again, each of them alone."""
        warm_up()
        self._execute(trials)
        self.alone = True
        while not self.suspects.empty():
            warm_up()
            self._execute([self.suspects.get()])

    def _execute(self, trials: Sequence[Trial]) -> None:
        """Run trials, and those that start from the state of one as soon as that is through."""
        pool = ThreadPoolExecutor(1 if self.alone else self.slots)
        try:
            submitted: dict[Future[None], Trial] = {pool.submit(self._trial, trial): trial for trial in trials}
            running = set(submitted)
            while running:
                finished, running = wait(running, return_when=FIRST_COMPLETED)
                for future in finished:
                    future.result()
                    started = {pool.submit(self._trial, trial): trial for trial in self._next(submitted[future])}
                    submitted |= started
                    running |= set(started)
        except BaseException:
            self.stop.set()
            raise
        finally:
            pool.shutdown(cancel_futures=True)

    def _next(self, base: Trial) -> Iterator[Trial]:
        return (trial for trial in self.plan.trials if trial.base == base.key and trial.skip is None)

    def _trial(self, trial: Trial) -> None:
        """Bring one trial to its end: launch it again after a failed cell while others are pending."""
        if not self._wanted(trial, retry=self.options.retry_failed):
            return
        device = self.devices.get()
        try:
            with self.store.claim(trial) as holder:
                if holder is not None:
                    self.report(TrialBusy(trial, holder))
                    return
                retry = self.options.retry_failed
                while not self.stop.is_set() and self._wanted(trial, retry=retry):
                    if not self._launch(trial, device, retry=retry):
                        break
                    retry = False
        finally:
            self.devices.put(device)

    def _wanted(self, trial: Trial, *, retry: bool) -> bool:
        """Return whether there is something left to compute that can be computed."""
        if trial.base and not self.store.path(self.by_key[trial.base], "state").exists():
            return False
        if self.store.pending(trial, retry_failed=retry):
            return True
        if self.store.path(trial, "state").exists() or any(self.store.failure(trial, cell) for cell in trial.cells):
            return False
        return any(self.store.pending(other, retry_failed=retry) for other in _family(self.plan, trial)[1:])

    def _launch(self, trial: Trial, device: str, *, retry: bool) -> bool:
        """Run a trial's process once, keep what it leaves; returns whether another launch can help."""
        self.report(TrialStarted(trial))
        if retry:
            for cell in trial.cells:
                self.store.forget_failure(trial, cell)
        self.store.folder(trial).mkdir(parents=True, exist_ok=True)
        sweep(self.store.folder(trial))
        self.store.drop(trial, "state.partial")  # of a killed run; ours alone, since the trial is claimed
        limits = Limits(self.options.timeout, self.options.idle_timeout)
        state, log = self.store.path(trial, "state"), self.store.path(trial, "log")
        is_fitted = state.exists()
        ending = supervise(self.job(trial, device), limits, log, lambda event: self.heard(trial, event), self.stop)
        if self.stop.is_set():
            return False
        if ending.status == "machine":
            raise MachineError(f"{trial.title}: {clean(ending.reason)}")
        if ending.status == "orphaned" and not self.alone:
            if not is_fitted and state.exists():  # by whoever did it, maybe: then it shall do it again
                self.store.drop(trial, "state")
            self.suspects.put(trial)
            return False
        if ending.status == "done":
            write_atomically(self.store.path(trial, "timing"), to_json(ending.timing))
            self.report(TrialFinished(trial))
            return False
        self.store.drop(trial, "state.partial")
        self._failed(trial, ending)
        return True

    def heard(self, trial: Trial, event: Event) -> None:
        """Pass on what a trial tells."""
        match event:
            case Done(key):
                self.report(CellDone(trial, next(cell.name for cell in trial.cells if cell.key == key)))
            case Progress():
                self.report(TrialProgress(trial, event))

    def _failed(self, trial: Trial, ending: Ending) -> None:
        """Keep why cells failed: those of the step in hand, or all that waited for a process that never named one.

        A base that is fitted again, for those that start from it alone, takes these with it. Each launch that ends
        badly has lost a cell or kept one, so there is an end.
        """
        kind: FailureKind = "timeout" if ending.status == "timeout" else "failed"
        told = clean(ending.reason)
        waiting = [(trial, cell) for cell in self.store.pending(trial)] or [
            (other, cell) for other in _family(self.plan, trial)[1:] for cell in self.store.pending(other)
        ]
        lost = [(other, cell) for other, cell in waiting if not ending.stake or cell.key in ending.stake]
        for other, pairs in groupby(lost, key=lambda pair: pair[0]):
            cells: list[Cell] = [cell for _, cell in pairs]
            reason = told if other is trial else f"{trial.name}, fitted again: {told}"
            for cell in cells:
                self.store.fail(other, cell, kind, reason)
            self.report(CellsFailed(other, tuple(cell.name for cell in cells), kind, reason))

    def job(self, trial: Trial, device: str) -> Job:
        """Return all that a trial's process needs to know.

        Raises:
            MachineError: If a plugin file is not the one that the run was planned with.
        """
        options, chosen = self.options, self._sources(trial)
        as_planned(chosen)
        return Job(
            trial=trial,
            base=self.by_key[trial.base] if trial.base else None,
            protocol=self.plan.protocol,
            manifests=options.manifests,
            cache=options.cache,
            results=options.results,
            device=device,
            limit=self.plan.limit,
            sources=chosen,
            digests={**options.digests, self.plan.dataset: self.plan.digest},
            memory=options.memory or int(0.9 * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / self.slots),
            checkpoint_every=options.checkpoint_every,
            revision=self.revision | {"plugins": self._code(trial)},
        )

    def _code(self, trial: Trial) -> dict[str, Any]:
        """Return what the trial's plugins are: their origins and the checksums of their files and weights."""
        told: dict[str, Any] = {}
        for name, settings in self._plugins_of(trial):
            told |= self._plugins.told(name, settings)
        weights = next((row.weight_files for row in self.plan.rows if row.title == trial.row), {})
        return told | ({trial.method: {**told[trial.method], "weights": dict(weights)}} if weights else {})

    @cached_property
    def _plugins(self) -> Plugins:
        return self.options.plugins or survey_plugins(self.options.plugin_files)

    def _plugins_of(self, trial: Trial) -> list[tuple[str, dict[str, Setting]]]:
        """Return the names and settings of the trial's method and attacks."""
        attacks = [trial.condition, *(cell.attack for cell in trial.cells)]
        return [(trial.method, trial.settings), *((one.name, one.settings) for one in attacks if one)]

    def _sources(self, trial: Trial) -> tuple[Source, ...]:
        """Return where the trial's method and attacks come from: a broken plugin of another row is none of these."""
        if self.options.plugins is None:
            return tuple(sources(self.options.plugin_files))
        named = self._plugins_of(trial)
        found = (source for name, settings in named for source in self.options.plugins.sources(name, settings))
        return tuple(dict.fromkeys(found))


def _devices(options: Options) -> list[str]:
    """Return the device of each slot: one per GPU, or one per core."""
    cuda = torch.cuda.device_count() if options.device != "cpu" and torch.cuda.is_available() else 0
    if options.device == "cuda" and not cuda:
        raise UsageError("device 'cuda' was asked for, but torch sees none here; use --device auto or cpu")
    devices = [f"cuda:{index}" for index in range(cuda)] or ["cpu"] * len(os.sched_getaffinity(0))
    jobs = options.jobs or len(devices)
    return [devices[slot % len(devices)] for slot in range(jobs)]
