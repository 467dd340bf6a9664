"""Recipes: TOML files that say how a whole dataset is made, from the pool to the split. Torch-free."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, field_validator, model_validator

from gfp_bench.contracts.dataset import REAL
from gfp_bench.data.manifest import Name, built_in_folder
from gfp_bench.documents import Document, read_document
from gfp_bench.errors import UsageError, unknown

PHOTOGRAPHS = "photographs"


class _Table(Document):
    model_config = ConfigDict(strict=True)


class Counts(_Table):
    """Images per source in each split."""

    train: int = Field(ge=2)
    val: int = Field(ge=2)
    test: int = Field(ge=2)


class Part(_Table):
    """The part of the pool that one generator learns from, so that training sets can differ by a known number.

    The pool is shuffled by ``seed``; the part is its first ``images``, of which the first ``replaced`` give their
    places to as many images that follow. Parts of one seed and size thus share all but ``replaced`` images: 0 is the
    same training set, 1 differs in one image, ``images`` is disjoint.

    Attributes:
        images: How many.
        replaced: How many of them are not those of the part with ``replaced = 0``.
        seed: Shuffles the pool.
    """

    images: int = Field(ge=1)
    replaced: int = Field(0, ge=0)
    seed: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _replaced_are_of_the_part(self) -> "Part":
        if self.replaced > self.images:
            raise ValueError(f"{self.replaced} images are replaced of {self.images}, expected at most all of them")
        return self


class Source(_Table):
    """One generated source.

    Attributes:
        generator: As on the command line: ``name``, ``name[key=value,...]`` or ``name:PATH``.
        steps: Of training; left out for a generator that comes trained.
        seed: Of the training.
        pool: The part of the pool that is learnt; all of it by default.
    """

    generator: str
    steps: int | None = Field(None, ge=1)
    seed: int = Field(0, ge=0)
    pool: Part | None = None

    @model_validator(mode="after")
    def _trained_or_not(self) -> "Source":
        if self.steps is None and (self.pool is not None or self.seed):
            raise ValueError("a source without steps is not trained, so it has neither pool nor seed; remove them")
        return self


class Recipe(_Table):
    """How a dataset is made.

    Attributes:
        schema_version: The layout of this file.
        name: The dataset's name.
        description: One sentence for people.
        licence: Under which terms the images may be used.
        citation: What to cite.
        side: Height and width of every image in pixels.
        pool: ``photographs``, or the dataset whose real training images are learnt.
        images: Images per source in each split, those of ``real`` equally many per photograph.
        surplus: Samples drawn for each one that is kept.
        apart: Val and test are chosen from one in so many of these, those farthest from the source's own train images.
        sources: The generated sources; ``real`` is added to them.
    """

    schema_version: Literal[1]
    name: Name
    description: str
    licence: str
    citation: str = ""
    side: int = Field(ge=8)
    pool: str = PHOTOGRAPHS
    images: Counts
    surplus: int = Field(16, ge=1)
    apart: int = Field(1, ge=1)
    sources: Annotated[dict[Name, Source], Field(min_length=1)]

    @field_validator("sources")
    @classmethod
    def _real_is_taken(cls, sources: dict[str, Source]) -> dict[str, Source]:
        if REAL in sources:
            raise ValueError(f"a source is called {REAL!r}, which is what no model made; rename it")
        return sources


def recipe_names() -> list[str]:
    """Return the built-in recipes."""
    return sorted(_built_in())


def load_recipe(name: str) -> Recipe:
    """Return a built-in recipe by name, or the one in a TOML file.

    Raises:
        UsageError: If there is no such recipe, or it has a key or value that a recipe cannot have.
    """
    if name.endswith(".toml"):
        return _read(Path(name))
    if name not in _built_in():
        raise unknown("recipe", name, _built_in())
    return _read(_built_in()[name])


def _built_in() -> dict[str, Path]:
    return {file.stem: file for file in (built_in_folder() / "recipes").glob("*.toml")}


def _read(file: Path) -> Recipe:
    return read_document(file, Recipe, kind="recipe", error=UsageError, otherwise="name a built-in one or a TOML file")
