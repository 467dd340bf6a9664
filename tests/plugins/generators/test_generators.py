"""What holds for every generator that trains in the shared loop, and what is known of each one's parts."""

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from rounding import assert_same_but_for_rounding, terms
from scipy import stats
from tiny_generators import SIDE, Watcher, seeded, tiny
from torch import Tensor, nn

from gfp_bench import Generator, Images, UsageError
from gfp_bench.contracts.monitor import Monitor
from gfp_bench_generators import cramergan, dragan, mmdgan, vae
from gfp_bench_generators._shared import training
from gfp_bench_generators._shared.dcgan import WORDS
from gfp_bench_generators._shared.gan import GAN, between, slopes
from gfp_bench_generators._shared.networks import Residual, channels, fresh, tower
from gfp_bench_generators._shared.sampling import decode
from gfp_bench_generators.cramergan import CramerGAN
from gfp_bench_generators.dcgan import DCGAN
from gfp_bench_generators.dragan import DRAGAN
from gfp_bench_generators.lsgan import LSGAN
from gfp_bench_generators.mmdgan import MMDGAN
from gfp_bench_generators.sngan import SNGAN, SpectralConv2d
from gfp_bench_generators.vae import VAE
from gfp_bench_generators.wgan_gp import WGANGP
from gfp_bench_generators.wgan_lp import WGANLP

SHARING = [DCGAN, LSGAN, DRAGAN, WGANGP, WGANLP]
GANS = [*SHARING, SNGAN, CramerGAN, MMDGAN]
UPSAMPLERS = list(WORDS)


every_gan = pytest.mark.parametrize("cls", GANS)
every_generator = pytest.mark.parametrize("cls", [*GANS, VAE])


@every_generator
def test_samples_do_not_depend_on_each_other(cls: type[Generator], pool: Tensor) -> None:
    """In evaluation mode an image is its latent's alone: batch statistics would tie it to the others."""
    generator = tiny(cls.name)
    generator.train(pool, steps=2, rng=seeded())
    assert not any(module.training for module in generator.network.modules())
    latents = torch.randn(6, 3, generator=seeded(3))
    singly = torch.cat([decode(generator.network, latent[None]) for latent in latents])
    assert (decode(generator.network, latents).int() - singly.int()).abs().max() <= 1


def test_loss_alone_shows_divergence(pool: Tensor) -> None:
    with pytest.raises(FloatingPointError, match=r"step 1: losses \(critic nan\)"):
        training.train(
            lambda draw: {"critic": math.nan},
            nn.Linear(1, 1),
            {},
            pool,
            steps=1,
            batch=1,
            rng=seeded(),
            monitor=Monitor(),
        )


@pytest.mark.parametrize("upsampling", UPSAMPLERS)
@pytest.mark.parametrize("cls", SHARING)
def test_metadata_follow_the_up_sampler(cls: type[GAN], upsampling: str) -> None:
    generator = cls(width=4, upsampling=upsampling)
    assert generator.metadata == {**cls.metadata, "upsampling": upsamplers(generator.build(16))}
    assert cls.metadata["upsampling"] == "transposed convolution 4x4"


def test_five_gans_share_a_generator_and_differ_in_their_loss() -> None:
    networks = {str(cls().build(64)) for cls in SHARING}
    assert len(networks) == 1
    assert {type(layer) for layer in DCGAN().build(64).modules() if hasattr(layer, "stride")} == {nn.ConvTranspose2d}
    first = [fresh(cls().build(16), seeded(), cls.deviations[0]).state_dict() for cls in SHARING]
    assert all(torch.equal(first[0][name], weights[name]) for weights in first for name in weights)  # of one law
    assert all(torch.equal(cls()._latents(3, seeded()), DCGAN()._latents(3, seeded())) for cls in SHARING)
    real, fake = real_and_fake()
    losses = {cls.name: cls().critic_loss(curved, real, fake, seeded()).item() for cls in SHARING}
    assert len(set(losses.values())) == len(SHARING)
    assert len({cls.metadata["loss"] for cls in SHARING}) == len(SHARING)


def curved(images: Tensor) -> Tensor:
    """A critic whose slopes are below one."""
    return images.square().flatten(1).mean(dim=1, keepdim=True)


