"""Progressive growing: each of its layers against a formula, and a training that may end in any phase."""

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from rounding import assert_same_but_for_rounding, terms
from safetensors.torch import load_file
from tiny_generators import Watcher, noise_pool, seeded, tiny
from torch import nn

from gfp_bench import Images, UsageError, load_state
from gfp_bench.contracts.state import State
from gfp_bench.zoo import training
from gfp_bench_generators._shared.progressive import (
    BatchDeviation,
    Conv,
    GrowingCritic,
    GrowingGenerator,
    PixelNorm,
    blended,
    drawn_weights,
)
from gfp_bench_generators.progan import ProGAN, _Fading

SIDE = 16
STEPS = 12  # four steps at each of three resolutions


def generator() -> GrowingGenerator:
    network = GrowingGenerator([8, 6, 4], 5)
    drawn_weights(network, seeded())
    return network


def critic() -> GrowingCritic:
    network = GrowingCritic([8, 6, 4])
    drawn_weights(network, seeded())
    return network


@pytest.fixture
def pool() -> Images:
    return noise_pool(SIDE)


class Growth(Watcher):
    """Remembers how far each step had grown as well: stages that are whole, and the share of the newest."""

    def __init__(self) -> None:
        super().__init__()
        self.alphas: list[float] = []

    def checkpoint(self, state: State) -> None:
        super().checkpoint(state)
        self.alphas.append(state["stage"] + state["fading"]["alpha"].item() - 1)


@pytest.mark.parametrize(("before", "side", "gain"), [(64, 1, 1.0), (16, 3, 1.0), (7, 4, 1.0), (16, 3, 2**0.5)])
def test_equalised_layers_keep_the_variance(before: int, side: int, gain: float) -> None:
    layer = Conv(before, 400, side, gain=gain)
    drawn_weights(layer, seeded())
    assert layer.weight.std().item() == pytest.approx(1, abs=0.02)
    outputs = layer(torch.randn(100, before, side, side, generator=seeded(1)))
    assert outputs.var().item() == pytest.approx(gain**2, rel=0.05)


def test_equalised_layer_is_a_convolution_of_scaled_weights() -> None:
    layer, maps = Conv(3, 2, 3, padding=1).double(), torch.randn(1, 3, 4, 4, generator=seeded()).double()
    drawn_weights(layer, seeded(1))
    layer.bias.data = torch.tensor([0.5, -0.5]).double()
    padded = np.pad(maps[0].numpy(), ((0, 0), (1, 1), (1, 1)))
    for channel, row, column in itertools.product(range(2), range(4), range(4)):
        patch = padded[:, row : row + 3, column : column + 3]
        expected = (layer.weight[channel].detach().numpy() * patch).sum() * np.sqrt(2 / 27) + [0.5, -0.5][channel]
        assert layer(maps)[0, channel, row, column].item() == pytest.approx(expected, abs=1e-9)


def test_pixel_norm_is_numpys() -> None:
    maps = torch.randn(2, 5, 3, 3, generator=seeded())
    maps[0, :, 0, 0] = 0
    values = maps.numpy().astype(np.float64)
    expected = values / np.sqrt((values**2).mean(axis=1, keepdims=True) + 1e-8)
    assert_same_but_for_rounding(PixelNorm()(maps), expected, operations=5)
    assert PixelNorm()(torch.full((1, 4, 1, 1), 3.0, dtype=torch.bfloat16)).flatten().tolist() == [1.0] * 4


def test_batch_deviation_by_hand() -> None:
    """Two channels of one pixel: values 1 and 3 deviate by 1 from their mean, 2 and 8 by 3; on average 2."""
    maps = torch.tensor([[1.0, 2.0], [3.0, 8.0]]).reshape(2, 2, 1, 1)
    assert BatchDeviation()(maps).flatten(1).tolist() == [
        pytest.approx([1, 2, 2], abs=1e-6),
        pytest.approx([3, 8, 2], abs=1e-6),
    ]


def test_equal_images_have_a_finite_slope() -> None:
    maps = torch.ones(2, 2, 1, 1, requires_grad=True)
    BatchDeviation()(maps).sum().backward()
    assert maps.grad.isfinite().all()


