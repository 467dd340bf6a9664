"""Identities: what changes a cell's key, and what must not."""

import json
from pathlib import Path

import pytest

from gfp_bench.data.dataset import load_dataset
from gfp_bench.data.manifest import Manifest
from gfp_bench.engine.plan import Plan, make_plan, plan_from_json, plan_to_json
from gfp_bench.errors import UsageError
from gfp_bench.protocols.protocol import AttackUse, Ladder, Protocol, load_protocol
from gfp_bench.registry.discovery import Plugins, load_plugins


@pytest.fixture(scope="module")
def plugins() -> Plugins:
    return load_plugins()


@pytest.fixture
def protocol() -> Protocol:
    return load_protocol("attribution@0")


def keys(plan: Plan, method: str = "knn") -> dict[tuple[str, str, int], str]:
    return {
        (trial.condition_name, cell.name, trial.seed): cell.key
        for trial in plan.trials
        if trial.method == method
        for cell in trial.cells
    }


def test_cells_of_the_protocol(toy: Manifest, protocol: Protocol, plugins: Plugins) -> None:
    found = keys(make_plan(toy, protocol, [("knn", {})], plugins))
    attacks = ["noise", "blur", "crop", "jpeg"]
    clean = [("clean", cell, 0) for cell in ["clean", *attacks]]
    immunised = [(attack, cell, 0) for attack in attacks for cell in (attack, "clean")]
    assert set(found) == {*clean, *immunised}
    assert len(set(found.values())) == 13


def test_floors_are_always_planned_and_stochastic_methods_have_every_seed(
    toy: Manifest, protocol: Protocol, plugins: Plugins
) -> None:
    plan = make_plan(toy, protocol, [("knn", {})], plugins)
    assert [row.method for row in plan.rows] == ["chance", "majority", "octaves", "thumbnail", "knn"]
    seeds = {row.method: {t.seed for t in plan.trials if t.method == row.method} for row in plan.rows}
    assert seeds == {"chance": {0, 1, 2}, "majority": {0}, "octaves": {0}, "thumbnail": {0}, "knn": {0}}


def test_what_else_is_planned_changes_no_key(toy: Manifest, protocol: Protocol, plugins: Plugins) -> None:
    alone = keys(make_plan(toy, protocol, [("knn", {})], plugins))
    others = make_plan(toy, protocol, [("durall20", {}), ("mccloskey18", {}), ("knn", {})], plugins)
    assert keys(others) == alone
    spelt_out = dict(next(row for row in others.rows if row.method == "knn").settings)
    assert keys(make_plan(toy, protocol, [("knn", spelt_out)], plugins)) == alone


def test_a_later_version_reuses_what_did_not_change(toy: Manifest, protocol: Protocol, plugins: Plugins) -> None:
    later = protocol.model_copy(update={"version": 9, "attacks": (*protocol.attacks[:2], AttackUse(name="crop"))})
    old = keys(make_plan(toy, protocol, [("knn", {})], plugins))
    new = keys(make_plan(toy, later, [("knn", {})], plugins))
    assert new.items() <= old.items()


def test_attribution_1_reuses_the_cells_of_the_draft(toy: Manifest, protocol: Protocol, plugins: Plugins) -> None:
    old = make_plan(toy, protocol, [("knn", {})], plugins)
    new = make_plan(toy, load_protocol("attribution@1"), [("knn", {})], plugins)
    for method in ("knn", "chance"):
        assert keys(old, method).items() < keys(new, method).items()
    folders = {trial.key: trial.folder for trial in old.trials}
    assert folders.items() < {trial.key: trial.folder for trial in new.trials}.items()


def test_a_ladder_is_attacked_only(toy: Manifest, plugins: Plugins) -> None:
    plan = make_plan(toy, load_protocol("robustness@1"), [("knn", {})], plugins)
    assert {trial.condition for trial in plan.trials} == {None}
    found = keys(plan)
    assert len(found) == len(set(found.values())) == 31
    assert plan_from_json(json.loads(json.dumps(plan_to_json(plan)))) == plan


@pytest.mark.parametrize(
    ("ladder", "message"),
    [
        ({"severities": (90, 0)}, r"setting 'high' of 'jpeg' got 0, expected int from 1 to 100"),
        ({"severities": (90.5,)}, r"setting 'high' of 'jpeg' got 90\.5, expected int"),
        ({"vary": ("quality",)}, "unknown jpeg setting 'quality'"),
        ({"name": "jpg"}, "unknown attack 'jpg'; did you mean 'jpeg'"),
    ],
)
def test_a_severity_that_does_not_exist_is_refused(
    toy: Manifest, protocol: Protocol, plugins: Plugins, ladder: dict, message: str
) -> None:
    jpeg = Ladder(name="jpeg", vary=("low", "high"), severities=(90, 50), axis="quality")
    wrong = protocol.model_copy(update={"ladders": (jpeg.model_copy(update=ladder),), "immunise": False})
    with pytest.raises(UsageError, match=message):
        make_plan(toy, wrong, [("knn", {})], plugins)


def test_steps_of_a_ladder_have_the_same_draws(toy: Manifest, cache: Path, plugins: Plugins) -> None:
    test = load_dataset(toy.file, cache=cache).split("test")
    mild, harsh = (
        test.perturbed(plugins.attack("noise")(low=s, high=s, interpretation="std"), seed=0).images.double()
        - test.images
        for s in (5.0, 10.0)
    )
    inside = (test.images > 60) & (test.images < 190)  # where nothing is clipped
    assert (harsh - 2 * mild)[inside].abs().max() <= 1.5  # each is rounded


