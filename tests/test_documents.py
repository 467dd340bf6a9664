"""What is wrong with a document is told at once, by key, with the nearest one that is known."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest
from pydantic import Field, field_validator, model_validator

from gfp_bench.documents import Document, checked, read_document, read_json
from gfp_bench.errors import DatasetError, RecordError


class Leg(Document):
    length: float = Field(gt=0)
    shoe: Literal["boot"] | None = None


class Animal(Document):
    schema_version: Literal[1] = Field(alias="schema")
    legs: tuple[Leg, ...] = ()
    named: dict[str, Leg] = Field(default_factory=dict)
    tail: Leg | None = None
    name: str = "cat"

    @field_validator("name")
    @classmethod
    def _no_dog(cls, name: str) -> str:
        if name == "dog":
            raise ValueError("Expected a cat")
        return name

    @model_validator(mode="after")
    def _stands(self) -> "Animal":
        if len(self.legs) == 1:
            raise ValueError("one leg is not enough; add some")
        return self


def read(folder: Path, text: str) -> Animal:
    (folder / "animal.toml").write_text(text)
    return read_document(folder / "animal.toml", Animal, kind="animal", error=DatasetError, otherwise="ask its keeper")


def test_document_is_read(tmp_path: Path) -> None:
    animal = read(tmp_path, "schema = 1\nlegs = [{length = 2}, {length = 3}]\n[named.left]\nlength = 1\n")
    assert [leg.length for leg in animal.legs] == [2, 3]
    assert animal.named["left"].length == 1
    with pytest.raises(ValueError, match="frozen"):
        animal.name = "lion"  # type: ignore[misc]  # that is the point


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        ("", "key 'schema' is missing; add it"),
        ("schema = 2", "schema = 2: input should be 1"),
        ("schema_version = 1", "key 'schema' is missing; add it; unknown key 'schema_version'; did you mean 'schema'?"),
        ("schema = 1\nnam = 'x'", "unknown key 'nam'; did you mean 'name' or 'named'?"),
        ("schema = 1\nname = 'dog'", "name = 'dog': expected a cat"),
        ("schema = 1\nlegs = [{length = 1}]", "the document: one leg is not enough; add some"),
        (
            "schema = 1\nlegs = [{length = 1, leg = 1}, {length = 0}]",
            "unknown key 'legs.0.leg'; did you mean 'legs.0.length' or 'legs.0.shoe'?; "
            "legs.1.length = 0: input should be greater than 0",
        ),
        (
            "schema = 1\nnamed = {left = {length = 1, shoes = 1}}",
            "unknown key 'named.left.shoes'; did you mean 'named.left.shoe' or 'named.left.length'?",
        ),
        (
            "schema = 1\ntail = {length = 1, shoo = 1}",
            "unknown key 'tail.shoo'; did you mean 'tail.shoe' or 'tail.length'?",
        ),
        ("schema = 1\ntail = {}", "key 'tail.length' is missing; add it"),
        ("schema = 1\nlegs = 4", "legs = 4: input should be a valid tuple"),
        ("schema = 1\nname = {}", "name: input should be a valid string"),
    ],
)
def test_all_that_is_wrong_is_told(tmp_path: Path, text: str, problems: str) -> None:
    with pytest.raises(DatasetError) as caught:
        read(tmp_path, text)
    assert str(caught.value) == f"animal {tmp_path / 'animal.toml'}: {problems}"


def test_content_is_checked_without_a_file() -> None:
    with pytest.raises(RecordError, match=r"^this one: schema = 3: input should be 1$"):
        checked({"schema": 3}, Animal, subject="this one", error=RecordError)


def test_a_dataclass_is_a_document_too() -> None:
    @dataclass(frozen=True)
    class Tail:
        length: float

    assert checked({"length": 2}, Tail, subject="it", error=RecordError) == Tail(2.0)
    with pytest.raises(RecordError, match=r"^it: unknown key 'lenght'; did you mean 'length'\?$"):
        checked({"lenght": 2}, Tail, subject="it", error=RecordError)
    with pytest.raises(RecordError, match=r"^it: length = 'long': input should be a valid number"):
        checked({"length": "long"}, Tail, subject="it", error=RecordError)
    with pytest.raises(RecordError, match=r"^it: "):
        checked([], Tail, subject="it", error=RecordError)


@pytest.mark.parametrize("content", [b"schema = ", b"\xff\xfe\x00"])
def test_file_that_is_no_toml_is_told(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "animal.toml").write_bytes(content)
    with pytest.raises(DatasetError, match=r"^animal \S+/animal.toml is no TOML file: .*; mend it$"):
        read_document(tmp_path / "animal.toml", Animal, kind="animal", error=DatasetError, otherwise="")


def test_file_that_is_missing_is_told(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"^animal \S+/animal.toml cannot be read: No such .*; ask its keeper$"):
        read_document(tmp_path / "animal.toml", Animal, kind="animal", error=DatasetError, otherwise="ask its keeper")


def test_json_is_read_back_or_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    assert read_json(file) is None
    file.write_text('{"a": [1, null]}')
    assert read_json(file) == {"a": [1, None]}
    for content in (b'{"a": ', b"\xff", b'{"a": NaN}', b'{"a": -Infinity}', b"[" * 100_000):
        file.write_bytes(content)
        with pytest.raises(RecordError, match=r"^\S+/a.json is no valid JSON \(.*\); delete it and run again$"):
            read_json(file)
