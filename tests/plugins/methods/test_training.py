from collections.abc import Iterator
from itertools import islice

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from rounding import assert_same_but_for_rounding
from sklearn.metrics import balanced_accuracy_score, log_loss
from torch import Tensor, nn

from gfp_bench import SILENT, Monitor
from gfp_bench_methods._shared.training import Schedule, evaluate, train_network

INPUTS, LABELS = torch.randn(40, 5, generator=torch.Generator().manual_seed(3)), torch.arange(40) % 3


def batches(rng: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
    for chosen in torch.split(torch.randperm(40, generator=rng), 8):
        yield INPUTS[chosen], LABELS[chosen]


def whole() -> Iterator[tuple[Tensor, Tensor]]:
    yield INPUTS, LABELS


def network() -> nn.Module:
    """Weights in another memory layout than checkpoints have, noise from the global generator, batch statistics."""
    torch.manual_seed(1)
    conv = nn.Conv2d(5, 6, 3, padding=1)
    conv.weight = nn.Parameter(conv.weight.detach().contiguous(memory_format=torch.channels_last))
    return nn.Sequential(
        nn.Unflatten(1, (5, 1, 1)), conv, nn.BatchNorm2d(6), nn.Flatten(), nn.Dropout(0.2), nn.Linear(6, 3)
    )


def optimiser(kind: str, trained: nn.Module) -> torch.optim.Optimizer:
    if kind == "sgd":
        return torch.optim.SGD(trained.parameters(), 0.1, momentum=0.9, weight_decay=1e-4)
    return torch.optim.Adam(trained.parameters(), betas=(0.0, 0.99))


@pytest.mark.parametrize("kind", ["adam", "sgd"])
@pytest.mark.parametrize("die_after", [0, 1, 3])
def test_a_killed_training_ends_as_an_undisturbed_one(interrupted, kind: str, die_after: int) -> None:
    finished = []

    def train(rng: torch.Generator, monitor: Monitor) -> None:
        trained = network()
        torch.manual_seed(0)
        train_network(
            trained,
            optimiser(kind, trained),
            lambda: batches(rng),
            whole,
            Schedule([0.1, 0.05, 0.05, 0.01], 5),
            monitor,
        )
        finished.append(trained.state_dict())

    train(torch.Generator().manual_seed(0), SILENT)
    steps = interrupted(train, die_after)
    assert steps[-1] == (20, 20)
    assert len(steps) == 20 + 5  # only the epoch in hand is trained again
    undisturbed, resumed = finished
    assert all(torch.equal(undisturbed[name], resumed[name]) for name in undisturbed)


def test_updates_are_those_of_a_plain_loop(rng) -> None:
    trained, oracle = nn.Linear(5, 3), nn.Linear(5, 3)
    oracle.load_state_dict(trained.state_dict())
    train_network(
        trained,
        torch.optim.SGD(trained.parameters(), 9.0),
        lambda: batches(rng),
        whole,
        Schedule([0.1, 0.01], 5, limit=3),
        SILENT,
    )
    again = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for rate in (0.1, 0.01):
            for inputs, labels in islice(batches(again), 3):
                error = F.softmax(oracle(inputs), dim=1) - F.one_hot(labels, 3)
                oracle.weight -= rate * error.T @ inputs / len(inputs)
                oracle.bias -= rate * error.mean(dim=0)
    for found, expected in ((trained.weight, oracle.weight), (trained.bias, oracle.bias)):
        assert_same_but_for_rounding(found, expected, operations=6 * (5 + 5))  # six updates, each a product and a mean


def test_the_best_epoch_on_validation_images_is_kept(rng) -> None:
    good, worse = nn.Linear(5, 3), nn.Linear(5, 3)
    train_network(good, optimiser("sgd", good), lambda: batches(rng), whole, Schedule([0.1], 5), SILENT)
    worse.load_state_dict(good.state_dict())
    before = evaluate(good, whole())
    one_epoch_right = iter([whole, lambda: iter([(INPUTS, 2 - LABELS)])])  # the second epoch fails its validation
    rates = Schedule([1e-6, 1e-1], 5)
    train_network(worse, optimiser("sgd", worse), lambda: batches(rng), lambda: next(one_epoch_right)(), rates, SILENT)
    assert evaluate(worse, whole()) == pytest.approx(before, abs=1e-3)
    torch.testing.assert_close(worse.weight, good.weight, atol=1e-4, rtol=0)


def test_evaluation_is_scikit_learns() -> None:
    trained = nn.Linear(5, 3)
    accuracy, likelihood = evaluate(trained, iter([(INPUTS[:30], LABELS[:30]), (INPUTS[30:], LABELS[30:])]))
    shares = trained(INPUTS).softmax(dim=1).detach().double().numpy()
    assert accuracy == pytest.approx(balanced_accuracy_score(LABELS, shares.argmax(axis=1)))
    assert likelihood == pytest.approx(-log_loss(LABELS, shares / shares.sum(axis=1, keepdims=True)), rel=1e-5)


def test_a_diverging_training_names_its_epoch(rng) -> None:
    trained = nn.Linear(5, 3)
    rates = [0.1, np.inf, 0.1]
    with pytest.raises(FloatingPointError, match="loss became nan in epoch 2 of 3 at a learning rate of inf"):
        train_network(trained, optimiser("sgd", trained), lambda: batches(rng), whole, Schedule(rates, 5), SILENT)
