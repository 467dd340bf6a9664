"""What holds for every generator of the zoo, and what is known of each one's parts."""

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from gfp_bench import Generator, UsageError, load_state, zoo
from gfp_bench.monitor import Monitor
from gfp_bench_generators import _training, vae, wgan_gp
from gfp_bench_generators._networks import channels, fresh, tower
from gfp_bench_generators._sampling import decode
from gfp_bench_generators.dcgan import DCGAN
from gfp_bench_generators.vae import VAE
from gfp_bench_generators.wgan_gp import WGANGP

SIDE = 8


def tiny(cls: type[Generator], **settings: float) -> Generator:
    extra = {DCGAN: {"discriminator_width": 4}, WGANGP: {"critic_steps": 2}, VAE: {"mixture": 2}}[cls]
    return cls(width=4, latent=3, batch=4, **extra, **settings)


@pytest.fixture
def pool() -> torch.Tensor:
    return torch.randint(0, 256, (12, 3, SIDE, SIDE), dtype=torch.uint8, generator=torch.Generator().manual_seed(7))


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Interruption(Monitor):
    """Ends a training at a step, as a kill would."""

    def __init__(self, at: int) -> None:
        self.at = at

    def progress(self, step: int, total: int, **values: float) -> None:
        if step == self.at:
            raise KeyboardInterrupt


every_generator = pytest.mark.parametrize("cls", [DCGAN, WGANGP, VAE])


@every_generator
def test_trained_generator_survives_its_file(cls: type[Generator], pool: torch.Tensor, tmp_path: Path) -> None:
    trained, loaded = tiny(cls), tiny(cls)
    trained.train(pool, steps=2, rng=seeded())
    trained.save(tmp_path)
    loaded.load(tmp_path)
    images = trained.sample(5, rng=seeded(1))
    assert images.shape == (5, 3, SIDE, SIDE)
    assert images.dtype == torch.uint8
    assert torch.equal(images, loaded.sample(5, rng=seeded(1)))
    assert not torch.equal(images, loaded.sample(5, rng=seeded(2)))


@every_generator
def test_samples_do_not_depend_on_each_other(cls: type[Generator], pool: torch.Tensor) -> None:
    """In evaluation mode an image is its latent's alone: batch statistics would tie it to the others."""
    generator = tiny(cls)
    generator.train(pool, steps=2, rng=seeded())
    assert not any(module.training for module in generator.network.modules())
    latents = torch.randn(6, 3, generator=seeded(3))
    singly = torch.cat([decode(generator.network, latent[None]) for latent in latents])
    assert (decode(generator.network, latents).int() - singly.int()).abs().max() <= 1


@every_generator
@pytest.mark.parametrize("stop", [1, 3])
def test_interrupted_training_ends_as_an_undisturbed_one(
    cls: type[Generator], stop: int, pool: torch.Tensor, tmp_path: Path
) -> None:
    zoo.train(tiny(cls), pool, tmp_path / "whole", steps=4, seed=5, every=0)
    with pytest.raises(KeyboardInterrupt):
        zoo.train(tiny(cls), pool, tmp_path / "torn", steps=4, seed=5, every=0, monitor=Interruption(stop))
    torch.rand(3)  # global random state must not matter
    zoo.train(tiny(cls), pool, tmp_path / "torn", steps=4, seed=5, every=0)
    whole, torn = (load_file(tmp_path / name / "generator.safetensors") for name in ("whole", "torn"))
    assert whole.keys() == torn.keys()
    assert all(torch.equal(whole[name], torn[name]) for name in whole)


