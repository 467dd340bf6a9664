"""What one source of a recipe is made from: its training, the generator, the images that it learns, its identity."""

from dataclasses import dataclass
from typing import Any

from gfp_bench.contracts.dataset import REAL
from gfp_bench.contracts.generator import Generator
from gfp_bench.contracts.settings import Setting, resolved_settings
from gfp_bench.contracts.types import Images
from gfp_bench.data.manifest import Metadata
from gfp_bench.errors import UsageError
from gfp_bench.registry.discovery import Plugins
from gfp_bench.seeding import seed_of
from gfp_bench.zoo.pool import Pool
from gfp_bench.zoo.recipe import Recipe, Source
from gfp_bench.zoo.training import parse_generator


@dataclass(frozen=True)
class SourcePlan:
    """A source of a recipe, on a pool; all but `identity` is of generated sources only.

    Attributes:
        recipe: The whole recipe.
        pool: The recipe's pool.
        plugins: Where generators are found.
        name: The source's.
    """

    recipe: Recipe
    pool: Pool
    plugins: Plugins
    name: str

    @property
    def training(self) -> Source:
        """What is sampled, see `Recipe.training`."""
        return self.recipe.training(self.name)

    @property
    def seed(self) -> int:
        """The seed of the training, another for every family and instance unless the recipe says it."""
        training = self.training
        if training.seed is not None or training.steps is None:
            return training.seed or 0
        return seed_of("training", str(training.probe_of), str(training.instance))

    @property
    def settings(self) -> dict[str, Setting]:
        """The generator's settings, those that the recipe does not name with their defaults."""
        name, given = parse_generator(self.training.generator)
        return resolved_settings(self.plugins.generator(name), given)

    def generator(self) -> Generator:
        """Return the untrained generator, told how to scale latents.

        Raises:
            UsageError: If it has none, and the recipe scales them, or if it does not take its settings.
        """
        name, _ = parse_generator(self.training.generator)
        generator = self.plugins.generator(name)(**self.settings)
        truncation = self.recipe.sources[self.name].truncation
        if generator.truncation is not None:
            generator.truncation = truncation
        elif truncation != 1:
            raise UsageError(
                f"source {self.name!r} has truncation = {truncation}, but generator {name!r} has no latents that could "
                "be scaled; remove it or take another generator"
            )
        return generator

    def images(self) -> Images:
        """Return what the training learns from."""
        return self.pool.part(self.training.pool)

    def identity(self) -> dict[str, Any]:  # what JSON can hold
        """Return what of recipe and pool bears on the source's archive."""
        common = {
            "source": self.name,
            "side": self.recipe.side,
            "images": self.recipe.counts(self.name),
            "pool": self.pool.identity,
            "format": self.recipe.format,
            "truncation": 1.0,
        }
        if self.name == REAL:
            return common
        generator = self.generator()
        return {
            **common,
            "surplus": self.recipe.surplus,
            "apart": self.recipe.apart,
            "generator": generator.name,
            "version": generator.version,
            "settings": self.settings,
            "steps": self.training.steps,
            "seed": self.seed,
            "truncation": self.recipe.sources[self.name].truncation,
            "part": self._part(),
        }

    def metadata(self, generator: Generator) -> Metadata:
        """Return what the manifest says of the source, made with ``generator``."""
        own, training = self.recipe.sources[self.name], self.training
        metadata: Metadata = {**generator.metadata, "generator": training.generator}
        if training.steps:
            metadata |= {"steps": training.steps, "seed": self.seed}
        for key, value in (self._part() or {}).items():
            metadata[f"pool_{key}"] = "-".join(map(str, value)) if key == "groups" else value
        if own.truncation != 1:
            metadata["truncation"] = own.truncation
        if own.weights_of:
            metadata["weights_of"] = own.weights_of
        if own.probe_of:
            metadata |= {"probe_of": own.probe_of, "instance": training.instance}
        if own.unseen:
            metadata["unseen"] = True
        return metadata

    def _part(self) -> dict[str, Any] | None:
        part = self.training.pool
        return part.model_dump(mode="json", exclude_none=True) if part else None
