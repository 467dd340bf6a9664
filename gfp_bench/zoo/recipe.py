"""Recipes: TOML files that say how a whole dataset is made, from the pool to the split. Torch-free."""

from itertools import combinations
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from pydantic import ConfigDict, Field, field_validator, model_validator

from gfp_bench.contracts.dataset import REAL
from gfp_bench.data.manifest import Name, built_in_folder
from gfp_bench.documents import Document, read_document
from gfp_bench.errors import UsageError, unknown

PHOTOGRAPHS = "photographs"
Format: TypeAlias = Literal["png", "webp"]
TABLE = ".csv"  # the ending of a table of photographs


class _Table(Document):
    model_config = ConfigDict(strict=True)


class Counts(_Table):
    """Images per source in each split."""

    train: int = Field(ge=2)
    val: int = Field(ge=2)
    test: int = Field(ge=2)


class Part(_Table):
    """The part of the pool that one generator learns from, so that training sets can differ by what is known.

    The pool's groups are shuffled by ``seed`` and those from the first to the last, less one, are taken; their images
    are shuffled by it, and the part is the first ``images``, of which the first ``replaced`` give their places to as
    many that follow. Parts of one seed and size thus share all but ``replaced`` images: 0 is the same training set, 1
    differs in one image, ``images`` is disjoint.

    Attributes:
        images: How many; all by default.
        replaced: How many of them are not those of the part with ``replaced = 0``.
        seed: Shuffles groups and images.
        groups: The first group and the one after the last; all groups by default.
    """

    images: int | None = Field(None, ge=1)
    replaced: int = Field(0, ge=0)
    seed: int = Field(0, ge=0)
    groups: Annotated[tuple[int, int] | None, Field(strict=False)] = None

    @model_validator(mode="after")
    def _is_a_part(self) -> "Part":
        if self.replaced > (self.images or 0):
            raise ValueError(
                f"{self.replaced} images are replaced of {self.images or 'all'}, expected at most as many as `images`"
            )
        if self.groups is not None and not 0 <= self.groups[0] < self.groups[1]:
            raise ValueError(f"groups = {list(self.groups)}, expected the first group, from 0, and one after the last")
        return self


class Source(_Table):
    """One generated source.

    Attributes:
        generator: As on the command line: ``name``, ``name[key=value,...]`` or ``name:PATH``.
        steps: Of training; left out for a generator that comes trained.
        seed: Of the training; by default a hash of the family's name and the instance.
        pool: The part of the pool that is learnt; all of it by default.
        truncation: What the latents of samples are multiplied with.
        weights_of: The source whose training is sampled, with latents of this source's own; in place of a training.
        probe_of: The family that this source is a further instance of; it is tested and not learnt, and trained as the
            family is, but for the seed.
        instance: Which one of its family it is; 0 for the family itself and 1 for a probe.
        unseen: Whether the source is tested and not learnt and of no family that is.
    """

    generator: str = ""
    steps: int | None = Field(None, ge=1)
    seed: int | None = Field(None, ge=0)
    pool: Part | None = None
    truncation: float = Field(1.0, gt=0, strict=False)
    weights_of: Name | None = None
    probe_of: Name | None = None
    instance: int = Field(0, ge=0)
    unseen: bool = False

    @model_validator(mode="after")
    def _trained_or_not(self) -> "Source":
        trainings = {"generator", "steps", "pool"} | ({"seed", "instance"} if self.weights_of else set())
        if (base := self.weights_of or self.probe_of) and (given := sorted(trainings & self.model_fields_set)):
            raise ValueError(f"it is trained as {base!r} is, so it has no {', '.join(given)} of its own; remove them")
        if self.weights_of and self.probe_of:
            raise ValueError("a source has `weights_of` and `probe_of`, expected at most one of them; remove one")
        if self.probe_of and self.unseen:
            raise ValueError(f"an instance of {self.probe_of!r} is of a family that is learnt; remove `unseen`")
        if base is None and not self.generator:
            raise ValueError("a source has neither `generator` nor `weights_of` nor `probe_of`; add one")
        if base is None and self.steps is None and (self.pool is not None or self.seed is not None):
            raise ValueError("a source without steps is not trained, so it has neither pool nor seed; remove them")
        return self

    @property
    def is_probe(self) -> bool:
        """Whether it is tested and not learnt."""
        return self.unseen or self.probe_of is not None