@every_generator
def test_divergence_names_the_step_and_keeps_a_finite_checkpoint(
    cls: type[Generator], pool: torch.Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches = itertools.count(1)

    def poisoned(images: torch.Tensor) -> torch.Tensor:
        return torch.full_like(images, math.nan if next(batches) > 4 else 0.5, dtype=torch.float32)

    monkeypatch.setattr(_training, "to_unit", poisoned)
    step = 3 if cls is WGANGP else 5  # its critic takes two batches a step
    with pytest.raises(FloatingPointError, match=f"diverged at step {step}: losses .*nan"):
        zoo.train(tiny(cls), pool, tmp_path, steps=9, seed=0, every=0)
    kept = load_state(tmp_path / "checkpoint.safetensors")["training"]
    assert kept["step"] == step - 1
    assert all(weights.isfinite().all() for weights in kept["averaged"].values())
    assert not (tmp_path / "generator.safetensors").exists()


def test_loss_alone_shows_divergence(pool: torch.Tensor) -> None:
    with pytest.raises(FloatingPointError, match=r"step 1: losses \(critic nan\)"):
        _training.train(
            lambda draw: {"critic": math.nan},
            nn.Linear(1, 1),
            {},
            pool,
            steps=1,
            batch=1,
            rng=seeded(),
            monitor=Monitor(),
        )


@every_generator
def test_checkpoint_beyond_the_last_step_is_refused(cls: type[Generator], pool: torch.Tensor, tmp_path: Path) -> None:
    zoo.train(tiny(cls), pool, tmp_path, steps=2, seed=0, every=0)
    with pytest.raises(UsageError, match="at step 2, beyond the 1 asked for"):
        zoo.train(tiny(cls), pool, tmp_path, steps=1, seed=0, every=0)


@every_generator
def test_metadata_names_the_factors(cls: type[Generator]) -> None:
    factors = {"family", "loss", "upsampling", "downsampling", "normalisation", "nonlinearity", "skips"}
    assert cls.metadata.keys() == factors


def test_no_two_generators_upsample_alike() -> None:
    assert len({cls.metadata["upsampling"] for cls in (DCGAN, WGANGP, VAE)}) == 3


def test_channels_double_towards_the_inner_end() -> None:
    assert channels(64, 128) == [1024, 512, 256, 128]  # DCGAN, figure 1


@pytest.mark.parametrize("side", [4, 48, 0])
def test_other_sides_are_refused(side: int) -> None:
    with pytest.raises(UsageError, match=f"side {side}, expected a power of two"):
        channels(side, 8)


@pytest.mark.parametrize("side", [8, 16, 64])
def test_networks_fit_images(side: int) -> None:
    assert tower(side, 2, 5, norm=True)(torch.zeros(2, 3, side, side)).shape == (2, 5)
    for cls in (DCGAN, WGANGP, VAE):
        assert tiny(cls).build(side)(torch.zeros(2, 3)).shape == (2, 3, side, side)  # type: ignore[attr-defined]


def test_weights_come_from_the_stream_alone() -> None:
    first, again = (fresh(tower(8, 64, 1, norm=True), seeded(), 0.02).state_dict() for _ in range(2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert first["0.weight"].std().item() == pytest.approx(0.02, rel=0.1)


def test_slope_of_a_linear_critic_is_that_of_its_weights() -> None:
    weights = torch.randn(3 * SIDE * SIDE, generator=seeded())
    real, fake = torch.rand(2, 5, 3, SIDE, SIDE, generator=seeded(1))
    critic = nn.Sequential(nn.Flatten(), nn.Linear(len(weights), 1))
    critic[1].weight.data = weights[None]
    slope = wgan_gp._slope(critic, real, fake, seeded())
    assert slope.item() == pytest.approx((np.linalg.norm(weights.numpy()) - 1) ** 2, rel=1e-5)


def test_divergence_is_that_of_two_gaussians() -> None:
    mean, spread = torch.randn(2, 6, 4, generator=seeded())
    posterior, prior = torch.distributions.Normal(mean, spread.exp()), torch.distributions.Normal(0.0, 1.0)
    expected = torch.distributions.kl_divergence(posterior, prior).sum(dim=1)
    torch.testing.assert_close(vae._divergence(mean, spread), expected)


def test_latents_of_samples_follow_the_mixture() -> None:
    generator = VAE(latent=2)
    generator.network = nn.Sequential(nn.Unflatten(1, (2, 1, 1)), nn.Conv2d(2, 3, 1, bias=False))
    generator.network[1].weight.data = torch.tensor([[1.0, 0], [0, 1.0], [0, 0]])[:, :, None, None]
    generator.weights = torch.tensor([0.25, 0.75])
    generator.means = torch.tensor([[-0.5, 0.0], [0.5, 0.0]])
    generator.factors = torch.tensor([[[0.1, 0.0], [0.0, 0.1]], [[0.1, 0.0], [0.1, 0.0]]])
    latents = generator.sample(4000, rng=seeded())[:, :2, 0, 0].double() / 127.5 - 1
    second = latents[latents[:, 0] > 0]
    assert len(second) / len(latents) == pytest.approx(0.75, abs=0.03)
    assert np.cov(second.numpy().T) == pytest.approx(np.full((2, 2), 0.01), abs=0.002)


def test_recalibrated_statistics_are_those_of_the_batches() -> None:
    network = nn.Sequential(nn.Conv2d(3, 2, 3), nn.BatchNorm2d(2))
    batches = torch.randn(4, 8, 3, 5, 5, generator=seeded())
    network(batches[0] * 9)  # what was gathered before must not count
    _training.recalibrate(network, batches)
    outputs = torch.stack([network[0](batch) for batch in batches]).detach().numpy()
    assert network[1].running_mean.numpy() == pytest.approx(outputs.mean(axis=(0, 1, 3, 4)), abs=1e-5)
    assert network[1].running_var.numpy() == pytest.approx(outputs.var(axis=(1, 3, 4), ddof=1).mean(axis=0), rel=1e-4)
    assert not network.training


def test_averaged_weights_trail_behind(pool: torch.Tensor) -> None:
    """With weights 1, 2, 3, ... the average is the recursion's, written as a loop."""
    network = nn.Linear(1, 1, bias=False)

    def update(draw: _training.Draw) -> dict[str, float]:
        network.weight.data += 1
        return {}

    network.weight.data.zero_()
    averaged = _training.train(update, network, {}, pool, steps=20, batch=1, rng=seeded(), monitor=Monitor())
    expected = 0.0
    for step in range(1, 21):
        decay = step / (step + 10)
        expected = decay * expected + (1 - decay) * step
    assert averaged.weight.item() == pytest.approx(expected)
    assert math.isclose(network.weight.item(), 20)