@pytest.mark.parametrize("level", [1, 2])
def test_generator_fades_from_the_doubled_lower_output_to_the_new_one(level: int) -> None:
    network, latents = generator().double(), torch.randn(2, 5, generator=seeded(1)).double()
    with torch.no_grad():
        lower, new = network(latents, level - 1), network(latents, level)
        doubled = torch.from_numpy(np.kron(lower.numpy(), np.ones((1, 1, 2, 2))))
        for share, expected in ((0.0, doubled), (1.0, new), (0.25, 0.75 * doubled + 0.25 * new)):
            assert_same_but_for_rounding(network(latents, level, share), expected, operations=terms(network))
        assert torch.equal(network(latents), network(latents, 2))


@pytest.mark.parametrize("level", [1, 2])
def test_critic_fades_from_pooled_images_to_whole_ones(level: int) -> None:
    network, images = critic().double(), torch.randn(2, 3, 4 << level, 4 << level, generator=seeded(1)).double()
    pooled = sum(images[:, :, i::2, j::2] for i in (0, 1) for j in (0, 1)) / 4
    with torch.no_grad():
        assert_same_but_for_rounding(network(images, level, 0.0), network(pooled, level - 1), operations=terms(network))
        assert (network(images, level, 1.0) - network(images, level, 0.0)).abs().min() > 1e-4
        changed = images.clone()
        changed[:, :, ::2] += 0.3
        changed[:, :, 1::2] -= 0.3  # the same when pooled
        assert_same_but_for_rounding(
            network(changed, level, 0.0), network(images, level, 0.0), operations=terms(network)
        )
        assert torch.equal(network(images, level, 1.0), network(images, level))


def test_real_images_are_pooled_and_blended() -> None:
    images = torch.rand(2, 3, 16, 16, generator=seeded()).double()
    blocks = images.numpy().reshape(2, 3, 8, 2, 8, 2).mean(axis=(3, 5))
    coarse = blocks.reshape(2, 3, 4, 2, 4, 2).mean(axis=(3, 5)).repeat(2, axis=2).repeat(2, axis=3)
    assert blended(images, 1, 0.25).numpy() == pytest.approx(0.75 * coarse + 0.25 * blocks, abs=1e-9)
    assert blended(images, 1, 1.0).numpy() == pytest.approx(blocks, abs=1e-9)
    assert torch.equal(blended(images, 2, 1.0), images)
    assert blended(images, 0, 0.5).shape == (2, 3, 4, 4)


def test_growth_follows_the_shares() -> None:
    assert tiny("progan").build(SIDE).heads[2].weight.shape == (3, 2, 1, 1)
    doubling, equal = ProGAN(longer=2.0), ProGAN(longer=1.0)
    doubling.side = equal.side = 64
    assert equal._ends(100) == [20, 40, 60, 80, 100]
    assert doubling._ends(31) == [1, 3, 7, 15, 31]
    assert ProGAN(width=16, most=64)._widths(64) == [64, 64, 64, 32, 16]


