"""The engine, fault by fault: each guarantee of a run, with real processes."""

import os
import shutil
import signal
import socket
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from places import SUPPORT

from gfp_bench.contracts.settings import Setting
from gfp_bench.data.manifest import Manifest, read_manifest
from gfp_bench.engine.channel import Channel
from gfp_bench.engine.events import CellDone, CellsFailed, RunEvent, TrialBusy, TrialProgress, TrialStarted
from gfp_bench.engine.forking import server_pid
from gfp_bench.engine.plan import Plan, make_plan
from gfp_bench.engine.records import Store
from gfp_bench.engine.remote import FallenError, Worker
from gfp_bench.engine.runner import Options, debug, run
from gfp_bench.errors import MachineError, UsageError
from gfp_bench.protocols.protocol import AttackUse, load_protocol
from gfp_bench.registry.discovery import load_plugins, sources
from gfp_bench.registry.plugins import Plugins

FAULTS = SUPPORT / "faults.py"
PROTOCOL = load_protocol("attribution@0").model_copy(update={"attacks": (AttackUse(name="noise"),), "seeds": (0,)})


@pytest.fixture(scope="module")
def plugins() -> Plugins:
    return load_plugins([FAULTS])


@pytest.fixture
def options(toy: Manifest, cache: Path, tmp_path: Path) -> Options:
    return Options(
        manifests={toy.name: toy.file},
        cache=cache,
        results=tmp_path / "results",
        device="cpu",
        plugin_files=(FAULTS,),
        checkpoint_every=0.0,
    )


@pytest.fixture
def planned(toy: Manifest, plugins: Plugins) -> Callable[..., Plan]:
    """Plans without the floors, which these tests do not need."""

    def plan(*names: str, protocol: object = PROTOCOL, limit: int | None = None, **settings: Setting) -> Plan:
        made = make_plan(toy, protocol, [(name, settings) for name in names], plugins, limit=limit)
        return replace(made, trials=tuple(trial for trial in made.trials if trial.method in names))

    return plan


def executed(plan: Plan, options: Options) -> list[RunEvent]:
    events: list[RunEvent] = []
    run(plan, options, events.append)
    return events


def kinds(events: Sequence[RunEvent]) -> list[type]:
    return [type(event) for event in events if not isinstance(event, TrialProgress)]


def reasons(plan: Plan, options: Options) -> list[str]:
    store = Store(options.results)
    found = [store.failure(trial, cell) for trial in plan.trials for cell in trial.cells]
    return [failure.reason for failure in found if failure]


def test_runs_every_cell_once_and_a_second_run_nothing(planned: Callable[..., Plan], options: Options) -> None:
    plan = planned("brightness")
    assert kinds(executed(plan, options)).count(CellDone) == 4  # clean and noise, each clean and immunised
    store = Store(options.results)
    records = [store.record(trial, cell) for trial in plan.trials for cell in trial.cells]
    assert [record.metrics["balanced_accuracy"] for record in records if record] == [1.0] * 4
    assert [record.n_scored for record in records if record] == [24] * 4
    assert executed(plan, options) == []
    assert not list(options.results.rglob("state*")), "fitted states are deleted with their last cell"


def test_equal_runs_leave_equal_bytes(planned: Callable[..., Plan], options: Options, tmp_path: Path) -> None:
    plan = planned("steps")
    again = replace(options, results=tmp_path / "again", jobs=1)
    executed(plan, options)
    executed(plan, again)
    assert files(options.results) == files(again.results)


def files(root: Path) -> dict[str, bytes]:
    """Everything that tells results; times and logs do not."""
    found = (path for path in root.rglob("*") if path.suffix in (".json", ".npz"))
    return {str(path.relative_to(root)): path.read_bytes() for path in found}


