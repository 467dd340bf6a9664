"""Protocol documents: the fixed recipe of a benchmark, versioned in its name. Torch-free."""

import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from gfp_bench.errors import UsageError, unknown
from gfp_bench.settings import Setting

_BUILT_IN = Path(str(files("gfp_bench"))) / "protocols"
_DEFAULT = "default"
Label = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")]


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class AttackUse(_Document):
    """An attack as a protocol uses it; ``label`` names its column and is the plugin's name by default."""

    name: str
    settings: dict[str, Setting] = {}
    label: Label = ""

    @model_validator(mode="before")
    @classmethod
    def _label_is_name(cls, data: dict[str, object]) -> dict[str, object]:
        return {"label": data.get("name"), **data}


class Protocol(_Document):
    """One version of a protocol."""

    schema_version: Literal[1] = Field(alias="schema")
    name: Label
    version: int = Field(ge=0)
    draft: bool = False
    task: str
    description: str
    attack_seed: int
    seeds: tuple[int, ...] = Field(min_length=1)
    batch_size: int = Field(64, ge=1)
    attacks: tuple[AttackUse, ...]
    immunise: bool = True

    @model_validator(mode="after")
    def _labels_differ(self) -> "Protocol":
        labels = ["clean", *(attack.label for attack in self.attacks)]
        if twice := {label for label in labels if labels.count(label) > 1}:
            raise ValueError(
                f"attack label {min(twice)!r} stands twice ('clean' is taken); give each attack a label of its own"
            )
        return self

    @property
    def id(self) -> str:
        """Name and version, as boards print it."""
        return f"{self.name}@{self.version}"


class Default(_Document):
    """What a run without arguments does."""

    dataset: str
    protocol: str
    methods: tuple[str, ...]
    seeds: tuple[int, ...]


def protocol_names() -> list[str]:
    """Return the built-in protocols."""
    return sorted(path.stem for path in _BUILT_IN.glob("*@*.toml"))


def load_protocol(name: str) -> Protocol:
    """Return a built-in protocol by ``name@version``, or the one in a TOML file.

    Raises:
        UsageError: If there is no such protocol or its document is not valid.
    """
    if name.endswith(".toml"):
        return _read(Path(name), Protocol)
    if name not in protocol_names():
        raise unknown("protocol", name, protocol_names())
    return _read(_BUILT_IN / f"{name}.toml", Protocol)


def load_default() -> Default:
    """Return what `gfp-bench run` does without arguments."""
    return _read(_BUILT_IN / f"{_DEFAULT}.toml", Default)


_Model = TypeVar("_Model", bound=_Document)


def _read(path: Path, model: type[_Model]) -> _Model:
    try:
        return model.model_validate(tomllib.loads(path.read_text()))
    except OSError as error:
        raise UsageError(
            f"protocol file {path} cannot be read ({error.strerror}); name a built-in one or a TOML file"
        ) from error
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"protocol file {path} is no valid TOML: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "the document"
        raise UsageError(
            f"protocol file {path}: {place} got {first['input']!r}: {first['msg']}; mend the file"
        ) from error
