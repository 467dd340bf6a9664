"""Build a dataset from its recipe, one archive per source: what is done stays, what is killed goes on."""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import torch

from gfp_bench.contracts.dataset import REAL
from gfp_bench.contracts.generator import Generator
from gfp_bench.contracts.monitor import SILENT, Monitor
from gfp_bench.contracts.settings import resolved_settings
from gfp_bench.contracts.types import Images
from gfp_bench.data.archives import SUFFIX, read_comment, write_archive
from gfp_bench.data.indexing import index_folder
from gfp_bench.data.manifest import About, Manifest, Metadata
from gfp_bench.errors import GfpBenchError, UsageError, differences, unknown
from gfp_bench.files import claimed
from gfp_bench.registry.discovery import Plugins
from gfp_bench.zoo import training
from gfp_bench.zoo.estimates import CostEstimate, Seconds, time_image, time_step
from gfp_bench.zoo.plans import SourcePlan
from gfp_bench.zoo.pool import Pool
from gfp_bench.zoo.recipe import Recipe
from gfp_bench.zoo.selection import GROUP, generated_members, real_images, real_members, targets

Plain: TypeAlias = dict[str, Any]  # what JSON can hold, of any depth
Report: TypeAlias = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class DatasetBuilder:
    """A recipe and where it is carried out.

    Attributes:
        recipe: What is built.
        pool: The recipe's pool.
        plugins: Where its generators are found.
        folder: Gets ``<name>.toml``, ``<name>.parquet`` and ``<name>/<source>.zip``.
        zoo: Holds a folder for each trained generator, ``<source>``, as `gfp_bench.zoo.training.train` fills it.
        device: Where trainings and sampling run.
        every: Seconds between a training's checkpoints.
        report: Is told what happens.
        monitor: Is told of a training's progress.
    """

    recipe: Recipe
    pool: Pool
    plugins: Plugins
    folder: Path
    zoo: Path
    device: str = "cpu"
    every: float = 60.0
    report: Report = field(default=lambda line: None)
    monitor: Monitor = SILENT

    def pending(self, only: Sequence[str] = ()) -> list[str]:
        """Return the sources that have no archive yet, ``real`` first.

        Args:
            only: Look at these; at all by default.

        Raises:
            UsageError: If the recipe has no such source, or an archive was made otherwise.
            DatasetError: If an archive is damaged.
        """
        sources = (REAL, *self.recipe.sources)
        for source in only:
            if source not in sources:
                raise unknown("source", source, sources)
        self._expect_archives_of(sources)
        return [source for source in sources if source in (only or sources) and not self._done(source)]

    def estimates(self, sources: Sequence[str]) -> Iterator[CostEstimate]:
        """Yield how long each generated source will take here; nothing of it is kept.

        Raises:
            UsageError: If a generator does not take its settings, the pool or the side, or the pool is too small.
        """
        self._expect_images(sources)
        for source in sources:
            if source == REAL:
                continue
            plan = self._plan(source)
            steps, generator = plan.training.steps, plan.generator()
            left = 0 if steps is None else max(0, steps - training.steps_done(self._trained(source)))
            step = Seconds(0.0, 0.0)
            if left:
                step = time_step(generator, plan.images().to(self.device), steps or 0)
            else:
                self._load(source, generator)
            samples = sum(self.recipe.counts(source).values()) * self.recipe.surplus
            yield CostEstimate(source, left, step, samples, time_image(generator))

    def run(self, sources: Sequence[str]) -> Manifest | None:
        """Make the sources that are missing; return the manifest if no other is missing then.

        Raises:
            GfpBenchError: If a source cannot be made; those before it stay.
        """
        self._expect_images(sources)
        for source in sources:
            with claimed(self._archive(source).with_name(f".{source}.claim")) as holder:
                if holder is not None:
                    self.report(f"{source}: locked by {holder}, left to it")
                elif not self._done(source):
                    self._make(source)
                    self.report(f"{source}: done, {self._archive(source)}")
        if missing := self.pending():
            self.report(f"still to be made: {', '.join(missing)}")
            return None
        return self._finished()

    def _make(self, source: str) -> None:
        """Train a source if need be, and write its archive."""
        metadata: Metadata = {}
        made: Plain = {}
        if source == REAL:
            self.report(f"{source}: cropping")
            members = real_members(self.pool, self.recipe.counts(REAL), self.recipe.format)
        else:
            generator, made = self._ready(source)
            metadata = self._plan(source).metadata(generator)
            self.report(f"{source}: sampling")
            began, processor_began = time.perf_counter(), time.process_time()

            def sampler(n: int, seed: int) -> Images:
                return generator.sample(n, rng=torch.Generator().manual_seed(seed))

            members = generated_members(
                source,
                sampler,
                self.pool,
                self.recipe.counts(source),
                surplus=self.recipe.surplus,
                apart=self.recipe.apart,
                kind=self.recipe.format,
            )
            made["sampling_seconds"] = time.perf_counter() - began
            made["sampling_processor_seconds"] = time.process_time() - processor_began
        comment = {"recipe": self._plan(source).identity(), "metadata": metadata, "made": made}
        write_archive(self._archive(source), members, json.dumps(comment, sort_keys=True).encode())

    def _ready(self, source: str) -> tuple[Generator, Plain]:
        """Return a source's generator, loaded from what its training saved, and how that went."""
        plan, folder = self._plan(source), self._trained(source)
        generator, steps = plan.generator(), plan.training.steps
        made: Plain = {"device": self.device, "torch": torch.__version__}
        if steps is not None:
            self.report(f"{source}: training {plan.training.generator} for {steps} steps in {folder}")
            try:
                training.train(
                    generator,
                    plan.images().to(self.device),
                    folder,
                    steps=steps,
                    seed=plan.seed,
                    settings=plan.settings,
                    monitor=self.monitor,
                    every=self.every,
                )
            except FloatingPointError as error:
                raise GfpBenchError(f"source {source!r}: {error}; {training.remains(folder)}") from error
            made |= training.trained(folder) or {}
        self._load(source, generator)
        return generator, made

    def _load(self, source: str, generator: Generator) -> None:
        """Load what was trained; a generator that is not trained here lies where its setting ``path`` says."""
        plan = self._plan(source)
        if plan.training.steps is None:
            generator.load(Path(str(plan.settings.get("path", ""))), device=self.device)
        else:
            training.load(generator, self._trained(source), device=self.device)

    def _finished(self) -> Manifest:
        """Check every image and write the manifest with its index."""
        recipe = self.recipe
        return index_folder(
            self.folder / recipe.name,
            recipe.name,
            about=About(recipe.description, recipe.licence, recipe.citation),
            sources={source: read_made(self._archive(source))["metadata"] for source in recipe.sources},
            group=GROUP,
            shared_groups=self.pool.shared_groups,
        )

    def _done(self, source: str) -> bool:
        """Return whether a source's archive stands and was made as the recipe says now."""
        file = self._archive(source)
        if not file.exists():
            return False
        plan = self._plan(source)
        expected, found = plan.identity(), {"format": "png", "truncation": 1.0, **read_made(file)["recipe"]}
        if "settings" in found and "settings" in expected:  # one that was added since had its default then
            defaults = resolved_settings(type(plan.generator()), {})
            found = {"apart": 1, **found, "settings": {**defaults, **found["settings"]}}
        if found != expected:
            raise UsageError(
                f"archive {file} was not made as recipe {self.recipe.name!r} says now: "
                f"{differences(found, expected)}; delete it to make it anew, or build into another folder"
            )
        return True

    def _expect_archives_of(self, sources: Sequence[str]) -> None:
        strange = {file.name for file in (self.folder / self.recipe.name).glob(f"*{SUFFIX}")}
        strange -= {f"{source}{SUFFIX}" for source in sources}
        if strange:
            raise UsageError(
                f"{self.folder / self.recipe.name} holds {', '.join(sorted(strange))}, which recipe "
                f"{self.recipe.name!r} does not name; move it away, or build into another folder"
            )

    def _expect_images(self, sources: Sequence[str]) -> None:
        """Raise, before hours are spent, if the pool is too small, or latents that there are not are to be scaled."""
        for source in (REAL, *sources) if sources else ():
            for split, count in self.recipe.counts(source).items():
                if source == REAL:
                    real_images(self.pool, split, count)
                else:
                    targets(self.pool, split, source, count)
            if source != REAL:
                self._plan(source).generator()

    def _plan(self, source: str) -> SourcePlan:
        return SourcePlan(self.recipe, self.pool, self.plugins, source)

    def _archive(self, source: str) -> Path:
        return self.folder / self.recipe.name / f"{source}{SUFFIX}"

    def _trained(self, source: str) -> Path:
        return self.zoo / (self.recipe.sources[source].weights_of or source)


def read_made(file: Path) -> Plain:
    """Return what an archive says of itself: recipe, what it was made from; metadata of the source; made, how it went.

    Raises:
        UsageError: If it was not made from a recipe.
        DatasetError: If it is damaged.
    """
    comment = read_comment(file)
    try:
        content: Plain = json.loads(comment)
        return {key: dict(content[key]) for key in ("recipe", "metadata", "made")}
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"archive {file} does not say what it was made from: it is damaged or no recipe's; move it away"
        ) from error
