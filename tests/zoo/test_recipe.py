from pathlib import Path

import pytest

from gfp_bench.contracts.settings import resolved_settings
from gfp_bench.data.manifest import list_manifests
from gfp_bench.errors import UsageError
from gfp_bench.registry.discovery import load_plugins
from gfp_bench.zoo.recipe import Recipe, load_recipe, recipe_names
from gfp_bench.zoo.training import parse_generator

DOCUMENT = """
schema_version = 1
name = "mine"
description = "Two dice."
licence = "CC0-1.0"
side = 32
pool = "toy"
images = { train = 6, val = 2, test = 3 }
surplus = 2

[sources]
one = { generator = "dice", steps = 5 }
two = { generator = "dice[burst=0]", steps = 5, seed = 1, pool = { images = 8, replaced = 4 } }
given = { generator = "dice:models/dice" }
"""


def written(folder: Path, text: str) -> str:
    file = folder / "mine.toml"
    file.write_text(text)
    return str(file)


def test_recipe_of_ones_own(tmp_path: Path) -> None:
    recipe = load_recipe(written(tmp_path, DOCUMENT))
    assert list(recipe.sources) == ["one", "two", "given"]
    assert recipe.images.model_dump() == {"train": 6, "val": 2, "test": 3}
    assert recipe.sources["one"].pool is None
    assert recipe.sources["two"].pool is not None
    assert recipe.sources["two"].pool.replaced == 4
    assert recipe.sources["given"].steps is None
    assert Recipe.model_validate(recipe.model_dump()) == recipe


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("surplus = 2", "surpluss = 2", "unknown key 'surpluss'; did you mean 'surplus'"),
        ("steps = 5 }\ntwo", "step = 5 }\ntwo", "unknown key 'sources.one.step'; did you mean 'sources.one.steps'"),
        ("replaced = 4", "replace = 4", "'sources.two.pool.replace'; did you mean 'sources.two.pool.replaced'"),
        ("test = 3", "tests = 3", "key 'images.test' is missing; add it; unknown key 'images.tests'; did you mean"),
        ('licence = "CC0-1.0"', "", "key 'licence' is missing; add it"),
        ("side = 32", "side = 0", "side = 0: input should be greater than or equal to 8"),
        ("side = 32", 'side = "32"', "side = '32': input should be a valid integer"),
        ("surplus = 2", "surplus = 0", "surplus = 0"),
        ("surplus = 2", "apart = 0", "apart = 0"),
        ("val = 2", "val = 1", "images.val = 1: input should be greater than or equal to 2"),
        ("steps = 5 }", "steps = 0 }", "sources.one.steps = 0"),
        ("one = {", "real = {", "a source is called 'real', which is what no model made; rename it"),
        ("one = {", '"a b" = {', "sources.a b"),
        ("replaced = 4", "replaced = 9", "9 images are replaced of 8, expected at most as many as `images`"),
        ("schema_version = 1", "schema_version = 2", "schema_version = 2"),
        ("dice:models/dice", 'dice:models/dice", seed = 3, pool = { images = 1 }, x = "', "'sources.given.x'"),
        ('models/dice" }', 'models/dice", seed = 3 }', "a source without steps is not trained"),
        ("side = 32", "side = ", "is no TOML file"),
        ("surplus = 2", 'format = "jpeg"', "format = 'jpeg': input should be 'png' or 'webp'"),
        ("surplus = 2", "real = { train = 6, val = 2 }", "key 'real.test' is missing"),
        ("steps = 5 }", "steps = 5, truncation = 0 }", "sources.one.truncation = 0"),
        ('dice:models/dice"', 'dice", unseen = 1', "sources.given.unseen = 1"),
        (
            'generator = "dice:models/dice"',
            "",
            "a source has neither `generator` nor `weights_of` nor",
        ),
        (
            'generator = "dice:models/dice"',
            'probe_of = "on"',
            "given.probe_of: unknown trained source 'on'; did you",
        ),
        ('generator = "dice:models/dice"', 'weights_of = "on"', "given.weights_of: unknown trained source 'on'"),
        (
            'generator = "dice:models/dice"',
            'probe_of = "one", steps = 3',
            "trained as 'one' is, so it has no steps",
        ),
        ('generator = "dice:models/dice"', 'weights_of = "one", seed = 3', "it has no seed of its own; remove them"),
        ('generator = "dice:models/dice"', 'weights_of = "one", probe_of = "two"', "expected at most one of them"),
        ('generator = "dice:models/dice"', 'probe_of = "two", unseen = true', "is of a family that is learnt; remove"),
        ("images = 8, replaced = 4", "groups = [3, 3]", "groups = [3, 3], expected the first group, from 0, and one"),
        ("images = 8, replaced = 4", "groups = [3]", "sources.two.pool.groups"),
        ("images = 8, replaced = 4", "replaced = 4", "4 images are replaced of all"),
    ],
)
def test_wrong_document_is_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in DOCUMENT
    with pytest.raises(UsageError) as caught:
        load_recipe(written(tmp_path, DOCUMENT.replace(old, new, 1)))
    assert message in str(caught.value)
    assert "mine.toml" in str(caught.value)