@pytest.mark.parametrize(
    ("method", "reason"),
    [
        ("raises", "RuntimeError: no fit today"),
        ("exits", "exited with code 3 before it was done"),
        ("quits", "SystemExit: 0"),
        ("crashes", "killed by SIGSEGV"),
        ("loads-with-workers", "images of an ImageSet were wanted in a process that the method started"),
        ("not-finite", "method 'not-finite' returned scores that are not finite for 24 of 24 images, expected numbers"),
        ("wrong-shape", "returned scores of shape (24, 2) and torch.float32, expected (24, 3)"),
        ("writes-to-input", "method 'writes-to-input' changed the images it was given in scores; work on a copy"),
    ],
)
def test_a_broken_method_fails_and_the_others_go_on(
    planned: Callable[..., Plan], options: Options, method: str, reason: str
) -> None:
    plan = planned(method, "brightness", protocol=PROTOCOL.model_copy(update={"attacks": ()}))
    events = executed(plan, options)
    assert kinds(events).count(CellsFailed) == 1
    assert kinds(events).count(CellDone) == 1
    assert reason in reasons(plan, options)[0]
    assert kinds(executed(plan, options)) == [], "failed cells stay failed"
    assert CellsFailed in kinds(executed(plan, replace(options, retry_failed=True))), "until they are asked for"


def test_a_failed_fit_is_tried_once_and_its_immunised_cells_are_left(
    planned: Callable[..., Plan], options: Options
) -> None:
    plan = planned("raises")
    assert kinds(executed(plan, options)) == [TrialStarted, CellsFailed]
    assert len(reasons(plan, options)) == 2


def test_a_clean_fit_that_fails_when_repeated_is_no_silence(
    planned: Callable[..., Plan], options: Options, tmp_path: Path
) -> None:
    plan = planned("fits-once", mark=str(tmp_path / "mark"))
    clean = replace(plan, trials=plan.trials[:1])
    executed(clean, options)  # leaves no state behind, since nothing waits for it
    (tmp_path / "mark").write_text("")
    assert kinds(executed(plan, options)) == [TrialStarted, CellsFailed]
    assert reasons(plan, options) == ["clean, fitted again: RuntimeError: not again"] * 2


def test_a_process_that_dies_before_its_first_step_fails_its_cells(
    planned: Callable[..., Plan], options: Options
) -> None:
    plan = planned("brightness", protocol=PROTOCOL.model_copy(update={"attacks": ()}))
    broken = options.results.parent / "broken.py"
    broken.write_text("import os\nos._exit(5)\n")
    executed(plan, replace(options, plugin_files=(FAULTS, broken)))
    assert reasons(plan, options) == ["exited with code 5 before it was done"]


def test_a_failed_cell_does_not_take_the_others_of_its_trial(planned: Callable[..., Plan], options: Options) -> None:
    plan = planned("raises-once", protocol=PROTOCOL.model_copy(update={"immunise": False}))
    events = executed(plan, options)
    ended = [event for event in events if isinstance(event, CellsFailed | CellDone)]
    assert [(type(event), event.cells if isinstance(event, CellsFailed) else event.cell) for event in ended] == [
        (CellsFailed, ("clean",)),
        (CellDone, "noise"),
    ]


@pytest.mark.parametrize(("method", "limit"), [("hangs", "idle_timeout"), ("slow", "timeout")])
def test_limits_end_a_trial(planned: Callable[..., Plan], options: Options, method: str, limit: str) -> None:
    plan = planned(method, protocol=PROTOCOL.model_copy(update={"attacks": ()}))
    events = executed(plan, replace(options, **{limit: 2.0}))
    assert kinds(events) == [TrialStarted, CellsFailed]
    assert f"--{limit.replace('_', '-')}" in reasons(plan, options)[0]


def test_memory_is_bounded(planned: Callable[..., Plan], options: Options) -> None:
    plan = planned("eats", protocol=PROTOCOL.model_copy(update={"attacks": ()}))
    executed(plan, replace(options, memory=3 * 10**9))
    assert "MemoryError" in reasons(plan, options)[0]


def test_a_gigabyte_of_output_is_cut(planned: Callable[..., Plan], options: Options) -> None:
    plan = planned("prints", protocol=PROTOCOL.model_copy(update={"attacks": ()}))
    assert CellDone in kinds(executed(plan, options))
    log = Store(options.results).path(plan.trials[0], "log").read_text()
    assert len(log) < 2_000_000
    assert "bytes left out" in log
    assert log.endswith("the last word\n")


def test_a_skipping_method_is_planned_and_not_run(planned: Callable[..., Plan], options: Options) -> None:
    plan = planned("skips")
    assert executed(plan, options) == []
    assert {trial.skip for trial in plan.trials} == {"wants larger images"}


