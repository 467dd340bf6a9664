"""The contract of a method: fitted on labelled images, it scores an image against every source."""

import inspect
from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

import torch
from torch import nn

from gfp_bench.contracts.dataset import DatasetFacts
from gfp_bench.contracts.images import ImageSet
from gfp_bench.contracts.monitor import SILENT, Monitor
from gfp_bench.contracts.settings import Configurable
from gfp_bench.contracts.state import load_state, save_state
from gfp_bench.contracts.types import Fingerprints, Images, Scores
from gfp_bench.errors import PluginError

_STATE = "state.safetensors"


class Method(Configurable, ABC):
    """A way to read fingerprints.

    Settings are keyword arguments of ``__init__``, kept under their own names, whose defaults are the paper's. What
    `fit` sets besides is the fitted state. Only `fit`, `immunise` and `load` write to ``self``.

    Attributes:
        name: First author and year, or what the method is commonly called.
        paper: Where it was published, or "" for a floor.
        version: Raised by hand whenever results change.
        stochastic: Whether the seed matters; if not, the method runs once, whatever the seeds.
        preload: Modules that take long to import and that `fit` imports; a run loads them once for all trials.
        floor: Whether every plan includes it, as a mark to be above.
        weights: "" without trained weights, else "scratch", "imagenet" or "local"; may be set in ``__init__``.
        weight_files: Files with trained weights that it reads: their content is a part of what is measured, so records
            and keys name it; may be set in ``__init__``.
        deviations: What differs from the paper, a phrase each, for the footnotes of a board.
    """

    name: ClassVar[str]
    paper: ClassVar[str]
    version: ClassVar[int]
    stochastic: ClassVar[bool] = True
    preload: ClassVar[tuple[str, ...]] = ()
    floor: ClassVar[bool] = False
    weights: str = ""
    weight_files: tuple[str, ...] = ()
    deviations: tuple[str, ...] = ()

    @abstractmethod
    def fit(self, train: ImageSet, val: ImageSet, *, rng: torch.Generator, monitor: Monitor = SILENT) -> None:
        """Learn the sources from ``train``; choose thresholds and hyper-parameters on ``val``.

        Args:
            train: Labelled images of every source.
            val: Likewise, of the validation split.
            rng: All randomness: a generator on the CPU (draw there, then move).
            monitor: Takes progress and checkpoints.
        """

    @abstractmethod
    def scores(self, images: Images) -> Scores:
        """Return one row per image and one column per source (in sorted order), the largest being the answer.

        An image's scores do not depend on the rest of the batch.
        """

    def fingerprints(self, images: Images) -> Fingerprints:
        """Return (n, d) values, the space in which separability is measured; the scores by default."""
        return self.scores(images)

    def immunise(self, train: ImageSet, val: ImageSet, *, rng: torch.Generator, monitor: Monitor = SILENT) -> None:
        """Adapt the fitted method to an attack, given sets that attack every image; refits by default."""
        self.fit(train, val, rng=rng, monitor=monitor)

    def fine_tuning(self, train_images: int) -> int | None:
        """Return how many updates `immunise` makes on a number of training images, or None if it fits anew.

        A method with an `immunise` of its own says so here, since boards tell what was trained on from what was fitted
        again.
        """
        return None

    @property
    def states_immunisation(self) -> bool:
        """Whether it is known what `immunise` does: the default fits anew, any other has to say it."""
        cls = type(self)
        return cls.immunise is Method.immunise or cls.fine_tuning is not Method.fine_tuning

    def partial_fit(self, train: ImageSet, val: ImageSet, *, rng: torch.Generator, monitor: Monitor = SILENT) -> None:
        """Learn further sources, given images of these alone; scores then have a column for every source known.

        Columns are in the sorted order of all names known, so a method that implements this keeps the names of
        ``train.sources``.
        """
        raise PluginError(f"method {self.name!r} cannot learn sources that arrive later; it has no partial_fit()")

    @property
    def is_incremental(self) -> bool:
        """Whether the method implements `partial_fit`."""
        return type(self).partial_fit is not Method.partial_fit

    def skip(self, dataset: DatasetFacts) -> str | None:
        """Return why the method cannot run on a dataset (too small, no ``real``), or None."""
        return None

    def build(self, n_sources: int, image_shape: torch.Size) -> None:
        """Set untrained networks on ``self``; a method that has any calls this in `fit`, and `load` calls it too.

        Overriding methods call ``super().build`` first: it notes the two numbers, which `save` keeps.
        """
        self.n_sources, self.image_shape = n_sources, tuple(image_shape)

    def save(self, folder: Path) -> None:
        """Write the fitted state into an existing folder: tensors, arrays, numbers, text and networks' states."""
        networks, values = {}, {}
        for name, value in self._fitted().items():
            if isinstance(value, nn.Module):
                networks[name] = {"state": dict(value.state_dict()), "training": value.training}
            else:
                values[name] = value
        save_state(folder / _STATE, {"networks": networks, "values": values})

    def load(self, folder: Path, *, device: torch.device | str = "cpu") -> None:
        """Take over what `save` wrote, on ``device``; called on a method made with the same settings."""
        kept = load_state(folder / _STATE, device)
        if not isinstance(kept, dict) or kept.keys() != {"networks", "values"}:
            found = ", ".join(map(repr, kept)) if isinstance(kept, dict) else type(kept).__name__
            raise PluginError(
                f"the saved state of method {self.name!r} has {found or 'nothing'}, expected 'networks' and 'values', "
                "which save() of the base class writes; a method with a save() of its own needs its own load(), any "
                "other has to be fitted again"
            )
        networks, values = kept["networks"], kept["values"]
        if networks:
            if not {"n_sources", "image_shape"} <= values.keys():
                raise PluginError(
                    f"method {self.name!r} was saved with networks but without the sizes that build() takes, as if by "
                    "another version; fit it again"
                )
            self.build(values["n_sources"], torch.Size(values["image_shape"]))
        for name, part in networks.items():
            network = getattr(self, name, None)
            if not isinstance(network, nn.Module):
                raise PluginError(
                    f"method {self.name!r} was saved with the network {name!r}, which its build() does not create; "
                    "create every network there"
                )
            network.load_state_dict(part["state"], strict=True)
            network.to(device).train(part["training"])
        for name, value in values.items():
            setattr(self, name, value)
        made = (name for name, value in vars(self).items() if isinstance(value, nn.Module))
        if strange := [name for name in made if name not in networks]:
            raise PluginError(
                f"method {self.name!r} has the network {strange[0]!r}, which the saved state lacks: it would be "
                "untrained; fit it again"
            )

    def _fitted(self) -> dict[str, object]:
        """Return what is on the method besides its settings and what the contract declares."""
        fixed = {*inspect.signature(type(self)).parameters, "weights", "weight_files", "deviations"}
        fitted = {name: value for name, value in vars(self).items() if name not in fixed}
        networks = [name for name, value in fitted.items() if isinstance(value, nn.Module)]
        if networks and not {"n_sources", "image_shape"} <= fitted.keys():
            raise PluginError(
                f"method {self.name!r} has the network {networks[0]!r} but build() of the base class was never called; "
                "create networks in an overridden build() that calls super().build()"
            )
        return fitted