@every_generator
def test_metadata_name_the_upsampler_that_is_built(cls: type[Generator]) -> None:
    assert cls.metadata["upsampling"] == upsamplers(tiny(cls.name).build(32))


@every_gan
def test_metadata_name_the_downsampler_that_is_built(cls: type[GAN]) -> None:
    layers = list(tiny(cls.name).build_critic(32).modules())
    strided = {layer.kernel_size for layer in layers if isinstance(layer, nn.Conv2d) and layer.stride == (2, 2)}
    pooled = any(isinstance(layer, nn.AvgPool2d) and layer.kernel_size == 2 for layer in layers)
    words = "strided convolution 4x4" if strided == {(4, 4)} else "convolution 3x3, average pooling 2x2, residual"
    assert cls.metadata["downsampling"] == words
    assert pooled != bool(strided)


def upsamplers(network: nn.Module) -> str:
    """Describe what doubles the side in a network, the same at every resolution."""
    layers = [layer for layer in network.modules() if not list(layer.children())]
    found = set()
    for index, layer in enumerate(layers):
        kernels = [f"{other.kernel_size[0]}x{other.kernel_size[0]}" for other in layers if isinstance(other, nn.Conv2d)]
        before = sum(isinstance(other, nn.Conv2d) for other in layers[:index])
        if isinstance(layer, nn.ConvTranspose2d) and layer.stride == (2, 2):
            found.add(f"transposed convolution {layer.kernel_size[0]}x{layer.kernel_size[0]}")
        elif isinstance(layer, nn.PixelShuffle):
            found.add(f"sub-pixel convolution {kernels[before - 1]}")
        elif isinstance(layer, nn.Upsample):
            found.add(f"{layer.mode}, convolution {kernels[before]}")
    (words,) = found
    return words + (", residual" if any(isinstance(layer, Residual) for layer in network.modules()) else "")


def test_upsamplers_of_dcgan_have_equally_many_weights() -> None:
    alike = [kind for kind in UPSAMPLERS if not kind.endswith("3")]
    counts = [sum(part.numel() for part in DCGAN(upsampling=kind).build(64).parameters()) for kind in alike]
    assert max(counts) - min(counts) == 9  # a sub-pixel convolution to 3 channels has 12 biases


@every_gan
@pytest.mark.parametrize(
    ("setting", "value", "least"), [("batch", 0, 1), ("latent", -3, 1), ("width", 0, 1), ("rate", -0.1, 0)]
)
def test_settings_that_cannot_be_are_refused(cls: type[GAN], setting: str, value: float, least: int) -> None:
    message = f"setting '{setting}' of '{cls.name}' got {value}, expected (int|float) at least {least}"
    with pytest.raises(UsageError, match=message):
        tiny(cls.name, **{setting: value})


def test_checkpoint_of_other_shapes_is_refused(pool: Images) -> None:
    keeper = Watcher(looks=False)
    tiny("sngan").train(pool, steps=1, rng=seeded(), monitor=keeper)
    with pytest.raises(UsageError, match=r"checkpoint does not fit \((?s:.*)discriminator_optimiser, generator"):
        tiny("dcgan").train(pool, steps=2, rng=seeded(), monitor=keeper)


def test_checkpoint_without_a_part_is_refused(pool: Images) -> None:
    def train(part: str, steps: int) -> None:
        parts, stream = {part: nn.Linear(1, 1)}, seeded()
        training.train(lambda draw: {}, nn.Linear(1, 1), parts, pool, steps=steps, batch=1, rng=stream, monitor=keeper)

    keeper = Watcher(looks=False)
    train("critic", 1)
    with pytest.raises(UsageError, match=r"does not fit \('discriminator'\), .* averaged, discriminator, generator"):
        train("discriminator", 2)


def test_channels_double_towards_the_inner_end() -> None:
    assert channels(64, 128) == [1024, 512, 256, 128]  # DCGAN, figure 1


@pytest.mark.parametrize("side", [4, 48, 0])
def test_other_sides_are_refused(side: int) -> None:
    with pytest.raises(UsageError, match=f"side {side}, expected a power of two"):
        channels(side, 8)


