from importlib.resources import files
from pathlib import Path

import pytest

from gfp_bench.errors import UsageError
from gfp_bench.protocols.protocol import AttackUse, Protocol, load_protocol, protocol_names

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


def test_a_protocol_of_ones_own(tmp_path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(DOCUMENT)
    protocol = load_protocol(str(path))
    assert [attack.label for attack in protocol.attacks] == ["jpeg", "jpeg-10"]
    assert protocol.id == "mine@3"
    assert Protocol.model_validate(protocol.model_dump(by_alias=True)) == protocol


def refused(folder: Path, text: str) -> str:
    """Return what is said of a document that is no protocol."""
    (folder / "mine.toml").write_text(text)
    with pytest.raises(UsageError) as caught:
        load_protocol(str(folder / "mine.toml"))
    return str(caught.value)


LADDERS = (
    DOCUMENT.replace("attacks = [", "immunise = false\nattacks = [")
    + """
[[ladders]]
name = "jpeg"
label = "steps"
settings = { subsampling = "4:4:4" }
vary = ["low", "high"]
axis = "quality"
severities = [90, 10]
"""
)


def test_a_ladder_is_an_attack_at_each_severity(tmp_path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(LADDERS)
    protocol = load_protocol(str(path))
    assert [use.label for use in protocol.all_attacks] == ["jpeg", "jpeg-10", "steps-90", "steps-10"]
    assert protocol.all_attacks[-1] == AttackUse(
        name="jpeg", label="steps-10", settings={"subsampling": "4:4:4", "low": 10, "high": 10}
    )
    assert Protocol.model_validate(protocol.model_dump(by_alias=True, mode="json")) == protocol


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[90, 10]", "[90, 10, 10]", "severities = [90, 10, 10]: expected numbers that only rise"),
        ("[90, 10]", "[50, 90, 30]", "severities = [50, 90, 30]"),
        ("[90, 10]", "[nan, 90]", "only rise or only fall"),
        ("[90, 10]", "[]", "severities = []"),
        ("[90, 10]", '["90", 50]', "= '90'"),
        ("[90, 10]", "[true, 50]", "= True"),
        ('vary = ["low", "high"]', "vary = []", "vary = []"),
        ('subsampling = "4:4:4"', "low = 3", "setting 'low' stands in vary and in settings"),
        ('label = "steps"', 'label = "a b"', "label = 'a b'"),
        (
            "axis",
            "axes",
            "key 'ladders.0.axis' is missing; add it; unknown key 'ladders.0.axes'; did you mean 'ladders.0.axis'",
        ),
        ('label = "steps"', "", "'jpeg-10' stands twice"),
        ("immunise = false", "immunise = true", "set immunise = false"),
    ],
)
def test_a_wrong_ladder_is_refused(tmp_path, old: str, new: str, message: str) -> None:
    told = refused(tmp_path, LADDERS.replace(old, new))
    assert message in told
    assert len(told) < 300


def test_a_built_in_name_is_not_another_protocols(tmp_path) -> None:
    path = tmp_path / "copy.toml"
    (built_in,) = files("gfp_bench").joinpath("protocols").glob("attribution@1.toml")
    path.write_text(built_in.read_text())
    assert load_protocol(str(path)) == load_protocol("attribution@1")
    path.write_text(built_in.read_text().replace("attack_seed = 1904", "attack_seed = 1"))
    with pytest.raises(UsageError, match="calls itself attribution@1, which is built in"):
        load_protocol(str(path))


def test_attribution_has_the_six_attacks_and_is_no_draft() -> None:
    protocol = load_protocol("attribution@1")
    assert [use.label for use in protocol.all_attacks] == ["noise", "blur", "crop", "jpeg", "relight", "combination"]
    assert protocol.immunise
    assert not protocol.draft


def test_robustness_has_six_ladders_from_mild_to_harsh() -> None:
    protocol = load_protocol("robustness@1")
    assert [ladder.name for ladder in protocol.ladders] == ["noise", "blur", "jpeg", "crop", "resize", "webp"]
    assert {len(ladder.severities) for ladder in protocol.ladders} == {5}
    falling = {ladder.name for ladder in protocol.ladders if ladder.severities[0] > ladder.severities[-1]}
    assert falling == {"jpeg", "resize", "webp"}  # a high quality and a large share are mild


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("seeds = [0]", "seeds = []", "seeds = []"),
        ('label = "jpeg-10", ', "", "'jpeg' stands twice"),
        ("schema = 1", "schema = 2", "schema = 2"),
        ('task = "attribution"', 'task = "attribution"\ntypo = 1', "unknown key 'typo'"),
        ("version = 3", "version = ", "is no TOML file"),
    ],
)
def test_a_wrong_document_is_refused(tmp_path, old: str, new: str, message: str) -> None:
    told = refused(tmp_path, DOCUMENT.replace(old, new))
    assert message in told
    assert "mine.toml" in told


def test_an_unknown_protocol_gets_its_nearest_matches() -> None:
    with pytest.raises(UsageError, match="unknown protocol 'atribution@0'; did you mean 'attribution@0'"):
        load_protocol("atribution@0")
    with pytest.raises(UsageError, match=r"missing\.toml cannot be read"):
        load_protocol("missing.toml")