def test_a_folder_that_cannot_be_written(planned: Callable[..., Plan], options: Options, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        executed(planned("brightness"), replace(options, results=tmp_path / "file" / "results"))


@pytest.mark.gpu
def test_a_gpu_gives_what_the_cpu_gives(planned: Callable[..., Plan], options: Options, tmp_path: Path) -> None:
    plan = planned("brightness")
    gpu = replace(options, device="cuda", results=tmp_path / "gpu")
    executed(plan, options)
    executed(plan, gpu)
    for trial in plan.trials:
        for cell in trial.cells:
            first, second = (Store(each.results).record(trial, cell) for each in (options, gpu))
            assert first is not None
            assert second is not None
            assert first.metrics == second.metrics
            assert second.provenance["device"] != "cpu"


CLEAN = PROTOCOL.model_copy(update={"attacks": ()})


def test_a_fork_server_that_is_killed_is_launched_again(planned: Callable[..., Plan], options: Options) -> None:
    plan = planned("steps", protocol=CLEAN, pause=0.05)
    killed: list[int] = []

    def kill(event: RunEvent) -> None:
        server = server_pid()
        if isinstance(event, TrialProgress) and not killed and server:
            os.kill(server, signal.SIGKILL)
            killed.append(server)

    run(plan, replace(options, jobs=2, idle_timeout=60.0), kill)
    assert killed
    assert reasons(plan, options) == []
    store = Store(options.results)
    assert all(store.record(trial, cell) for trial in plan.trials for cell in trial.cells)


def test_who_says_that_the_disk_is_full_while_there_is_room_fails_alone(
    planned: Callable[..., Plan], options: Options
) -> None:
    plan = planned("disk-full", "brightness", protocol=CLEAN)
    assert CellDone in kinds(executed(plan, options))
    (reason,) = reasons(plan, options)
    assert reason.startswith("OSError: [Errno 28] No space left on device")


@pytest.mark.parametrize(("room", "error"), [(True, FallenError), (False, MachineError)])
def test_a_full_disk_is_nobodys_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: bool, error: type
) -> None:
    ours, theirs = socket.socketpair()
    worker = object.__new__(Worker)  # without the process: what it says comes from here
    worker._channel, worker._folder = Channel(ours), tmp_path
    Channel(theirs).send({"say": "failed", "reason": "OSError: no space", "machine": True})
    monkeypatch.setattr("gfp_bench.engine.remote.has_room", lambda folder: room)
    with pytest.raises(error, match="OSError: no space"):
        worker.receive()
    ours.close()
    theirs.close()


def test_a_plugin_that_blames_the_machine_is_to_blame(planned: Callable[..., Plan], options: Options) -> None:
    plan = planned("blames-the-machine", "brightness", protocol=CLEAN)
    assert CellDone in kinds(executed(plan, options))
    assert reasons(plan, options) == ["no space is left, believe me"]


@pytest.mark.parametrize("what", ["image", "index", "view", "plugin"])
def test_a_dataset_or_a_plugin_that_changed_since_the_plan_stops_the_run(
    toy: Manifest, plugins: Plugins, options: Options, tmp_path: Path, what: str
) -> None:
    for file in (toy.file, toy.index_file, FAULTS):
        shutil.copy(file, tmp_path / file.name)
    shutil.copytree(toy.root, tmp_path / "toy")
    manifest = read_manifest(tmp_path / "toy.toml")
    made = make_plan(manifest, CLEAN, [("brightness", {})], plugins)
    plan = replace(made, trials=tuple(trial for trial in made.trials if trial.method == "brightness"))
    changed = {
        "image": tmp_path / "toy" / "test" / "real" / "3.png",
        "index": manifest.index_file,
        "view": manifest.file,
        "plugin": tmp_path / FAULTS.name,
    }[what]
    kept, (*_, source) = changed.read_bytes(), sources([tmp_path / FAULTS.name])
    if what == "view":
        changed.write_text(kept.decode().replace("[view]\n", "[view]\nconvert = true\n"))
    else:
        changed.unlink()
    here = replace(
        options,
        manifests={toy.name: manifest.file},
        cache=tmp_path / "cache",
        plugin_files=(),
        plugins=Plugins([replace(plugins.entry("brightness"), source=source)]),
    )
    word = {
        "image": "real/3.png: cannot be read",
        "index": "toy.parquet cannot be read",
        "view": "but the run was planned",
    }
    with pytest.raises(MachineError, match=word.get(what, "faults.py is gone")):
        executed(plan, here)
    assert not [*options.results.rglob("*.failed.json"), *options.results.rglob("clean-*.npz")]
    changed.write_bytes(kept)
    assert CellDone in kinds(executed(plan, here)), "the same command goes on"