class Recipe(_Table):
    """How a dataset is made.

    Attributes:
        schema_version: The layout of this file.
        name: The dataset's name.
        description: One sentence for people.
        licence: Under which terms the images may be used.
        citation: What to cite.
        side: Height and width of every image in pixels.
        pool: ``photographs``, the dataset whose real training images are learnt, or the path of a table of photographs
            from the recipe's own folder.
        images: Images per source in each split, those of ``real`` equally many per photograph; a probe has only test.
        real: Those of ``real``; as many as of every source by default.
        format: Of all files; both are lossless.
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
    real: Counts | None = None
    format: Format = "png"
    surplus: int = Field(16, ge=1)
    apart: int = Field(1, ge=1)
    sources: Annotated[dict[Name, Source], Field(min_length=1)]

    @field_validator("sources")
    @classmethod
    def _real_is_taken(cls, sources: dict[str, Source]) -> dict[str, Source]:
        if REAL in sources:
            raise ValueError(f"a source is called {REAL!r}, which is what no model made; rename it")
        return sources

    @model_validator(mode="after")
    def _sources_refer_to_trainings(self) -> "Recipe":
        trained = [name for name, source in self.sources.items() if source.generator]
        for name, source in self.sources.items():
            base, key = source.weights_of or source.probe_of, "weights_of" if source.weights_of else "probe_of"
            if base is not None and base not in trained:
                raise ValueError(f"{name}.{key}: {unknown('trained source', base, trained)}")
            if source.probe_of and self.sources[source.probe_of].is_probe:
                raise ValueError(f"{name}.probe_of = {base!r}, which is not learnt itself; name a source that is")
        return self

    @model_validator(mode="after")
    def _groups_do_not_overlap(self) -> "Recipe":
        parts = [(name, source.pool) for name, source in self.sources.items() if source.pool and source.pool.groups]
        for (one, first), (other, second) in combinations(parts, 2):
            if first.seed != second.seed:
                raise ValueError(
                    f"sources {one!r} and {other!r} have parts by groups that are shuffled with the seeds {first.seed} "
                    f"and {second.seed}, which may overlap; give them one seed"
                )
            low, high = sorted((first.groups or (0, 0), second.groups or (0, 0)))
            if low != high and high[0] < low[1]:
                raise ValueError(
                    f"the groups of sources {one!r} and {other!r} overlap from {high[0]} to {min(low[1], high[1])}, "
                    "expected the same or disjoint ones; move one"
                )
        return self

    def training(self, name: str) -> Source:
        """Return what a source is sampled from: the training, and in ``probe_of`` and ``instance`` whose it is."""
        source = self.sources[name]
        if source.weights_of:
            return self.training(source.weights_of)
        family = source.probe_of or name
        instance = source.instance or int(bool(source.probe_of))
        return self.sources[family].model_copy(
            update={"seed": source.seed, "instance": instance, "probe_of": family, "unseen": False}
        )

    def counts(self, name: str) -> dict[str, int]:
        """Return how many images a source, or ``real``, has in each split."""
        if name == REAL:
            return (self.real or self.images).model_dump()
        counts: dict[str, int] = self.images.model_dump()
        return {"test": counts["test"]} if self.sources[name].is_probe else counts


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
    otherwise = "name a built-in one or a TOML file"
    recipe = read_document(file, Recipe, kind="recipe", error=UsageError, otherwise=otherwise)
    if not recipe.pool.endswith(TABLE):
        return recipe
    return recipe.model_copy(update={"pool": str((file.parent / recipe.pool).resolve())})
