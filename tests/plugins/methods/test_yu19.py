import numpy as np
import pytest
import torch
import torch.nn.functional as F
from rounding import assert_same_but_for_rounding, terms
from torch import nn

from gfp_bench import Monitor
from gfp_bench.data.manifest import Manifest
from gfp_bench_methods import yu19
from gfp_bench_methods._shared.training import Length
from gfp_bench_methods.yu19 import AttributionNetwork, Mirrored, Yu19, to_input


@pytest.fixture
def striped(make_set, noise):
    """Each source lightens its own channel's left columns: nothing that a mirror image would lose."""
    labels = np.arange(48) % 3
    pixels = noise[..., :8, :8].copy()
    for source in range(3):
        pixels[labels == source, source, :, ::2] += 60
    return make_set(pixels, labels)


@pytest.mark.parametrize(("side", "n_sources", "count"), [(64, 13, 8_904_461), (128, 5, 8_913_797)])
def test_number_of_parameters(side: int, n_sources: int, count: int) -> None:
    assert sum(weights.numel() for weights in AttributionNetwork(n_sources, side, side).parameters()) == count


def test_network_is_the_papers_layer_by_layer() -> None:
    network = AttributionNetwork(3, 16, 16).double()
    for name, weights in network.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(weights)
    state = [weights.detach() for weights in network.parameters()]
    maps = torch.rand(2, 3, 16, 16).double() * 2 - 1

    def convolved(maps: torch.Tensor, index: int) -> torch.Tensor:
        weight, bias = state[2 * index : 2 * index + 2]
        padded = torch.from_numpy(np.pad(maps.numpy(), ((0, 0), (0, 0), (1, 1), (1, 1)), mode="reflect"))
        raw = F.conv2d(padded, weight * np.sqrt(2 / weight[0].numel())) + bias[:, None, None]
        return torch.where(raw > 0, raw, 0.2 * raw)

    inputs = maps
    for block in range(2):
        maps = convolved(convolved(maps, 2 * block), 2 * block + 1)
        maps = sum(maps[:, :, i::2, j::2] for i in (0, 1) for j in (0, 1)) / 4
    rows = convolved(maps, 4).reshape(2, 8192) @ (state[10] * np.sqrt(2 / 8192)).T + state[11]
    rows = torch.where(rows > 0, rows, 0.2 * rows)
    with torch.no_grad():
        assert_same_but_for_rounding(network.fingerprints(inputs), rows, operations=terms(network))
        expected = rows @ (state[12] / np.sqrt(512)).T + state[13]
        assert_same_but_for_rounding(network(inputs), expected, operations=terms(network))
    assert [weights.shape[0] for weights in state[:10:2]] == [128, 256, 256, 512, 512]


@pytest.mark.parametrize(("height", "width"), [(4, 4), (8, 8), (5, 7)])
def test_borders_are_mirrored_and_so_is_the_gradient(height: int, width: int) -> None:
    maps = torch.rand(2, 3, height, width, dtype=torch.double, requires_grad=True)
    weights = torch.rand(2, 3, height + 2, width + 2, dtype=torch.double)
    padded, expected = Mirrored.apply(maps), F.pad(maps, (1, 1, 1, 1), mode="reflect")
    assert torch.equal(padded, expected)
    gradients = [torch.autograd.grad((weights * result).sum(), maps)[0] for result in (padded, expected)]
    torch.testing.assert_close(*gradients)


def test_images_become_minus_one_to_one() -> None:
    image = torch.tensor([0, 255, 51], dtype=torch.uint8).reshape(1, 3, 1, 1)
    torch.testing.assert_close(to_input(image).flatten(), torch.tensor([-1, 1, -0.6]))


