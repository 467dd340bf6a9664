"""The flow: exact inverse and likelihood, dequantisation, temperature, and what holds for every generator."""

import math

import numpy as np
import pytest
import torch
from tiny_generators import SIDE, Watcher, seeded, tiny
from torch import nn

from gfp_bench import UsageError
from gfp_bench_generators import glow
from gfp_bench_generators._shared import libraries
from gfp_bench_generators.glow import Flow


@pytest.fixture
def flow() -> Flow:
    """A flow of two levels, none of whose weights is as simple as at the start; 64 bits, so that errors show."""
    flow = Flow(16, 6, 2).double()
    images = torch.rand(8, 3, 16, 16, generator=seeded(), dtype=torch.float64) * 2 - 1
    flow.bits(images, torch.zeros_like(images))  # sets the normalisations
    for weight in flow.parameters():
        weight.data += 0.05 * torch.randn(weight.shape, generator=seeded(1), dtype=weight.dtype)
    return flow.requires_grad_(requires_grad=False)


def latents_of(flow: Flow, images: torch.Tensor) -> torch.Tensor:
    values = ((images + 1) * 127.5 + 0.5) / 256 - 0.5
    return torch.cat([part.flatten(1) for part in flow.flow.inverse_and_log_det(values)[0]], dim=1)


def test_sampling_inverts_encoding(flow: Flow) -> None:
    images = torch.rand(3, 3, 16, 16, generator=seeded(2), dtype=torch.float64) * 2 - 1
    latents = latents_of(flow, images)
    assert latents.shape == (3, 768)
    assert (latents - images.flatten(1)).abs().max() > 0.5  # no identity
    torch.testing.assert_close(flow(latents), images)


def test_bits_are_those_of_the_jacobian() -> None:
    """The change of variables with a determinant by LU of the whole Jacobian, in grey levels."""
    flow = Flow(8, 4, 2).double()
    levels = torch.randint(0, 256, (2, 3, 8, 8), generator=seeded(3)).double()
    noise = torch.rand(levels.shape, generator=seeded(4), dtype=torch.float64)
    flow.bits(levels / 127.5 - 1, noise)
    for weight in flow.parameters():
        weight.data += 0.05 * torch.randn(weight.shape, generator=seeded(5), dtype=weight.dtype)

    def encode(values: torch.Tensor) -> torch.Tensor:
        return torch.cat([part.flatten() for part in flow.flow.inverse_and_log_det(values[None] / 256 - 0.5)[0]])

    for index, values in enumerate(levels + noise):
        jacobian = torch.autograd.functional.jacobian(encode, values).reshape(192, 192).numpy()
        latents = encode(values).detach().numpy()
        log_density = -0.5 * (latents**2 + math.log(2 * math.pi)).sum() + np.linalg.slogdet(jacobian)[1]
        bits = flow.bits(levels[index : index + 1] / 127.5 - 1, noise[index : index + 1])
        assert bits.item() == pytest.approx(-log_density / 192 / math.log(2), rel=1e-9)


def test_grey_levels_survive_the_way_through_the_latents(flow: Flow) -> None:
    """What is encoded with any noise below a grey level comes back as that level."""
    levels = torch.randint(0, 256, (4, 3, 16, 16), generator=seeded(6)).double()
    for noise in (0.001, 0.5, 0.999):
        values = (levels + noise) / 256 - 0.5
        latents = torch.cat([part.flatten(1) for part in flow.flow.inverse_and_log_det(values)[0]], dim=1)
        assert torch.equal(((flow(latents) + 1) * 127.5).round(), levels)


def test_first_batch_sets_the_normalisations() -> None:
    """After it every channel of the innermost latents has mean 0 and deviation 1, the couplings still doing nothing."""
    flow = Flow(8, 4, 1)
    images = torch.rand(32, 3, 8, 8, generator=seeded()) - 0.2
    with torch.no_grad():
        flow.bits(images, torch.rand(images.shape, generator=seeded(1)))
        encoded = flow.flow.flows[0][1].flows[2].inverse(flow.flow.flows[0][2].inverse(images / 2)[0])[0]
    assert encoded.mean(dim=(0, 2, 3)).abs().max() < 0.05
    assert (encoded.std(dim=(0, 2, 3)) - 1).abs().max() < 0.05


