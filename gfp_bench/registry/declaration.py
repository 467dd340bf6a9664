"""What plugins say of themselves before they see an image, and whether it is what the contract asks for. Torch-free."""

import inspect
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import AfterValidator, Field, FiniteFloat, StrictBool, StrictInt, StrictStr, StringConstraints

from gfp_bench.contracts.dataset import DatasetFacts
from gfp_bench.contracts.settings import Setting, described_settings, resolved_settings
from gfp_bench.documents import Document
from gfp_bench.files import sha256
from gfp_bench.texts import clean, clean_phrase

NAME = r"[a-z0-9][a-z0-9._-]{0,63}"  # becomes part of file names, also where case does not count

Name: TypeAlias = Annotated[StrictStr, StringConstraints(pattern=rf"^{NAME}$")]
Version: TypeAlias = Annotated[StrictInt, Field(ge=1, lt=2**31)]
Settings: TypeAlias = dict[str, StrictBool | StrictInt | FiniteFloat | StrictStr | None]
Reason: TypeAlias = Annotated[StrictStr, AfterValidator(clean), StringConstraints(min_length=1)]


def is_name(text: str) -> bool:
    """Return whether a plugin can be called so."""
    return re.fullmatch(NAME, text) is not None


class _Declaration(Document):
    """What a plugin with its settings says of itself.

    Attributes:
        name: What it is called.
        version: Raised by hand whenever what it computes changes.
        settings: All of them.
    """

    name: Name
    version: Version
    settings: Settings


class AttackDeclaration(_Declaration):
    """What an attack with its settings says of itself; texts are clean.

    Attributes:
        note: What boards put in brackets after its label, or "".
    """

    note: Annotated[StrictStr, AfterValidator(clean_phrase)]


class MethodDeclaration(_Declaration):
    """What a method with its settings says of itself; texts are clean.

    Attributes:
        paper: Where it was published, or "".
        stochastic: Whether the seed matters.
        floor: Whether every plan includes it.
        weights: Of trained networks, or "".
        deviations: What differs from the paper, a phrase each.
        immunisation: ``refit``, or how many updates it is fine-tuned for; "" where that is not known.
        weight_files: The sha256 of each file with trained weights that it reads.
        incremental: Whether it learns sources that arrive later.
        skips: For each dataset that was asked about why the method cannot run on it, or None.
    """

    paper: Annotated[StrictStr, AfterValidator(clean)]
    stochastic: StrictBool
    floor: StrictBool
    weights: Literal["", "scratch", "imagenet", "local"]
    deviations: tuple[Annotated[StrictStr, AfterValidator(clean_phrase)], ...]
    immunisation: Annotated[StrictStr, AfterValidator(clean)]
    weight_files: dict[StrictStr, Annotated[StrictStr, StringConstraints(pattern="^[0-9a-f]{64}$")]]
    incremental: StrictBool
    skips: tuple[Reason | None, ...]


def declared_attack(cls: type, given: Mapping[str, Setting]) -> dict[str, Any]:
    """Return the fields of an `AttackDeclaration` as the attack has them; what it refuses is refused here."""
    settings = resolved_settings(cls, given)
    made = _made(cls, settings)
    return {"name": made.name, "version": made.version, "settings": settings, "note": made.note}


def declared_method(
    cls: type, given: Mapping[str, Setting], datasets: Sequence[DatasetFacts], train_images: int
) -> dict[str, Any]:
    """Return the fields of a `MethodDeclaration` as the method has them, for some datasets and train images in all."""
    settings = resolved_settings(cls, given)
    made = _made(cls, settings)
    return {
        "name": made.name,
        "version": made.version,
        "settings": settings,
        "paper": made.paper,
        "stochastic": made.stochastic,
        "floor": made.floor,
        "weights": made.weights,
        "deviations": made.deviations,
        "immunisation": _immunisation(made, train_images) if made.states_immunisation else "",
        "weight_files": {file: sha256(Path(file).read_bytes()) for file in made.weight_files},
        "incremental": made.is_incremental,
        "skips": [made.skip(dataset) for dataset in datasets],
    }


def _immunisation(method: Any, train_images: int) -> str:
    updates = method.fine_tuning(train_images)
    return "refit" if updates is None else f"fine-tuned, {updates:,} updates"


def described(cls: type, given: Mapping[str, Setting]) -> dict[str, Any]:
    """Return what `gfp-bench info` says of a plugin with some settings."""
    plugin: Any = cls
    return {
        "version": plugin.version,
        "paper": getattr(plugin, "paper", ""),
        "settings": {one.name: asdict(one) for one in described_settings(cls)},
        "deviations": list(getattr(plugin(**given), "deviations", ())),
        "description": inspect.getdoc(inspect.getmodule(cls)) or inspect.getdoc(cls) or "",
    }


def _made(cls: type, settings: Mapping[str, Setting]) -> Any:  # an instance of whatever kind
    return cls(**settings)
