"""A plan with plugins that are odd before any image is seen: each costs its own row, and nothing else changes."""

from collections import Counter
from pathlib import Path

import pytest
from odd_plugins import IMPORTED, MADE, odd_method

from gfp_bench.data.manifest import Manifest
from gfp_bench.engine.plan import Plan, make_plan
from gfp_bench.errors import PluginError, UsageError
from gfp_bench.protocols.protocol import AttackUse, load_protocol
from gfp_bench.registry.discovery import survey_plugins
from gfp_bench.registry.plugins import Plugins

PROTOCOL = load_protocol("attribution@0").model_copy(update={"attacks": (AttackUse(name="noise"),)})
SOUND = """def __init__(self, cells: int = 1): self.cells = cells"""
LATE = "threading.Thread(target=lambda: (time.sleep(0.1), register(int))).start(); register(Odd)"


@pytest.fixture(scope="module")
def surveyed(tmp_path_factory: pytest.TempPathFactory) -> Plugins:
    folder = tmp_path_factory.mktemp("odd")
    files = []
    told = {name: code for name, (code, _) in (IMPORTED | MADE).items()}
    told |= {"sound": {"inside": SOUND}, "late-thread": {"register": LATE}}
    for name, code in told.items():
        files.append(folder / f"{name[:20]}.py")
        files[-1].write_text(odd_method(name, **code))
    return survey_plugins(files)


@pytest.fixture(scope="module")
def plan(toy: Manifest, surveyed: Plugins) -> Plan:
    names = [*IMPORTED, *MADE, "sound", "late-thread", "knn"]
    return make_plan(toy, PROTOCOL, [(name, {}) for name in names if len(name) < 60], surveyed)


def test_what_does_not_load_is_set_aside_with_the_reason(surveyed: Plugins) -> None:
    reasons = {Path(broken.distribution).stem: broken.reason for broken in surveyed.broken}
    assert reasons.keys() == {name[:20] for name in IMPORTED}
    assert {name: reason for name, (_, reason) in IMPORTED.items() if reason not in reasons[name[:20]]} == {}
    assert not [reason for reason in reasons.values() if "does not load: " not in reason]


def test_each_is_a_row_that_failed(plan: Plan) -> None:
    skips = {trial.method: (trial.skip or "") for trial in plan.trials if trial.broken}
    told = {name: reason for name, (_, reason) in (IMPORTED | MADE).items() if len(name) < 60}
    assert skips.keys() == told.keys()
    assert {name: skips[name] for name, reason in told.items() if reason not in skips[name]} == {}
    assert not [reason for reason in skips.values() if not reason.isprintable() or len(reason) > 300]


def test_all_others_are_planned_as_without_them(toy: Manifest, plan: Plan) -> None:
    alone = make_plan(toy, PROTOCOL, [("knn", {})], survey_plugins())
    keys = {trial.key for trial in plan.trials if not trial.broken}
    assert keys > {trial.key for trial in alone.trials}
    rows = Counter(trial.method for trial in plan.trials if not trial.broken)
    assert rows.keys() == {"chance", "knn", "late-thread", "majority", "octaves", "sound", "thumbnail"}


def test_a_file_that_hangs_is_set_aside(tmp_path: Path) -> None:
    (tmp_path / "hangs.py").write_text(odd_method("hangs", before="time.sleep(600)"))
    (broken,) = survey_plugins([tmp_path / "hangs.py"], limit=0.5).broken
    assert broken.reason.endswith("hangs.py does not load: it took longer than 0.5 s")


def test_settings_that_do_not_fit_are_the_users_fault(toy: Manifest, surveyed: Plugins) -> None:
    assert make_plan(toy, PROTOCOL, [("sound", {"cells": "4"})], surveyed).rows[-1].settings == {"cells": 4}
    for given, message in (({"cells": "four"}, "'four', expected int"), ({"cell": "4"}, "did you mean 'cells'")):
        with pytest.raises(UsageError, match=message):
            make_plan(toy, PROTOCOL, [("sound", given)], surveyed)


def test_an_unknown_name_is_no_row_where_nothing_is_broken(toy: Manifest, surveyed: Plugins) -> None:
    with pytest.raises(UsageError, match="unknown method 'kn'; did you mean 'knn'"):
        make_plan(toy, PROTOCOL, [("kn", {})], survey_plugins())
    with pytest.raises(UsageError, match=r"unknown method '../x'"):
        make_plan(toy, PROTOCOL, [("../x", {})], surveyed)


def test_an_attack_that_breaks_fails_the_plan_by_name(toy: Manifest, tmp_path: Path) -> None:
    code = "import os\nfrom gfp_bench import Perturbation, hookimpl\n@hookimpl\ndef register_attacks(register):\n"
    code += "    register(Odd)\nclass Odd(Perturbation):\n    name, version = 'odd', 1\n"
    code += "    def __init__(self, low: int = 0): os._exit(low)\n    def perturb(self, images, rng): return images\n"
    (tmp_path / "attack.py").write_text(code)
    plugins = survey_plugins([tmp_path / "attack.py"])
    for use in (AttackUse(name="odd"), AttackUse(name="combination", settings={"steps": "blur odd[probability=0.1]"})):
        named = PROTOCOL.model_copy(update={"attacks": (use,)})
        with pytest.raises(PluginError, match=f"attack '{use.name}' .*: exited with code 0 before it was done"):
            make_plan(toy, named, [("knn", {})], plugins)
