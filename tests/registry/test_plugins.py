import pytest

from gfp_bench.errors import PluginError, UsageError
from gfp_bench.registry.plugins import Broken, Entry, Kind, Plugins


def entry(name: object, kind: Kind = "method", origin: str = "here", version: object = 1) -> Entry:
    return Entry(kind, type("Made", (), {"name": name, "version": version}), origin)


def test_a_name_gives_its_class_and_origin() -> None:
    made = entry("mine", origin="file mine.py")
    plugins = Plugins([made, entry("noise", "attack"), entry("gan", "generator")])
    assert plugins.method("mine") is made.cls
    assert plugins.entry("mine").origin == "file mine.py"
    assert (plugins.methods, plugins.attacks, plugins.generators) == (("mine",), ("noise",), ("gan",))


def test_names_are_sorted() -> None:
    assert Plugins([entry("b"), entry("c"), entry("a")]).methods == ("a", "b", "c")


def test_an_unknown_name_gets_the_nearest_of_its_kind() -> None:
    plugins = Plugins([entry("marra19"), entry("marra18", "attack")])
    with pytest.raises(UsageError, match=r"^unknown method 'mara19'; did you mean 'marra19'.$"):
        plugins.method("mara19")
    with pytest.raises(UsageError, match="unknown generator 'marra19'; known: none"):
        plugins.generator("marra19")


@pytest.mark.parametrize("kind", ["method", "attack"])
def test_two_plugins_of_one_name_are_an_error_that_names_both(kind: Kind) -> None:
    with pytest.raises(PluginError, match=r"two plugins are named 'mine': built-in a and distribution b 1.0;"):
        Plugins([entry("mine", origin="built-in a"), entry("mine", kind, "distribution b 1.0")])


@pytest.mark.parametrize("name", [None, "", "Mine", "my method", "../mine", "mine[k=3]", "-mine"])
def test_a_name_that_a_file_cannot_have_is_refused(name: object) -> None:
    with pytest.raises(PluginError, match=r"class Made has the name .*, expected lower-case"):
        Plugins([entry(name)])


@pytest.mark.parametrize("version", [None, 0, "1", 1.5, True])
def test_a_version_is_a_positive_integer(version: object) -> None:
    with pytest.raises(PluginError, match=r"'mine' has the version .*, expected an integer from 1"):
        Plugins([entry("mine", version=version)])


def test_what_was_set_aside_is_told_to_who_misses_it() -> None:
    plugins = Plugins([], [Broken("nice", "1.2", "distribution nice 1.2 does not load: ImportError: no", "")])
    with pytest.raises(UsageError, match=r"unknown method 'nice'.* list --broken: distribution nice 1.2 does not load"):
        plugins.method("nice")