def test_recovers_planted_stripes(striped, monkeypatch, rng, reload) -> None:
    monkeypatch.setitem(yu19._FIT, "smoke", Length(4))
    torch.manual_seed(0)
    train, test = (striped.subset(np.arange(start, start + 24)) for start in (0, 24))
    method = Yu19(budget="smoke")
    method.fit(train, test, rng=rng)
    scores = method.scores(test.images)
    assert torch.equal(scores.argmax(dim=1), test.labels)
    assert method.fingerprints(test.images).shape == (24, 512)
    loaded = reload(method, Yu19(budget="smoke"))
    assert torch.equal(loaded.scores(test.images), scores)
    assert_same_but_for_rounding(method.scores(test.images[5:7]), scores[5:7], operations=terms(method.network))


def test_training_sees_every_image_once_and_half_of_them_mirrored(striped, monkeypatch, rng) -> None:
    seen = []
    monkeypatch.setattr(yu19, "train_network", lambda network, optimiser, train, *_: seen.extend(train()))
    Yu19().fit(striped, striped, rng=rng)
    known = {image.numpy().tobytes(): (place, False) for place, image in enumerate(to_input(striped.images))}
    known |= {image.numpy().tobytes(): (place, True) for place, image in enumerate(to_input(striped.images.flip(3)))}
    inputs, labels = (torch.cat(column) for column in zip(*seen, strict=True))
    found = [(*known[image.numpy().tobytes()], label) for image, label in zip(inputs, labels, strict=True)]
    assert sorted(place for place, _, _ in found) == list(range(48))
    assert all(label == striped.labels[place] for place, _, label in found)
    assert 12 < sum(mirrored for _, mirrored, _ in found) < 36
    assert [place for place, _, _ in found] != list(range(48))


def test_immunisation_changes_the_network_but_little(striped, rng) -> None:
    torch.manual_seed(0)
    method = Yu19(budget="smoke")
    method.build(3, striped.image_shape)
    before = {name: weights.clone() for name, weights in method.network.state_dict().items()}
    steps: list[tuple[int, int]] = []

    class Counter(Monitor):
        def progress(self, step: int, total: int, **values: float) -> None:
            steps.append((step, total))

    method.immunise(striped, striped, rng=rng, monitor=Counter())
    assert steps == [(1, 2), (2, 2)]
    assert method.fine_tuning(len(striped)) == 2
    assert [Yu19(budget="smoke").fine_tuning(images) for images in (192, 193, 9999)] == [6, 6, 6]
    assert Yu19().fine_tuning(9999) == 2 * 313
    change = max((weights - before[name]).abs().max().item() for name, weights in method.network.state_dict().items())
    assert 0 < change < 2.42e-4  # two steps at a rate of 1e-4: the first of that size, the second at most 1.41 times


def test_a_killed_fit_ends_as_an_undisturbed_one(striped, interrupted, monkeypatch) -> None:
    monkeypatch.setattr(yu19, "AttributionNetwork", lambda *_: nn.Sequential(nn.Flatten(), nn.Linear(192, 3)))
    finished = []

    def fit(rng: torch.Generator, monitor: Monitor) -> None:
        torch.manual_seed(0)
        method = Yu19(budget="smoke")
        method.fit(striped, striped, rng=rng, monitor=monitor)
        finished.append(method.scores(striped.images))

    fit(torch.Generator().manual_seed(0), Monitor())
    interrupted(fit, die_after=1)
    assert torch.equal(*finished)


@pytest.mark.parametrize(("height", "width"), [(64, 32), (48, 48), (4, 4)])
def test_sizes_that_do_not_halve_are_refused(toy: Manifest, height: int, width: int) -> None:
    size = toy.image_size.__class__((height, width))
    reason = Yu19().skip(toy.model_copy(update={"image_size": size}))
    assert reason == f"images are {height} x {width}, expected squares with a side of 8, 16, 32, ... 1024"
    with pytest.raises(ValueError, match=f"yu19 got images of {height} x {width}, expected squares"):
        AttributionNetwork(3, height, width)


def test_a_side_of_a_power_of_two_is_taken(toy: Manifest) -> None:
    assert Yu19().skip(toy) is None


def test_strange_budget_is_refused() -> None:
    with pytest.raises(ValueError, match="'budget' of 'yu19' got 'huge', expected 'full' or 'smoke'"):
        Yu19(budget="huge")