@pytest.mark.parametrize("side", [8, 16, 32, 64, 128])
def test_half_of_the_values_leave_at_each_level(side: int) -> None:
    shapes = Flow(side, 2, 1).shapes
    assert shapes[0][1:] == (4, 4)
    assert sum(math.prod(shape) for shape in shapes) == 3 * side**2
    leaving = [math.prod(shape) for shape in shapes]
    assert all(leaving[level] == sum(leaving[:level]) for level in range(1, len(shapes)))


def test_temperature_scales_the_latents(pool: torch.Tensor) -> None:
    generator = tiny("glow")
    generator.train(pool, steps=1, rng=seeded())
    generator.temperature = 0.5
    latents = 0.5 * torch.randn(6, 3 * SIDE**2, generator=seeded(1))
    expected = ((generator.network(latents) + 1) * 127.5).detach().numpy()
    images = generator.sample(6, rng=seeded(1))
    assert np.abs(images.numpy() - np.clip(expected, 0, 255)).max() <= 0.5 + 1e-3
    generator.temperature = 0.0
    assert len(generator.sample(3, rng=seeded()).unique(dim=0)) == 1


def test_sampling_changes_no_weight(pool: torch.Tensor) -> None:
    """Normalisations that were never set would set themselves by the first samples."""
    generator = tiny("glow")
    generator.train(pool, steps=1, rng=seeded())
    before = {name: weight.clone() for name, weight in generator.network.state_dict().items()}
    generator.sample(4, rng=seeded())
    assert all(torch.equal(weight, before[name]) for name, weight in generator.network.state_dict().items())


def test_samples_do_not_depend_on_each_other(pool: torch.Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = tiny("glow")
    generator.train(pool, steps=2, rng=seeded())
    many, few = (generator.sample(n, rng=seeded(1)).int() for n in (7, 3))
    assert (many[:3] - few).abs().max() <= 1
    monkeypatch.setattr(glow, "_BATCH", 2)
    assert (generator.sample(7, rng=seeded(1)).int() - many).abs().max() <= 1


def test_bits_fall_in_training() -> None:
    """Images of one grey level and a faint noise take few bits, about log2 of the noise's levels."""
    flat = 100 + torch.randint(0, 4, (64, 3, SIDE, SIDE), generator=seeded(), dtype=torch.uint8)
    watcher = Watcher(looks=False)
    tiny("glow", batch=16).train(flat, steps=60, rng=seeded(), monitor=watcher)
    bits = [values["bits"] for values in watcher.values]
    assert bits[-1] < bits[0]
    assert 2.0 < bits[-1] < 2.5  # two bits of noise, which has edges; a Gaussian of its variance has 2.25


def test_weights_come_from_the_stream_alone() -> None:
    before = torch.get_rng_state()
    first, again, other = (libraries.drawn(lambda: nn.Linear(2, 3), seeded(seed)).weight for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("settings", "words"), [({"depth": 0}, "'depth' of 'glow' got 0"), ({"temperature": -1.0}, "got -1.0")]
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, float], words: str, pool: torch.Tensor) -> None:
    with pytest.raises(UsageError, match=words):
        tiny("glow", **settings).train(pool, steps=1, rng=seeded())


def test_a_missing_library_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch, pool: torch.Tensor) -> None:
    def absent(name: str) -> None:
        raise ModuleNotFoundError(f"No module named {name!r}")

    monkeypatch.setattr(libraries, "import_module", absent)
    with pytest.raises(UsageError, match=r"'normflows' .*pip install 'gfp-bench\[zoo\]'"):
        tiny("glow").train(pool, steps=1, rng=seeded())