@pytest.mark.parametrize("longer", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("steps", [1, 2, 5])
def test_shortest_trainings_reach_the_full_side(longer: float, steps: int, pool: Images) -> None:
    trained = tiny("progan", longer=longer)
    trained.train(pool, steps=steps, rng=seeded())
    assert trained.sample(2, rng=seeded()).shape == (2, 3, SIDE, SIDE)


def test_fading_takes_its_share_of_a_resolution(pool: Images) -> None:
    watcher = Growth()
    tiny("progan", fade=0.5).train(pool, steps=STEPS, rng=seeded(), monitor=watcher)
    assert watcher.alphas == pytest.approx([0, 0, 0, 0, 0.5, 1, 1, 1, 1.5, 2, 2, 2])
    assert [(told["step"], told["total"]) for told in watcher.values] == [(step, STEPS) for step in range(1, STEPS + 1)]


def test_fading_ends_at_one_and_may_take_no_time() -> None:
    slow, none = _Fading(3, faded=False), _Fading(0, faded=False)
    assert [slow.advance() for _ in range(4)] == pytest.approx([1 / 3, 2 / 3, 1, 1])
    assert none.advance() == 1
    assert _Fading(3, faded=True).advance() == 1


def test_samples_do_not_depend_on_each_other(pool: Images) -> None:
    trained = tiny("progan")
    trained.train(pool, steps=STEPS, rng=seeded())
    network, latents = trained.network.double(), torch.randn(4, 3, generator=seeded(3)).double()
    singly = torch.cat([network(latent[None]) for latent in latents])
    assert_same_but_for_rounding(network(latents), singly, operations=terms(network))


@pytest.mark.parametrize("stop", [3, 4, 5, 7, 8, 9, 11])  # before, at and after a doubling; fading and faded
def test_interrupted_training_ends_as_an_undisturbed_one(stop: int, pool: Images, tmp_path: Path) -> None:
    training.train(tiny("progan"), pool, tmp_path / "whole", steps=STEPS, seed=5, every=0)
    with pytest.raises(KeyboardInterrupt):
        training.train(
            tiny("progan"), pool, tmp_path / "torn", steps=STEPS, seed=5, every=0, monitor=Watcher(stop, looks=False)
        )
    torch.rand(3)  # global random state must not matter
    training.train(tiny("progan"), pool, tmp_path / "torn", steps=STEPS, seed=5, every=0)
    whole, torn = (load_file(tmp_path / name / "generator.safetensors") for name in ("whole", "torn"))
    assert whole.keys() == torn.keys()
    assert all(torch.equal(whole[name], torn[name]) for name in whole)


def test_a_lengthened_training_stays_grown(pool: Images, tmp_path: Path) -> None:
    training.train(tiny("progan"), pool, tmp_path, steps=STEPS, seed=5, every=0)
    watcher = Growth()
    watcher.state = load_state(tmp_path / "checkpoint.safetensors")["training"]
    tiny("progan").train(pool, steps=2 * STEPS, rng=seeded(), monitor=watcher)
    assert watcher.alphas == [2.0] * STEPS


def test_previews_are_as_coarse_as_their_resolution(pool: Images) -> None:
    watcher = Watcher()
    tiny("progan").train(pool, steps=STEPS, rng=seeded(), monitor=watcher)
    assert {images.shape for images in watcher.previews} == {(16, 3, SIDE, SIDE)}
    coarse = watcher.previews[3]
    assert torch.equal(coarse, coarse[:, :, ::4, ::4].repeat_interleave(4, 2).repeat_interleave(4, 3))


def test_loss_is_that_of_a_linear_critic() -> None:
    """Of verdicts w x: their difference, drift, and a penalty on the norm of w, each by NumPy."""
    weights = torch.randn(3 * 16, generator=seeded()).double()
    real, fake = torch.rand(2, 5, 3, 4, 4, generator=seeded(1)).double()
    linear = nn.Sequential(nn.Flatten(), nn.Linear(len(weights), 1, bias=False))
    linear[1].weight.data = weights[None]
    found = ProGAN(penalty=3.0, drift=0.5)._critic_loss(linear, real, fake, seeded())
    judged, faked = (images.flatten(1).numpy() @ weights.numpy() for images in (real, fake))
    penalty = (np.linalg.norm(weights.numpy()) - 1) ** 2
    expected = faked.mean() - judged.mean() + 3 * penalty + 0.5 * (judged**2).mean()
    assert found.item() == pytest.approx(expected, rel=1e-4)


def test_only_grown_layers_learn(pool: Images, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        training.train(tiny("progan"), pool, tmp_path, steps=STEPS, seed=0, every=0, monitor=Watcher(6, looks=False))
    kept = load_state(tmp_path / "checkpoint.safetensors")["training"]
    start = tiny("progan").build(SIDE)
    drawn_weights(start, seeded(0))
    for name, weights in start.state_dict().items():
        same = torch.equal(kept["generator"][name], weights)
        assert same == (name.startswith(("blocks.2", "heads.2"))), name


@pytest.mark.parametrize(
    ("setting", "value"), [("fade", 1.5), ("fade", math.nan), ("longer", 0.0), ("width", 0), ("batch", 0)]
)
def test_other_settings_are_refused(setting: str, value: float) -> None:
    with pytest.raises(UsageError, match=f"setting '{setting}' of 'progan' got {value}, expected (int|float) "):
        tiny("progan", **{setting: value})


@pytest.mark.parametrize("side", [8, 32, 128])
def test_networks_fit_images(side: int) -> None:
    model = tiny("progan")
    images = model.build(side)(torch.zeros(2, 3))
    assert images.shape == (2, 3, side, side)
    assert GrowingCritic(model._widths(side))(images).shape == (2, 1)
    assert F.avg_pool2d(images, side // 4).shape == model.build(side)(torch.zeros(2, 3), 0).shape
