"""The loop that attribution networks are trained in: the epoch that does best on validation images is kept."""

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer

from gfp_bench import Labels, Monitor
from gfp_bench_methods._shared.features import balanced_accuracy

Batches: TypeAlias = Callable[[], Iterator[tuple[Tensor, Labels]]]
"""Starts a pass over a set: what the network takes, and the labels."""


@dataclass(frozen=True)
class Length:
    """A number of epochs, each of at most ``limit`` batches if that is set."""

    epochs: int
    limit: int | None = None

    def phrase(self, batch: int) -> str:
        """Return the length in words, for batches of so many images."""
        epochs = "1 epoch" if self.epochs == 1 else f"{self.epochs} epochs"
        return epochs if self.limit is None else f"{epochs} of at most {self.limit * batch} images"

    def updates(self, images: int, batch: int) -> int:
        """Return how many batches that is, for so many training images in batches of so many."""
        batches = -(-images // batch)
        return self.epochs * (batches if self.limit is None else min(batches, self.limit))


@dataclass(frozen=True)
class Schedule:
    """How long a network is trained.

    Attributes:
        rates: The learning rate of each epoch.
        batches: Batches in a full pass over the training images.
        limit: Batches after which a pass ends early, over training and validation images alike, or None.
    """

    rates: Sequence[float]
    batches: int
    limit: int | None = None

    @property
    def steps(self) -> int:
        """Updates in an epoch."""
        return self.batches if self.limit is None else min(self.batches, self.limit)


def train_network(
    network: nn.Module, optimiser: Optimizer, train: Batches, val: Batches, schedule: Schedule, monitor: Monitor
) -> None:
    """Minimise the cross-entropy, from the monitor's last checkpoint on if it has one; leave the best epoch's weights.

    The best epoch has the highest balanced accuracy on validation images and, where several have, the lowest loss.

    Raises:
        FloatingPointError: If the loss is no longer finite.
    """
    done, best, kept = 0, (-math.inf, -math.inf), copy.deepcopy(network.state_dict())
    if (state := monitor.restored()) is not None:
        done, best, kept = state["epochs"], state["best"], state["kept"]
        network.load_state_dict(state["network"])
        optimiser.load_state_dict(state["optimiser"])
    for epoch in range(done, len(schedule.rates)):
        for group in optimiser.param_groups:
            group["lr"] = schedule.rates[epoch]
        _train_epoch(network, optimiser, train, schedule, epoch, monitor)
        quality = evaluate(network, islice(val(), schedule.limit))
        if quality > best:
            best, kept = quality, copy.deepcopy(network.state_dict())
        monitor.checkpoint(
            {
                "epochs": epoch + 1,
                "best": best,
                "kept": kept,
                "network": network.state_dict(),
                "optimiser": optimiser.state_dict(),
            }
        )
    network.load_state_dict(kept)
    network.eval()


@torch.no_grad()
def evaluate(network: nn.Module, batches: Iterator[tuple[Tensor, Labels]]) -> tuple[float, float]:
    """Return the balanced accuracy, 0 to 1, and the mean log-likelihood of the right source."""
    network.eval()
    parts = [(network(inputs), labels) for inputs, labels in batches]
    logits, labels = (torch.cat(column) for column in zip(*parts, strict=True))
    return balanced_accuracy(logits.argmax(dim=1), labels), -float(F.cross_entropy(logits, labels))


def _train_epoch(
    network: nn.Module, optimiser: Optimizer, train: Batches, schedule: Schedule, epoch: int, monitor: Monitor
) -> None:
    network.train()
    total = len(schedule.rates) * schedule.steps
    for step, (inputs, labels) in enumerate(islice(train(), schedule.steps), start=epoch * schedule.steps + 1):
        loss = F.cross_entropy(network(inputs), labels)
        if not math.isfinite(value := loss.item()):
            raise FloatingPointError(
                f"the training loss became {value} in epoch {epoch + 1} of {len(schedule.rates)} "
                f"at a learning rate of {schedule.rates[epoch]}"
            )
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
        monitor.progress(step, total, loss=value)
