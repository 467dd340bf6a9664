"""What is true of the images of a cell, and what became of it: from the index and from stored scores. Torch-free."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
from jaxtyping import Float, Int64
from numpy.typing import NDArray

from gfp_bench.contracts.task import Outcome, Shown, Task
from gfp_bench.data.index import rows_of
from gfp_bench.data.manifest import Manifest, read_index
from gfp_bench.engine.plan import Cell, Trial
from gfp_bench.engine.records import Record, Records

_LARGEST = 2.0**14  # of a fingerprint as it is stored, well inside of float16


class Truth:
    """What is true of the images of a plan's cells.

    Images are listed once for all cells that show the same ones.
    """

    def __init__(self, manifests: Mapping[str, Manifest], limit: int | None) -> None:
        self._manifests, self._limit = manifests, limit
        self._index = cache(lambda dataset: read_index(manifests[dataset]))
        self._found: dict[tuple[str, str, tuple[str, ...]], Shown] = {}

    def of(self, cell: Cell) -> Shown:
        """Return what is true of a cell's images, in the order in which they are scored."""
        what = cell.dataset, cell.split, cell.sources
        if what not in self._found:
            rows = rows_of(self._index(cell.dataset), cell.split, cell.sources, self._limit)
            self._found[what] = Shown(
                labels=np.searchsorted(cell.sources, rows["source"].to_list()).astype(np.int64),
                groups=rows["group"].to_numpy(),
                sources=cell.sources,
                metadata=self._manifests[cell.dataset].sources,
            )
        return self._found[what]


def outcomes(
    store: Records, trial: Trial, task: Task, truth: Truth, cells: Sequence[Cell] | None = None
) -> Iterator[tuple[Cell, Record, Outcome]]:
    """Yield the done cells of a trial, each with its record and what became of it.

    A results folder has all scores, a published board what `Task.keep` keeps of them; a folder that began as a copy
    of a board's records has some cells of the one kind, some of the other.

    Args:
        store: Where they lie.
        trial: Whose they are.
        task: What keeps and what asks.
        truth: What is true of their images.
        cells: These alone; all by default.

    Raises:
        RecordError: If something stored is damaged or missing.
    """
    archived: dict[str, NDArray[Any]] | None = None
    calibration: Outcome | None = None
    for cell in trial.cells if cells is None else cells:
        if (record := store.record(trial, cell)) is None:
            continue
        shown = truth.of(cell)
        if archived is None and not store.has_scores(trial, cell):
            archived = store.archived(trial)
        if archived and not store.has_scores(trial, cell):
            start = f"{cell.name}."
            kept = {name.removeprefix(start): array for name, array in archived.items() if name.startswith(start)}
        else:
            arrays = store.arrays(trial, cell, record)
            kept = {**task.keep(arrays.pop("scores"), shown, trial.known), **arrays}
        outcome = Outcome(
            kept=kept, shown=shown, known=trial.known, calibration=None if cell.calibration else calibration
        )
        if cell.calibration:
            calibration = outcome
        yield cell, record, outcome


def packed_fingerprints(
    features: Float[np.ndarray, "m d"], rows: Int64[np.ndarray, " m"]
) -> dict[str, Float[np.ndarray, "..."] | Int64[np.ndarray, "..."]]:
    """Return fingerprints as they are kept: float16, divided by a power of two that brings them into its range."""
    largest = float(np.abs(features).max(initial=0.0))
    scale = 2.0 ** max(0.0, np.ceil(np.log2(largest / _LARGEST))) if largest else 1.0
    return {
        "fingerprints": (features / scale).astype(np.float16),
        "fingerprint_scale": np.array([scale], dtype=np.float64),
        "fingerprint_rows": rows,
    }