def test_a_failed_save_leaves_nothing(planned: Callable[..., Plan], options: Options) -> None:
    plan = planned("saves-half", protocol=CLEAN)
    left = Store(options.results).path(plan.trials[0], "state.partial")
    left.mkdir(parents=True)
    (left / "old.npy").write_bytes(b"of a killed run")
    torn = left.with_name(".clean-0.npz.1.partial")
    torn.write_bytes(b"likewise")
    executed(plan, options)
    assert reasons(plan, options) == ["RuntimeError: no more"]
    assert not left.exists()
    assert not torn.exists()


def test_cuda_where_there_is_none(
    planned: Callable[..., Plan], options: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(UsageError, match="device 'cuda' was asked for, but torch sees none"):
        executed(planned("brightness"), replace(options, device="cuda"))


def test_two_runs_share_the_work(planned: Callable[..., Plan], options: Options) -> None:
    plan = planned("steps", pause=0.1, protocol=PROTOCOL.model_copy(update={"attacks": ()}))
    with Store(options.results).claim(plan.trials[0]) as holder:
        assert holder is None
        events = executed(plan, options)
    assert kinds(events) == [TrialBusy]
    assert isinstance(events[0], TrialBusy)
    assert "process" in events[0].holder
    assert CellDone in kinds(executed(plan, options))


def test_limited_cells_are_other_cells(planned: Callable[..., Plan]) -> None:
    keys = {cell.key for trial in planned("brightness").trials for cell in trial.cells}
    limited = {cell.key for trial in planned("brightness", limit=4).trials for cell in trial.cells}
    assert len(keys) == len(limited) == 4
    assert not keys & limited


def test_scores_are_kept_in_the_order_of_the_index(
    planned: Callable[..., Plan], options: Options, toy: Manifest
) -> None:
    from gfp_bench.data.dataset import load_dataset

    plan = planned("brightness", protocol=PROTOCOL.model_copy(update={"attacks": ()}))
    executed(plan, options)
    store, trial = Store(options.results), plan.trials[0]
    record = store.record(trial, trial.cells[0])
    assert record is not None
    scores = store.arrays(trial, trial.cells[0], record)["scores"]
    labels = load_dataset(toy.file, cache=options.cache).split("test").labels.numpy()
    np.testing.assert_array_equal(scores.argmax(axis=1), labels)


def test_a_hang_leaves_its_stack_in_the_log(planned: Callable[..., Plan], options: Options) -> None:
    plan = planned("hangs", protocol=PROTOCOL.model_copy(update={"attacks": ()}))
    executed(plan, replace(options, idle_timeout=2.0))
    log = Store(options.results).path(plan.trials[0], "log").read_text()
    assert "Current thread" in log or "Thread 0x" in log
    assert "faults.py" in log and " in fit" in log


def test_a_trial_is_debugged_in_this_process(planned: Callable[..., Plan], options: Options) -> None:
    plan = planned("raises", "brightness")
    with pytest.raises(RuntimeError, match="no fit today"):
        debug(plan, options, lambda event: None)
    assert reasons(plan, options) == [], "nothing is recorded as failed"
    whole = planned("brightness")
    titles = [debug(whole, options, lambda event: None).title for _ in whole.trials]
    assert titles == [trial.title for trial in whole.trials]
    with pytest.raises(UsageError, match="no trial is pending"):
        debug(whole, options, lambda event: None)


def test_protocols_share_cells_and_fits(planned: Callable[..., Plan], options: Options) -> None:
    executed(planned("brightness"), options)
    other = PROTOCOL.model_copy(update={"name": "other", "immunise": False})
    assert executed(planned("brightness", protocol=other), options) == []
    assert Store(options.results).stale(planned("brightness", protocol=other)) == []
