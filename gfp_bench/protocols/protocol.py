"""Protocol documents: the fixed recipe of a benchmark, versioned in its name. Torch-free."""

from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from gfp_bench.contracts.settings import Setting
from gfp_bench.documents import Document, read_document
from gfp_bench.errors import UsageError, unknown

_BUILT_IN = Path(str(files("gfp_bench"))) / "protocols"
Label = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")]
Severity = Annotated[int, Field(strict=True)] | Annotated[float, Field(strict=True)]


class AttackUse(Document):
    """An attack as a protocol uses it; ``label`` names its column and is the plugin's name by default."""

    name: str
    settings: dict[str, Setting] = Field(default_factory=dict)
    label: Label = ""

    @model_validator(mode="before")
    @classmethod
    def _label_is_name(cls, data: dict[str, object]) -> dict[str, object]:
        return {"label": data.get("name"), **data}


class Ladder(AttackUse):
    """An attack at several severities, each a column of its own on the same random draws.

    Attributes:
        vary: The settings that a severity stands in; a range is fixed by naming both of its ends.
        severities: From mild to harsh.
        axis: What a severity is, with its unit, as curves print it.
    """

    vary: tuple[str, ...] = Field(min_length=1)
    severities: tuple[Severity, ...] = Field(min_length=1)
    axis: str

    @field_validator("severities")
    @classmethod
    def _one_way(cls, severities: tuple[Severity, ...]) -> tuple[Severity, ...]:
        steps = list(pairwise(severities))
        if not (all(mild < harsh for mild, harsh in steps) or all(mild > harsh for mild, harsh in steps)):
            raise ValueError("expected numbers that only rise or only fall, from mild to harsh, each once")
        return severities

    @model_validator(mode="after")
    def _varied_is_not_set(self) -> "Ladder":
        if both := self.settings.keys() & set(self.vary):
            raise ValueError(f"setting {min(both)!r} stands in vary and in settings; name it in one of them")
        return self

    @property
    def attacks(self) -> tuple[str, ...]:
        """The labels of its steps, from mild to harsh."""
        return tuple(step.label for step in self.steps)

    @property
    def steps(self) -> tuple[AttackUse, ...]:
        """The attack at each severity, labelled as ``jpeg-90``."""
        return tuple(
            AttackUse(
                name=self.name,
                settings=self.settings | dict.fromkeys(self.vary, severity),
                label=f"{self.label}-{severity}",
            )
            for severity in self.severities
        )


class Protocol(Document):
    """One version of a protocol.

    Attributes:
        schema_version: The layout of the document.
        name: What it is called, without its version.
        version: Raised whenever the protocol changes.
        draft: Whether it may still change under its version.
        task: The question that methods are asked, see `gfp_bench.tasks`.
        options: The task's settings.
        description: One sentence for people.
        attack_seed: Of the attacks' streams.
        seeds: Of the trials of stochastic methods.
        batch_size: Images that a method scores at a time.
        attacks: What test images go through.
        ladders: Attacks of rising severity.
        immunise: Whether methods are immunised against each attack.
    """

    schema_version: Literal[1] = Field(alias="schema")
    name: Label
    version: int = Field(ge=0)
    draft: bool = False
    task: str
    description: str
    attack_seed: int
    seeds: tuple[int, ...] = Field(min_length=1)
    batch_size: int = Field(64, ge=1)
    attacks: tuple[AttackUse, ...] = ()
    ladders: tuple[Ladder, ...] = ()
    immunise: bool = True
    options: dict[str, Setting] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _ladders_are_attacked_only(self) -> "Protocol":
        if self.ladders and self.immunise:
            raise ValueError("methods are not immunised against ladders; set immunise = false")
        return self

    @model_validator(mode="after")
    def _labels_differ(self) -> "Protocol":
        labels = ["clean", *(attack.label for attack in self.all_attacks)]
        if twice := {label for label in labels if labels.count(label) > 1}:
            raise ValueError(
                f"attack label {min(twice)!r} stands twice ('clean' is taken); give each attack a label of its own"
            )
        return self

    @property
    def all_attacks(self) -> tuple[AttackUse, ...]:
        """The attacks, then the steps of every ladder."""
        return (*self.attacks, *(step for ladder in self.ladders for step in ladder.steps))

    @property
    def id(self) -> str:
        """Name and version, as boards print it."""
        return f"{self.name}@{self.version}"


def protocol_names() -> list[str]:
    """Return the built-in protocols."""
    return sorted(path.stem for path in _BUILT_IN.glob("*@*.toml"))


def load_protocol(name: str) -> Protocol:
    """Return a built-in protocol by ``name@version``, or the one in a TOML file.

    Raises:
        UsageError: If there is no such protocol, its document is not valid, or a file has the name and version of a
            built-in protocol that says something else.
    """
    if name.endswith(".toml"):
        protocol = _read(Path(name))
        if protocol.id in protocol_names() and protocol != load_protocol(protocol.id):
            raise UsageError(
                f"protocol file {name} calls itself {protocol.id}, which is built in and says something else; "
                "give it a name or a version of its own"
            )
        return protocol
    if name not in protocol_names():
        raise unknown("protocol", name, protocol_names())
    return _read(_BUILT_IN / f"{name}.toml")


def _read(file: Path) -> Protocol:
    return read_document(
        file, Protocol, kind="protocol", error=UsageError, otherwise="name a built-in one or a TOML file"
    )
