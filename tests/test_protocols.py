import pytest

from gfp_bench.errors import UsageError
from gfp_bench.protocols import Protocol, load_default, load_protocol, protocol_names

DOCUMENT = """
schema = 1
name = "mine"
version = 3
task = "attribution"
description = "One attack, twice."
attack_seed = 7
seeds = [0]
attacks = [{ name = "jpeg" }, { name = "jpeg", label = "jpeg-10", settings = { low = 10, high = 10 } }]
"""


def test_built_in_protocols_load() -> None:
    for name in protocol_names():
        assert load_protocol(name).id == name


def test_the_default_names_what_exists() -> None:
    assert load_default().protocol in protocol_names()


def test_a_protocol_of_ones_own(tmp_path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(DOCUMENT)
    protocol = load_protocol(str(path))
    assert [attack.label for attack in protocol.attacks] == ["jpeg", "jpeg-10"]
    assert protocol.id == "mine@3"
    assert Protocol.model_validate(protocol.model_dump(by_alias=True)) == protocol


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("seeds = [0]", "seeds = []", "seeds got []"),
        ('label = "jpeg-10", ', "", "'jpeg' stands twice"),
        ("schema = 1", "schema = 2", "schema got 2"),
        ('task = "attribution"', 'task = "attribution"\ntypo = 1', "typo got 1"),
        ("version = 3", "version = ", "no valid TOML"),
    ],
)
def test_a_wrong_document_is_refused(tmp_path, old: str, new: str, message: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(DOCUMENT.replace(old, new))
    with pytest.raises(UsageError) as caught:
        load_protocol(str(path))
    assert message in str(caught.value)
    assert "mine.toml" in str(caught.value)


def test_an_unknown_protocol_gets_its_nearest_matches() -> None:
    with pytest.raises(UsageError, match="unknown protocol 'atribution@0'; did you mean 'attribution@0'"):
        load_protocol("atribution@0")
    with pytest.raises(UsageError, match=r"missing\.toml cannot be read"):
        load_protocol("missing.toml")