@pytest.mark.parametrize("field", [{"attack_seed": 5}, {"batch_size": 7}])
def test_what_bears_on_a_cell_changes_its_key(
    toy: Manifest, protocol: Protocol, plugins: Plugins, field: dict[str, int]
) -> None:
    old = keys(make_plan(toy, protocol, [("knn", {})], plugins))
    new = keys(make_plan(toy, protocol.model_copy(update=field), [("knn", {})], plugins))
    assert old["clean", "noise", 0] != new["clean", "noise", 0]
    assert (old["clean", "clean", 0] == new["clean", "clean", 0]) == ("attack_seed" in field)


def test_version_settings_and_data_change_keys(toy: Manifest, protocol: Protocol, plugins: Plugins) -> None:
    old = keys(make_plan(toy, protocol, [("knn", {})], plugins))["clean", "clean", 0]
    assert old != keys(make_plan(toy, protocol, [("knn", {"k": 3})], plugins))["clean", "clean", 0]
    assert old != keys(make_plan(toy, protocol, [("knn", {})], plugins, limit=4))["clean", "clean", 0]
    other = toy.model_copy(update={"index": "0" * 64})
    assert old != keys(make_plan(other, protocol, [("knn", {})], plugins))["clean", "clean", 0]


def test_attack_settings_change_the_keys_of_their_column_only(
    toy: Manifest, protocol: Protocol, plugins: Plugins
) -> None:
    first = AttackUse(name="noise", settings={"low": 1.0})
    changed = protocol.model_copy(update={"attacks": (first, *protocol.attacks[1:])})
    old = keys(make_plan(toy, protocol, [("knn", {})], plugins))
    new = keys(make_plan(toy, changed, [("knn", {})], plugins))
    assert {place for place in old if old[place] != new[place]} == {
        ("clean", "noise", 0), ("noise", "noise", 0), ("noise", "clean", 0),
    }  # fmt: skip


def test_a_plan_survives_json(toy: Manifest, protocol: Protocol, plugins: Plugins) -> None:
    plan = make_plan(toy, protocol, [("knn", {"k": 3})], plugins, limit=4)
    assert plan_from_json(json.loads(json.dumps(plan_to_json(plan)))) == plan


def test_the_same_method_twice_is_one_row(toy: Manifest, protocol: Protocol, plugins: Plugins) -> None:
    once = make_plan(toy, protocol, [("knn", {})], plugins)
    assert make_plan(toy, protocol, [("knn", {}), ("knn", {"k": 5})], plugins) == once


@pytest.mark.parametrize(
    ("methods", "message"),
    [
        ([("durall", {})], "unknown method 'durall'; did you mean 'durall20'"),
        ([("knn", {"kk": 3})], "unknown knn setting 'kk'; did you mean 'k'"),
    ],
)
def test_unknown_names_get_their_nearest_matches(
    toy: Manifest, protocol: Protocol, plugins: Plugins, methods: list, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        make_plan(toy, protocol, methods, plugins)


def test_an_attack_out_of_range_is_refused_before_anything_runs(
    toy: Manifest, protocol: Protocol, plugins: Plugins
) -> None:
    wrong = protocol.model_copy(update={"attacks": (AttackUse(name="jpeg", settings={"low": 500}),)})
    with pytest.raises(UsageError, match="500"):
        make_plan(toy, wrong, [("knn", {})], plugins)


def test_a_row_says_what_immunising_it_means(toy: Manifest, protocol: Protocol, plugins: Plugins) -> None:
    methods = [("knn", {}), ("yu19", {}), ("yu19", {"budget": "smoke"}), ("manifpt", {})]
    made = {limit: make_plan(toy, protocol, methods, plugins, limit=limit) for limit in (None, 2)}
    images = toy.splits["train"]
    assert {row.title: row.immunisation for row in made[None].rows} == {
        "chance": "refit", "majority": "refit", "octaves": "refit", "thumbnail": "refit", "knn": "refit",
        "yu19": f"fine-tuned, {2 * -(-images // 32)} updates",
        "yu19[budget=smoke]": f"fine-tuned, {min(-(-images // 32), 6)} updates",
        "manifpt": f"fine-tuned, {2 * -(-images // 36)} updates",
    }  # fmt: skip
    assert {row.title: row.immunisation for row in made[2].rows}["yu19"] == "fine-tuned, 2 updates"


def test_plans_of_before_stay_readable(toy: Manifest, plugins: Plugins) -> None:
    plan = make_plan(toy, load_protocol("attribution@1"), [("knn", {})], plugins)
    stored = json.loads(json.dumps(plan_to_json(plan)))
    notes = {cell["attack"]["name"]: cell["attack"].pop("note") for trial in stored["trials"]
             for cell in trial["cells"] if cell["attack"]}  # fmt: skip
    assert {name for name, note in notes.items() if note == "synthetic"} == {"relight"}
    for row in stored["rows"]:
        del row["immunisation"]
    read = plan_from_json(stored)
    assert {row.immunisation for row in read.rows} == {""}
    assert keys(read) == keys(plan)
