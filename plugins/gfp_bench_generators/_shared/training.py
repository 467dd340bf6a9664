"""The loop that every generator trains in: checkpoints, averaged weights, a watch for divergence."""

import copy
import math
from collections.abc import Callable, Iterable, Mapping
from typing import TypeAlias, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils import get_total_norm
from torch.optim import Optimizer

from gfp_bench import Images, Monitor, State, UsageError, has_matrix_units

Network = TypeVar("Network", bound=nn.Module)

Draw: TypeAlias = Callable[[], Tensor]
"""Returns the next batch of real images: (n, 3, h, w), in [-1, 1]."""

Update: TypeAlias = Callable[[Draw], Mapping[str, float]]
"""Takes one step and returns its losses."""

_DECAY = 0.999  # of the averaged weights, per step


def train(
    update: Update,
    generator: Network,
    parts: Mapping[str, nn.Module | Optimizer],
    pool: Images,
    *,
    steps: int,
    batch: int,
    rng: torch.Generator,
    monitor: Monitor,
    preview: Callable[[Network], Images] | None = None,
    after: int = 0,
) -> Network:
    """Update a generator for some steps, from the monitor's last checkpoint on if it has one.

    Args:
        update: Takes one step.
        generator: The network whose weights are averaged.
        parts: What else a step changes, by name.
        pool: What batches are drawn from, with replacement.
        steps: Updates in all.
        batch: Images a batch.
        rng: Draws the batches.
        monitor: Takes progress, checkpoints and previews.
        preview: Draws a few samples from a copy of the averaged generator, always from the same latents.
        after: Steps that earlier stages of the training took; the average begins anew.

    Returns:
        The averaged generator.

    Raises:
        UsageError: If the checkpoint is of another generator or of a later step than the last one asked for.
        FloatingPointError: If a loss or a weight is no longer finite; the checkpoint before stays.
    """
    averaged = copy.deepcopy(generator)
    parts = {**parts, "generator": generator, "averaged": averaged}
    state = monitor.restored()
    if state is None and not after:
        monitor.begun(generator.state_dict())
    done: int = after if state is None else _restored(parts, state)
    if done > steps:
        raise UsageError(f"the training is at step {done}, beyond the {steps} asked for; take another folder")
    for step in range(done + 1, steps + 1):
        losses = update(lambda: to_unit(pool[torch.randint(len(pool), (batch,), generator=rng)]))
        _refuse_divergence(losses, parts.values(), step)
        _average(averaged, generator, min(_DECAY, (step - after) / (step - after + 10)))
        monitor.checkpoint({"step": step, **{name: part.state_dict() for name, part in parts.items()}})
        if preview is not None:
            monitor.preview(step, lambda: preview(copy.deepcopy(averaged)))
        monitor.progress(step, steps, **losses)
    return averaged


def descend(optimiser: Optimizer, loss: Tensor) -> float:
    """Take one step down ``loss``, differentiated by the optimiser's own weights only; return the loss."""
    optimiser.zero_grad()
    weights = [weight for group in optimiser.param_groups for weight in group["params"]]
    torch.autograd.backward(loss, inputs=weights)
    optimiser.step()
    return loss.item()


def mixed(images: Tensor) -> torch.autocast:
    """Return a context in which convolutions run in bfloat16, if that is faster on the device of ``images``."""
    device = images.device.type
    return torch.autocast(device, torch.bfloat16, enabled=device != "cpu" or has_matrix_units())


def to_unit(images: Images) -> Tensor:
    """Return grey levels 0..255 as float32 in [-1, 1]."""
    return images.float() / 127.5 - 1


@torch.no_grad()
def recalibrate(network: nn.Module, batches: Iterable[Tensor]) -> nn.Module:
    """Return ``network`` in evaluation mode, its batch statistics estimated anew as the mean over ``batches``.

    Averaged weights need it: the statistics gathered in training belong to other weights.
    """
    norms = [layer for layer in network.modules() if isinstance(layer, nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # torch's word for a plain mean
    network.train()
    for batch in batches:
        network(batch)
    return network.eval()


def _restored(parts: Mapping[str, nn.Module | Optimizer], state: State) -> int:
    """Put all parts back to where a checkpoint has them, and return its step."""
    try:
        for name, part in parts.items():
            part.load_state_dict(state[name])
        step: int = state["step"]
    except (KeyError, ValueError, RuntimeError) as error:  # a part is missing, or of another shape
        raise UsageError(
            f"the checkpoint does not fit ({error}), expected one of this generator, with "
            f"{', '.join(sorted(parts))}; take another folder"
        ) from error
    return step


def _refuse_divergence(losses: Mapping[str, float], parts: Iterable[nn.Module | Optimizer], step: int) -> None:
    weights = [weight for part in parts if isinstance(part, nn.Module) for weight in part.parameters()]
    if not all(map(math.isfinite, [*losses.values(), get_total_norm(weights).item()])):
        shown = ", ".join(f"{name} {value:g}" for name, value in losses.items())
        raise FloatingPointError(
            f"training diverged at step {step}: losses ({shown}) and weights should be finite; "
            "take another seed or a lower rate"
        )


@torch.no_grad()
def _average(averaged: nn.Module, network: nn.Module, decay: float) -> None:
    for kept, current in zip(averaged.parameters(), network.parameters(), strict=True):
        kept.lerp_(current, 1 - decay)
