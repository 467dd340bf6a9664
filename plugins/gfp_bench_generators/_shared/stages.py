"""Trainings of several stages, each a call of the shared loop; a killed one goes on in the stage where it was."""

from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from gfp_bench import Images, Monitor, State, UsageError
from gfp_bench_generators._shared.training import Network, Update, train


class Stage(Monitor):
    """A training's monitor as one of its stages sees it: progress counts all steps, checkpoints know their stage.

    Attributes:
        number: Of the stage, from 0.
        start: Steps that the stages before took.
        end: Steps when this one is over.
    """

    def __init__(self, onward: Monitor, number: int, start: int, end: int, total: int, state: State) -> None:
        self._onward, self._total, self._state = onward, total, state
        self.number, self.start, self.end = number, start, end

    def progress(self, step: int, total: int, **values: float) -> None:
        self._onward.progress(step, self._total, **values)

    def checkpoint(self, state: State) -> None:
        self._onward.checkpoint({**state, "stage": self.number, "start": self.start})

    def restored(self) -> State:
        return self._state

    def begun(self, weights: Mapping[str, Tensor]) -> None:
        self._onward.begun(weights)

    def preview(self, step: int, draw: Callable[[], Images]) -> None:
        self._onward.preview(step, draw)


def stages(monitor: Monitor, ends: Sequence[int]) -> Iterator[Stage]:
    """Yield the stages of a training that are not over.

    Args:
        monitor: The training's.
        ends: Steps at which each stage should end; the last are all. A stage that is cut short and then finds itself
            beyond its end, since the training was lengthened or shortened, is over at once.

    Raises:
        UsageError: If the checkpoint is of a training without such a stage.
    """
    state = monitor.restored()
    if state is not None and state.get("stage", len(ends)) >= len(ends):
        raise UsageError(
            f"the checkpoint is of stage {state.get('stage')}, expected one of {len(ends)} stages from 0; "
            "take another folder"
        )
    first, start = (0, 0) if state is None else (state["stage"], state["start"])
    for number in range(first, len(ends)):
        done = start if state is None else state["step"]
        end = min(max(ends[number], done), ends[-1])
        yield Stage(monitor, number, start, end, ends[-1], state)
        state, start = None, end


def train_stage(
    stage: Stage,
    update: Update,
    network: Network,
    parts: Mapping[str, nn.Module | Optimizer],
    pool: Images,
    *,
    batch: int,
    rng: torch.Generator,
    preview: Callable[[Network], Images],
) -> Network:
    """Return what `train` does of a stage's steps, in evaluation mode."""
    averaged = train(
        update,
        network,
        parts,
        pool,
        steps=stage.end,
        batch=batch,
        rng=rng,
        monitor=stage,
        preview=preview,
        after=stage.start,
    )
    return averaged.eval()
