"""Runs one plan again and again in processes of their own, killing each at another point; prints what came of it."""

import json
import os
import sys
from dataclasses import replace
from multiprocessing import forkserver, get_context
from pathlib import Path

import killing  # noqa: F401 - the fork server imports this file too, and with it every process of a run

from gfp_bench.data.manifest import read_manifest
from gfp_bench.engine.events import CellDone, RunEvent
from gfp_bench.engine.plan import Plan, make_plan
from gfp_bench.engine.process import warm_up
from gfp_bench.engine.records import Store
from gfp_bench.engine.runner import Options, run
from gfp_bench.protocols.protocol import AttackUse, load_protocol
from gfp_bench.registry.discovery import load_plugins

HERE = Path(__file__).parent


def plan_of(manifest: Path) -> Plan:
    protocol = load_protocol("attribution@0").model_copy(update={"attacks": (AttackUse(name="noise"),), "seeds": (0,)})
    made = make_plan(read_manifest(manifest), protocol, [("steps", {})], load_plugins([HERE / "faults.py"]))
    return replace(made, trials=tuple(trial for trial in made.trials if trial.method == "steps"))


def attempt(plan: Plan, manifest: Path, cache: Path, results: Path, at: int, when: str, done: Path) -> None:
    """Run the plan, to die at rename ``at`` (never if 0); note the cells that were computed."""
    forkserver._forkserver.ensure_running = lambda: None  # the driver's child; a fork cannot ask whether it lives
    order = {"at": at, "when": when, "runner": os.getpid(), "journal": f"{results}.journal"}
    Path(order["journal"]).write_text("")
    Path(os.environ["KILL_ORDER"]).write_text(json.dumps(order))
    options = Options(
        manifests={plan.dataset: manifest},
        cache=cache,
        results=results,
        jobs=1,
        device="cpu",
        plugin_files=(HERE / "faults.py",),
        checkpoint_every=0.0,
    )

    def note(event: RunEvent) -> None:
        if isinstance(event, CellDone):
            with done.open("a") as file:
                file.write(f"{event.trial.condition_name}/{event.cell}\n")

    run(plan, options, note)


def main(manifest: Path, cache: Path, scratch: Path) -> None:
    plan = plan_of(manifest)
    fork = get_context("fork")
    os.environ["KILL_ORDER"] = str(scratch / "order.json")
    warm_up()  # once, for all attempts

    def run_apart(results: Path, at: int, when: str) -> tuple[int | None, list[str]]:
        done = scratch / "done"
        done.write_text("")
        process = fork.Process(target=attempt, args=(plan, manifest, cache, results, at, when, done))
        process.start()
        process.join()
        return process.exitcode, done.read_text().split()

    undisturbed = scratch / "undisturbed"
    assert run_apart(undisturbed, 0, "")[0] == 0
    renames = Path(f"{undisturbed}.journal").read_text().split()
    for when, name, nth in json.loads(sys.argv[4]):
        places = [place for place, rename in enumerate(renames, 1) if rename.startswith(name)]
        results = scratch / f"{when}-{name}-{nth}"
        killed, _ = run_apart(results, places[nth], when)
        store = Store(results)
        kept = [f"{t.condition_name}/{c.name}" for t in plan.trials for c in t.cells if store.record(t, c)]
        code, computed = run_apart(results, 0, "")
        print(json.dumps({"killed": killed, "code": code, "kept": kept, "computed": computed, "results": str(results)}))


if __name__ == "__main__":
    main(*(Path(argument) for argument in sys.argv[1:4]))