def test_trainings_are_those_of_the_family(tmp_path: Path) -> None:
    more = """probe = { probe_of = "two" }
third = { probe_of = "two", instance = 2, truncation = 0.5 }
same = { weights_of = "third-less" }
"""
    recipe = load_recipe(written(tmp_path, DOCUMENT + more.replace("third-less", "two")))
    two, probe, third, same = (recipe.training(name) for name in ("two", "probe", "third", "same"))
    assert (two.seed, probe.seed, third.seed) == (1, None, None)
    assert [(source.probe_of, source.instance) for source in (two, probe, third)] == [
        ("two", 0),
        ("two", 1),
        ("two", 2),
    ]
    assert len({(source.generator, source.steps, source.pool) for source in (two, probe, third)}) == 1
    assert same == two
    assert recipe.counts("probe") == {"test": 3}
    assert recipe.counts("same") == recipe.counts("real") == {"train": 6, "val": 2, "test": 3}
    unseen = load_recipe(written(tmp_path, DOCUMENT.replace("steps = 5 }", "steps = 5, unseen = true }")))
    assert unseen.counts("one") == {"test": 3}
    with pytest.raises(UsageError, match=r"same.probe_of = 'one', which is not learnt itself; name a source that is"):
        text = DOCUMENT.replace("steps = 5 }", "steps = 5, unseen = true }") + 'same = { probe_of = "one" }'
        load_recipe(written(tmp_path, text))


@pytest.mark.parametrize(
    ("one", "two", "message"),
    [
        ("[0, 4]", "[4, 9]", None),
        ("[0, 4]", "[0, 4]", None),
        ("[0, 4]", "[3, 9]", "groups of sources 'a' and 'b' overlap from 3 to 4"),
        ("[3, 9]", "[0, 20]", "groups of sources 'a' and 'b' overlap from 3 to 9"),
        ("[0, 4]", "[0, 5]", "groups of sources 'a' and 'b' overlap from 0 to 4"),
        ("[0, 4]", "[4, 9], seed = 1", "shuffled with the seeds 0 and 1, which may overlap; give them one seed"),
    ],
)
def test_parts_by_groups_are_the_same_or_disjoint(tmp_path: Path, one: str, two: str, message: str | None) -> None:
    more = f"""a = {{ generator = "dice", steps = 5, pool = {{ groups = {one} }} }}
b = {{ generator = "dice", steps = 5, pool = {{ groups = {two} }} }}
"""
    if message is None:
        load_recipe(written(tmp_path, DOCUMENT + more))
        return
    with pytest.raises(UsageError) as caught:
        load_recipe(written(tmp_path, DOCUMENT + more))
    assert message in str(caught.value)


def test_table_of_photographs_is_looked_for_from_the_recipe(tmp_path: Path) -> None:
    recipe = load_recipe(written(tmp_path, DOCUMENT.replace('pool = "toy"', 'pool = "../scenes.csv"')))
    assert recipe.pool == str(tmp_path.parent / "scenes.csv")


def test_unknown_recipe_gets_its_nearest_matches() -> None:
    with pytest.raises(UsageError, match=r"unknown recipe 'gm-photo'; did you mean .*'gm-photo64'"):
        load_recipe("gm-photo")
    with pytest.raises(UsageError, match=r"missing\.toml cannot be read: No such file"):
        load_recipe("missing.toml")


def test_built_in_recipes_are_no_datasets() -> None:
    names = {
        "gm-photo64",
        "gm-photo64-seeds",
        "gm-photo64-subsets",
        "gm-photo64-upsampling",
        "gm-scenes64",
        "photo-mini",
    }
    assert names <= set(recipe_names())
    assert not {name for name in names if name in list_manifests()} - {"photo-mini", "gm-photo64", "gm-scenes64"}
    assert "recipes" not in list_manifests()


@pytest.mark.parametrize("name", recipe_names())
def test_built_in_recipe_has_its_name_and_generators_that_take_their_settings(name: str) -> None:
    recipe, plugins = load_recipe(name), load_plugins()
    assert recipe.name == name
    for source in recipe.sources:
        plain, given = parse_generator(recipe.training(source).generator)
        assert resolved_settings(plugins.generator(plain), given)


def test_controlled_sets_vary_one_thing() -> None:
    seeds = load_recipe("gm-photo64-seeds").sources.values()
    assert len({source.seed for source in seeds}) == len(seeds) == 10
    assert len({(source.generator, source.steps, source.pool) for source in seeds}) == 1
    subsets = load_recipe("gm-photo64-subsets").sources.values()
    assert len({(source.generator, source.steps, source.seed) for source in subsets}) == 1
    parts = [source.pool for source in subsets if source.pool is not None]
    assert [part.replaced / part.images for part in parts] == [0, 1 / 3000, 0.1, 0.5, 1]
    upsampling = load_recipe("gm-photo64-upsampling").sources.values()
    assert len({(source.steps, source.seed, source.pool) for source in upsampling}) == 1