@every_gan
@pytest.mark.parametrize("side", [8, 16, 32, 64, 128])
def test_networks_fit_images(cls: type[GAN], side: int) -> None:
    gan = tiny(cls.name)
    images = gan.build(side)(torch.zeros(2, 3))
    assert images.shape == (2, 3, side, side)
    assert images.abs().max() <= 1
    values = {CramerGAN: 5, MMDGAN: 5}.get(cls, 1)
    assert gan.build_critic(side)(images).shape == (2, values)


@pytest.mark.parametrize("side", [8, 64])
@pytest.mark.parametrize("upsampling", UPSAMPLERS)
def test_every_upsampler_of_dcgan_fits_images(upsampling: str, side: int) -> None:
    assert tiny("dcgan", upsampling=upsampling).build(side)(torch.zeros(2, 3)).shape == (2, 3, side, side)


def test_towers_and_decoders_fit_images() -> None:
    assert tower(16, 2, 5, norm=True)(torch.zeros(2, 3, 16, 16)).shape == (2, 5)
    assert tiny("vae").build(16)(torch.zeros(2, 3)).shape == (2, 3, 16, 16)


def test_weights_come_from_the_stream_alone() -> None:
    first, again = (fresh(tower(8, 64, 1, norm=True), seeded(), 0.02).state_dict() for _ in range(2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert first["0.weight"].std().item() == pytest.approx(0.02, rel=0.1)


class Linear:
    """A critic of one value, the images' inner product with a direction: its gradient is that direction everywhere."""

    def __init__(self) -> None:
        self.direction = torch.randn(3 * SIDE * SIDE, generator=seeded()).double() / 20
        self.norm = float(np.linalg.norm(self.direction.numpy()))

    def __call__(self, images: Tensor) -> Tensor:
        return images.flatten(1) @ self.direction[:, None]


def real_and_fake() -> tuple[Tensor, Tensor]:
    """Return images in float64, whose sums no order changes by what is tested for."""
    real, fake = torch.rand(2, 5, 3, SIDE, SIDE, generator=seeded(1)).double() * 2 - 1
    return real, fake


def test_slopes_are_norms_of_gradients_and_differentiable() -> None:
    scale = torch.tensor(2.0, requires_grad=True)
    images, _ = real_and_fake()
    norms = slopes(lambda at: scale * at.square().flatten(1).sum(dim=1), images)
    expected = 2 * np.linalg.norm(images.numpy().reshape(5, -1), axis=1)
    assert norms.detach().numpy() == pytest.approx(2 * expected, rel=1e-5)
    norms.sum().backward()
    assert scale.grad is not None
    assert scale.grad.item() == pytest.approx(expected.sum(), rel=1e-5)


def test_points_between_lie_on_the_way() -> None:
    real, fake = real_and_fake()
    shares = ((between(real, fake, seeded()) - real) / (fake - real)).flatten(1).double()
    assert torch.allclose(shares, shares[:, :1].expand_as(shares), atol=1e-3)
    assert len(set(shares[:, 0].tolist())) == 5
    assert shares.min() > 0
    assert shares.max() < 1


def test_wasserstein_losses_of_a_linear_critic() -> None:
    critic, (real, fake) = Linear(), real_and_fake()
    values = [(images.flatten(1).numpy() @ critic.direction.numpy()).mean() for images in (real, fake)]
    loss = WGANGP(penalty=3.0).critic_loss(critic, real, fake, seeded())
    assert loss.item() == pytest.approx(values[1] - values[0] + 3 * (critic.norm - 1) ** 2, rel=1e-4)
    assert WGANGP().generator_loss(critic, real, fake).item() == pytest.approx(-values[1], rel=1e-4)


@pytest.mark.parametrize("factor", [0.5, 4.0])
def test_only_slopes_above_one_cost_wgan_lp(factor: float) -> None:
    critic, (real, fake) = Linear(), real_and_fake()
    critic.direction = critic.direction / critic.norm * factor
    values = [(images.flatten(1).numpy() @ critic.direction.numpy()).mean() for images in (real, fake)]
    loss = WGANLP(penalty=3.0).critic_loss(critic, real, fake, seeded())
    assert loss.item() == pytest.approx(values[1] - values[0] + 3 * max(0, factor - 1) ** 2, rel=1e-4)
    assert WGANLP().generator_loss(critic, real, fake).item() == pytest.approx(-values[1], rel=1e-4)


def mean_value(images: Tensor) -> Tensor:
    return images.flatten(1).mean(dim=1, keepdim=True)


def flat(*values: float) -> Tensor:
    return torch.tensor(values)[:, None, None, None].expand(-1, 3, SIDE, SIDE)


def test_least_squares_losses_by_hand() -> None:
    real, fake = flat(0.5, 2.0), flat(-1.0, 0.0)
    assert LSGAN().critic_loss(mean_value, real, fake, seeded()).item() == pytest.approx((0.625 + 0.5) / 2)
    assert LSGAN().generator_loss(mean_value, real, fake).item() == pytest.approx((4 + 1) / 2 / 2)


def test_hinge_losses_by_hand() -> None:
    real, fake = flat(0.5, 2.0), flat(-3.0, 0.25)
    assert SNGAN().critic_loss(mean_value, real, fake, seeded()).item() == pytest.approx(0.5 / 2 + 1.25 / 2)
    assert SNGAN().generator_loss(mean_value, real, fake).item() == pytest.approx(1.375)


@pytest.mark.parametrize("gan", [DCGAN(), DRAGAN(penalty=0.0)], ids=lambda gan: gan.name)
def test_minimax_losses_are_cross_entropies(gan: GAN) -> None:
    real, fake = flat(0.5, 2.0), flat(-3.0, 0.25)
    chances = torch.tensor([0.5, 2.0, -3.0, 0.25]).double().sigmoid()
    expected = 2 * F.binary_cross_entropy(chances, torch.tensor([1.0, 1.0, 0.0, 0.0]).double())
    assert gan.critic_loss(mean_value, real, fake, seeded()).item() == pytest.approx(expected.item())
    assert gan.generator_loss(mean_value, real, fake).item() == pytest.approx(-chances[2:].log().mean().item())


def test_dragan_perturbs_by_normal_noise() -> None:
    images = torch.zeros(4, 3, 64, 64)
    noise = (dragan.perturbed(images, 10.0, seeded()) * 127.5).flatten().double().numpy()
    assert stats.kstest(noise, stats.norm(0, math.sqrt(10)).cdf).pvalue > 0.01


def test_dragan_holds_slopes_at_perturbed_real_images() -> None:
    """Half the squared norm of an image has the image itself as its gradient."""
    real, fake = real_and_fake()

    def critic(images: Tensor) -> Tensor:
        return images.square().flatten(1).sum(dim=1, keepdim=True) / 2

    plain, held = (
        DRAGAN(penalty=penalty, variance=900.0).critic_loss(critic, real, fake, seeded()) for penalty in (0.0, 2.0)
    )
    points = real + 30 / 127.5 * torch.randn(real.shape, generator=seeded())
    norms = np.linalg.norm(points.numpy().reshape(5, -1), axis=1)
    assert (held - plain).item() == pytest.approx(2 * ((norms - 1) ** 2).mean(), rel=1e-4)


def test_spectral_norm_is_the_largest_singular_value() -> None:
    layer = SpectralConv2d(5, 7, 3)
    nn.init.normal_(layer.weight, generator=seeded())
    for _ in range(300):
        layer(torch.zeros(1, 5, 4, 4))
    exact = layer.weight.detach().numpy() / np.linalg.svd(layer.weight.detach().numpy().reshape(7, -1))[1][0]
    assert layer.normalised().detach().numpy() == pytest.approx(exact, rel=1e-4)


def test_spectral_norm_is_estimated_in_training_alone_and_differentiated() -> None:
    layer = SpectralConv2d(2, 3, 3)
    nn.init.normal_(layer.weight, generator=seeded())
    before = layer.left.clone()
    layer.eval()(torch.zeros(1, 2, 4, 4))
    assert torch.equal(layer.left, before)
    layer.train()(torch.zeros(1, 2, 4, 4))
    assert not torch.equal(layer.left, before)
    for _ in range(300):
        layer(torch.zeros(1, 2, 4, 4))
    images = torch.randn(2, 2, 4, 4, generator=seeded(1))
    layer(images).square().sum().backward()
    assert layer.weight.grad is not None
    along = (layer.weight.grad * layer.weight).sum() / layer.weight.grad.norm() / layer.weight.norm()
    assert abs(along.item()) < 1e-4  # longer weights give the same layer


def test_every_layer_of_sngans_discriminator_is_normalised() -> None:
    layers = [layer for layer in SNGAN().build_critic(64).modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    assert layers
    assert all(isinstance(layer, SpectralConv2d) for layer in layers)


def test_sngans_residual_blocks_are_those_of_the_paper() -> None:
    """The shortcut's 1 x 1 convolution and its change of side can be swapped."""
    block = fresh(tiny("sngan").build(16), seeded()).eval()[2].double()
    images = torch.randn(2, 8, 4, 4, generator=seeded(1)).double()
    weight, bias = (part.detach() for part in block.shortcut[0].parameters())
    shortcut = F.conv2d(images.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3), weight, bias)
    assert_same_but_for_rounding(block(images) - block.body(images), shortcut, operations=terms(block))


samples = st.tuples(st.integers(2, 6), st.integers(1, 4), st.integers(0, 2**31))


def two_samples(n: int, d: int, seed: int) -> tuple[Tensor, Tensor]:
    first, second = torch.randn(2, n, d, generator=seeded(seed)).double()
    return first, second + 0.5


@given(samples)
def test_energy_distance_is_the_loops(case: tuple[int, int, int]) -> None:
    seen, made = two_samples(*case)

    def mean_distance(rows: Tensor, others: Tensor) -> float:
        return float(np.mean([math.dist(a, b) for a, b in pairs(rows, others)]))

    expected = 2 * mean_distance(seen, made) - mean_distance(made, made) - mean_distance(seen, seen)
    assert cramergan.energy(seen, made).item() == pytest.approx(expected, abs=1e-9)


def pairs(rows: Tensor, others: Tensor) -> list[tuple[list[float], list[float]]]:
    """Return all pairs of different numbers."""
    return [
        (a, b) for (i, a), (j, b) in itertools.product(enumerate(rows.tolist()), enumerate(others.tolist())) if i != j
    ]


@given(samples)
def test_witness_of_the_energy_distance_is_the_loops(case: tuple[int, int, int]) -> None:
    values, made = two_samples(*case)
    for i, value in enumerate(values.tolist()):
        others = [math.dist(value, other) for j, other in enumerate(made.tolist()) if j != i]
        expected = np.mean(others) - math.hypot(*value)
        assert cramergan.witness(values, made)[i].item() == pytest.approx(expected, abs=1e-9)


def rational_quadratic(a: list[float], b: list[float]) -> float:
    squared = math.dist(a, b) ** 2
    inner = sum(x * y for x, y in zip(a, b, strict=True))
    return sum((1 + squared / (2 * alpha)) ** -alpha for alpha in (0.2, 0.5, 1, 2, 5)) + inner


@given(samples)
def test_discrepancy_is_the_loops(case: tuple[int, int, int]) -> None:
    seen, made = two_samples(*case)
    within = sum(np.mean([rational_quadratic(a, b) for a, b in pairs(part, part)]) for part in (seen, made))
    across = np.mean([rational_quadratic(a, b) for a in seen.tolist() for b in made.tolist()])
    assert mmdgan.discrepancy(seen, made).item() == pytest.approx(within - 2 * across, abs=1e-9)


@pytest.mark.parametrize("distance", [cramergan.energy, mmdgan.discrepancy])
def test_distances_of_samples_are_unbiased(distance: Callable[[Tensor, Tensor], Tensor]) -> None:
    """Between samples of one distribution they are zero on average; pairs of a value and itself would shift them."""
    draws = torch.randn(800, 2, 4, 3, generator=seeded()).double()
    values = np.array([distance(first, second).item() for first, second in draws])
    assert abs(values.mean()) < 3 * values.std() / math.sqrt(len(values))
    assert values.min() < 0


def test_cramers_penalty_of_a_linear_critic() -> None:
    critic, (real, fake) = Linear(), real_and_fake()
    plain, held = (CramerGAN(penalty=penalty).critic_loss(critic, real, fake, seeded()) for penalty in (0.0, 2.0))
    points = critic(between(real, fake, seeded())).flatten().tolist()
    made = critic(fake).flatten().tolist()
    signs = [
        np.mean([np.sign(point - other) for j, other in enumerate(made) if j != i]) - np.sign(point)
        for i, point in enumerate(points)
    ]
    expected = np.mean([(critic.norm * abs(sign) - 1) ** 2 for sign in signs])
    assert (held - plain).item() == pytest.approx(2 * expected, rel=1e-4)
    f_real, f_fake = (
        np.mean(
            [
                np.mean([abs(value - other) for j, other in enumerate(made) if j != i]) - abs(value)
                for i, value in enumerate(critic(images).flatten().tolist())
            ]
        )
        for images in (real, fake)
    )
    assert plain.item() == pytest.approx(f_fake - f_real, rel=1e-4)


def test_mmds_penalty_of_a_linear_critic() -> None:
    critic, (real, fake) = Linear(), real_and_fake()
    plain, held = (MMDGAN(penalty=penalty).critic_loss(critic, real, fake, seeded()) for penalty in (0.0, 2.0))
    points, seen, made = (critic(images).flatten().tolist() for images in (between(real, fake, seeded()), real, fake))

    def witness(value: float) -> float:
        return float(
            np.mean([rational_quadratic([value], [other]) for other in seen])
            - np.mean([rational_quadratic([value], [other]) for other in made])
        )

    steps = [(witness(point + 1e-4) - witness(point - 1e-4)) / 2e-4 for point in points]
    expected = np.mean([(critic.norm * abs(step) - 1) ** 2 for step in steps])
    assert (held - plain).item() == pytest.approx(2 * expected, rel=1e-3)
    assert -plain.item() == pytest.approx(MMDGAN().generator_loss(critic, real, fake).item())


def test_divergence_is_that_of_two_gaussians() -> None:
    mean, spread = torch.randn(2, 6, 4, generator=seeded())
    posterior, prior = torch.distributions.Normal(mean, spread.exp()), torch.distributions.Normal(0.0, 1.0)
    expected = torch.distributions.kl_divergence(posterior, prior).sum(dim=1)
    torch.testing.assert_close(vae.divergence(mean, spread), expected)


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


@pytest.mark.parametrize(("units", "expected"), [(True, torch.bfloat16), (False, torch.float32)])
def test_matrix_units_decide_the_precision(units: bool, expected: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "has_matrix_units", lambda: units)
    with training.mixed(torch.zeros(1)):
        assert nn.Conv2d(3, 2, 3)(torch.zeros(1, 3, 8, 8)).dtype == expected


@every_generator
def test_both_precisions_learn_alike(cls: type[Generator], pool: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = []
    for units in (True, False):
        monkeypatch.setattr(training, "has_matrix_units", lambda units=units: units)
        generator = tiny(cls.name)
        generator.train(pool, steps=2, rng=seeded())
        weights.append(torch.cat([weight.detach().flatten() for weight in generator.network.parameters()]))
    assert not torch.equal(*weights)
    assert F.cosine_similarity(*weights, dim=0) > 0.99


def test_recalibrated_statistics_are_those_of_the_batches() -> None:
    network = nn.Sequential(nn.Conv2d(3, 2, 3), nn.BatchNorm2d(2)).double()
    batches = torch.randn(4, 8, 3, 5, 5, generator=seeded()).double()
    network(batches[0] * 9)  # what was gathered before must not count
    training.recalibrate(network, batches)
    outputs = torch.stack([network[0](batch) for batch in batches]).detach().numpy()
    assert network[1].running_mean.numpy() == pytest.approx(outputs.mean(axis=(0, 1, 3, 4)), abs=1e-9)
    assert network[1].running_var.numpy() == pytest.approx(outputs.var(axis=(1, 3, 4), ddof=1).mean(axis=0), rel=1e-9)
    assert not network.training


def test_averaged_weights_trail_behind(pool: Tensor) -> None:
    """With weights 1, 2, 3, ... the average is the recursion's, written as a loop."""
    network = nn.Linear(1, 1, bias=False)

    def update(draw: training.Draw) -> dict[str, float]:
        network.weight.data += 1
        return {}

    network.weight.data.zero_()
    averaged = training.train(update, network, {}, pool, steps=20, batch=1, rng=seeded(), monitor=Monitor())
    expected = 0.0
    for step in range(1, 21):
        decay = step / (step + 10)
        expected = decay * expected + (1 - decay) * step
    assert averaged.weight.item() == pytest.approx(expected)
    assert math.isclose(network.weight.item(), 20)
