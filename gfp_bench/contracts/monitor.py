"""How a plugin reports that it is alive and lets a killed training go on."""

from collections.abc import Callable, Mapping

from torch import Tensor

from gfp_bench.contracts.state import State
from gfp_bench.contracts.types import Images


class Monitor:
    """Does nothing: what a plugin gets when nobody watches. The trial passes one that does."""

    def progress(self, step: int, total: int, **values: float) -> None:
        """Report that ``step`` of ``total`` is done; also the heartbeat of the idle limit.

        Args:
            step: Steps done, 0 to ``total``.
            total: Steps in all.
            **values: What to show beside the bar: a loss, an accuracy.
        """

    def checkpoint(self, state: State) -> None:
        """Offer the state of a training between two steps; it is kept when enough time has passed since the last.

        The state of ``rng``, of the global generators and of the image sets is kept with it.
        """

    def restored(self) -> State:
        """Return the state last kept by a training that was killed, or None; puts every random stream back as well."""
        return None

    def begun(self, weights: Mapping[str, Tensor]) -> None:
        """Report the weights that a training starts from, before its first step; not when it goes on."""

    def preview(self, step: int, draw: Callable[[], Images]) -> None:
        """Offer samples of a training at ``step``; ``draw`` is called if they are wanted, and leaves no trace in it."""


SILENT = Monitor()
