"""Score-based generators and pipelines of diffusers: schedules, losses, solvers, filters against known answers."""

import math
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from rounding import assert_same_but_for_rounding, terms
from safetensors.torch import load_file
from scipy.signal import upfirdn
from tiny_generators import SIDE, seeded, tiny
from torch import nn

from gfp_bench import Generator, UsageError
from gfp_bench.checks import check_generator
from gfp_bench.contracts.settings import resolved_settings
from gfp_bench.zoo import training
from gfp_bench_generators import ddpm, glow, ncsnpp, pipeline
from gfp_bench_generators._shared import denoising, libraries
from gfp_bench_generators.ddpm import DDPM
from gfp_bench_generators.ncsnpp import NCSNpp
from gfp_bench_generators.pipeline import Pipeline

BETAS = np.linspace(1e-4, 0.02, 1000)  # arXiv:2006.11239, section 4
KEPT = np.cumprod(1 - BETAS)

every_generator = pytest.mark.parametrize("cls", [DDPM, NCSNpp])


@every_generator
def test_samples_do_not_depend_on_each_other(
    cls: type[Generator], pool: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = tiny(cls.name)
    generator.train(pool, steps=2, rng=seeded())
    many, few = (generator.sample(n, rng=seeded(1)).int() for n in (7, 3))
    assert (many[:3] - few).abs().max() <= 1
    monkeypatch.setattr(denoising, "_BATCH", 2)
    assert (generator.sample(7, rng=seeded(1)).int() - many).abs().max() <= 1


@pytest.mark.parametrize(
    ("cls", "settings", "words"),
    [
        (DDPM, {"steps": 0}, "'steps' of 'ddpm' got 0"),
        (DDPM, {"steps": 1001}, "'ddpm': setting 'steps' got 1001, expected 1 to 1000"),
        (DDPM, {"eta": 1.5}, "'eta' of 'ddpm' got 1.5"),
        (DDPM, {"width": 20}, "'width' of 'ddpm' got 20, expected int at least 16 and a multiple of 16"),
        (NCSNpp, {"width": 12}, "'width' of 'ncsnpp' got 12, expected int at least 8 and a multiple of 8"),
        (NCSNpp, {"fold": 0}, "'fold' of 'ncsnpp' got 0"),
        (NCSNpp, {"steps": 0}, "'steps' of 'ncsnpp' got 0"),
        (NCSNpp, {"sigma_min": 60.0}, "'ncsnpp': settings .* got 60.0 and 50.0"),
    ],
)
def test_settings_that_cannot_be_are_refused(
    cls: type[Generator], settings: dict[str, float], words: str, pool: torch.Tensor
) -> None:
    with pytest.raises(UsageError, match=words):
        tiny(cls.name, **settings).train(pool, steps=1, rng=seeded())


@pytest.mark.parametrize("cls", [DDPM, NCSNpp, Pipeline])
def test_a_missing_library_is_named_with_its_remedy(
    cls: type[Generator], monkeypatch: pytest.MonkeyPatch, pool: torch.Tensor
) -> None:
    def absent(name: str) -> None:
        raise ModuleNotFoundError(f"No module named {name!r}")

    monkeypatch.setattr(libraries, "import_module", absent)
    with pytest.raises(UsageError, match=r"'diffusers' .*pip install 'gfp-bench\[zoo\]'"):
        cls(path="anywhere").sample(1, rng=seeded()) if cls is Pipeline else tiny(cls.name).train(
            pool, steps=1, rng=seeded()
        )


@pytest.mark.parametrize("module", [ddpm, glow, ncsnpp, pipeline])
def test_plugins_load_without_the_libraries(module: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("diffusers", "normflows"):
        monkeypatch.setitem(sys.modules, name, None)  # as if it were not installed
    assert module.__file__
    assert "register_generators" in runpy.run_path(module.__file__)


@every_generator
@pytest.mark.parametrize("side", [8, 32])
def test_networks_fit_images(cls: type[Generator], side: int) -> None:
    network = tiny(cls.name).build(side)
    outputs = network(torch.zeros(2, 3, side, side), torch.ones(2))
    assert outputs.shape == (2, 3, side, side)


def test_images_diffuse_as_in_the_paper() -> None:
    """The loss of a network that returns its input, against eq. 4 and eq. 14 in NumPy."""
    real, noise = torch.randn(2, 5, 3, 4, 4, generator=seeded(), dtype=torch.float64).float()
    times = torch.tensor([0, 10, 500, 998, 999])
    kept = KEPT[times][:, None, None, None]
    diffused = np.sqrt(kept) * real.numpy() + np.sqrt(1 - kept) * noise.numpy()
    found = ddpm.error(lambda images, times: images, DDPM()._schedule("DDPMScheduler"), real, noise, times)
    assert_same_but_for_rounding(found, np.mean((diffused - noise.numpy()) ** 2), operations=real.numel())


@pytest.mark.parametrize(("steps", "eta"), [(1, 0.0), (7, 0.0), (50, 0.0), (50, 1.0)])
def test_a_perfect_network_restores_the_image(steps: int, eta: float) -> None:
    real = torch.rand(2, 3, 8, 8, generator=seeded()) * 2 - 1

    def perfect(images: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
        kept = torch.from_numpy(KEPT)[times][:, None, None, None].float()
        return (images - kept.sqrt() * real) / (1 - kept).sqrt()

    noise = torch.randn(real.shape, generator=seeded(1))
    restored = ddpm.denoise(perfect, noise, DDPM()._schedule("DDIMScheduler"), steps, eta, seeded(2))
    enlarged = (1 - KEPT[-1]) ** 0.5 / KEPT[-1] ** 0.5  # errors of the first step: 158 times
    assert_same_but_for_rounding(restored, real, operations=50, largest=enlarged)


def test_the_network_adds_to_the_noise_of_its_input() -> None:
    """With Salimans and Ho's v, sqrt(a) noise - sqrt(1 - a) image, what is predicted is the noise."""
    real, noise = torch.randn(2, 3, 3, 4, 4, generator=seeded())
    times, kept = torch.tensor([0, 400, 999]), torch.from_numpy(KEPT).float()
    share = kept[times][:, None, None, None]
    velocity = share.sqrt() * noise - (1 - share).sqrt() * real
    images = share.sqrt() * real + (1 - share).sqrt() * noise
    found = ddpm.predict(lambda images, times: velocity, kept, images, times)
    torch.testing.assert_close(found, noise)


def test_an_idle_network_has_the_score_of_a_gaussian() -> None:
    images, sigmas = torch.randn(3, 3, 4, 4, generator=seeded()).requires_grad_(), torch.tensor([0.02, 1.0, 100.0])
    spread = (0.5**2 + sigmas[:, None, None, None] ** 2).sqrt()
    (expected,) = torch.autograd.grad(torch.distributions.Normal(0, spread).log_prob(images).sum(), images)
    torch.testing.assert_close(ncsnpp.score(lambda images, sigmas: torch.zeros_like(images), images, sigmas), expected)


def test_a_network_sees_images_of_one_variance() -> None:
    """Whatever the noise, and what it says is scaled so that a perfect one would answer with variance 1 as well."""
    sigmas = torch.tensor([0.02, 0.5, 100.0])
    spread = sigmas[:, None, None, None]
    real = 0.5 * torch.randn(3, 3, 64, 64, generator=seeded())
    noise = torch.randn(3, 3, 64, 64, generator=seeded(1))
    seen: list[torch.Tensor] = []

    def network(images: torch.Tensor, sigmas: torch.Tensor) -> torch.Tensor:
        seen.append(images)
        return torch.ones_like(images) / spread

    images = real + spread * noise
    idle = ncsnpp.score(lambda images, sigmas: torch.zeros_like(images), images, sigmas)
    step = ncsnpp.score(network, images, sigmas) - idle
    wanted = -noise / spread + images / (0.25 + spread**2)
    assert seen[0].flatten(1).std(dim=1).numpy() == pytest.approx(1.0, abs=0.03)
    assert (wanted / step).flatten(1).std(dim=1).numpy() == pytest.approx(1.0, abs=0.03)


class Knowing(nn.Module):
    """What a network would answer that knows images to be white noise of deviation 1/4."""

    def __init__(self, cls: type[Generator]) -> None:
        super().__init__()
        self.cls = cls
        self.somewhere = nn.Parameter(torch.zeros(()))

    def forward(self, images: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
        if self.cls is DDPM:
            share = torch.from_numpy(KEPT)[times][:, None, None, None].float()
            noise = (1 - share).sqrt() * images / (share / 16 + 1 - share)
            return (noise - (1 - share).sqrt() * images) / share.sqrt()
        variance = times[:, None, None, None] ** 2
        images = images * (0.25 + variance).sqrt()
        return (images / (0.25 + variance) - images / (1 / 16 + variance)) * (0.25 + variance).sqrt() / 0.5


@every_generator
def test_samples_follow_the_distribution_that_a_network_knows(cls: type[Generator]) -> None:
    generator = tiny(cls.name, steps=200)
    generator.side, generator.network = SIDE, Knowing(cls)
    images = generator.sample(40, rng=seeded(1)).double()
    assert images.mean().item() == pytest.approx(127.5, abs=2)
    assert images.std().item() == pytest.approx(127.5 / 4, rel=0.03)
    neighbours = torch.stack([images[..., :-1].flatten(), images[..., 1:].flatten()])
    assert np.corrcoef(neighbours.numpy())[0, 1] == pytest.approx(0, abs=0.05)


@every_generator
def test_samples_take_the_colour_of_the_pool(cls: type[Generator]) -> None:
    """Untrained, samples have no colour; a few steps suffice if what is learnt is what samples are drawn with."""
    pool = torch.tensor([40, 128, 230], dtype=torch.uint8)[None, :, None, None].expand(16, 3, SIDE, SIDE)
    generator = tiny(cls.name, steps=10, batch=16, rate=0.005)
    generator.train(pool, steps=40, rng=seeded())
    red, green, blue = generator.sample(16, rng=seeded(1)).double().mean(dim=(0, 2, 3)).tolist()
    assert red < 90 < green < 166 < blue  # more than half-way from the grey at which samples begin


def test_fresh_noise_comes_from_the_stream() -> None:
    network = tiny("ddpm").build(SIDE)
    noise, scheduler = torch.randn(2, 3, SIDE, SIDE, generator=seeded()), DDPM()._schedule("DDIMScheduler")
    with torch.no_grad():
        first, again, other = (ddpm.denoise(network, noise, scheduler, 3, 1.0, seeded(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_noise_levels_are_geometric() -> None:
    """Appendix C for images in [0, 1], twice that for images in [-1, 1]."""
    levels = NCSNpp().sigmas(torch.tensor([0.0, 0.25, 1.0], dtype=torch.float64))
    assert levels.numpy() == pytest.approx([0.02, 0.02 * 5000**0.25, 100.0])


def test_levels_are_weighted_by_their_squares() -> None:
    """The loss against eq. 7, the perturbation kernel's score differentiated by autograd."""
    real, noise, guess = torch.randn(3, 4, 3, 5, 5, generator=seeded()).double()
    sigmas = torch.tensor([0.02, 0.5, 3.0, 100.0]).double()
    noisy = (real + sigmas[:, None, None, None] * noise).requires_grad_()
    kernels = torch.distributions.Normal(real, sigmas[:, None, None, None])
    (scores,) = torch.autograd.grad(kernels.log_prob(noisy).sum(), noisy)
    expected = (sigmas.square() * (guess - scores).square().mean(dim=(1, 2, 3))).mean()
    found = ncsnpp.matching(lambda images, sigmas: guess, real, noise, sigmas)
    assert found.item() == pytest.approx(expected.item(), rel=1e-9)


def carried(steps: int, *ends: float, heun: bool, deviation: float = 0.4) -> float:
    """How far noise that was carried to a Gaussian by its own score is from what it should have become."""
    sigmas = [*NCSNpp().sigmas(torch.linspace(1, 0, steps, dtype=torch.float64)).tolist(), *ends]

    def score(images: torch.Tensor, sigmas: torch.Tensor) -> torch.Tensor:
        return -images / (deviation**2 + sigmas[:, None, None, None] ** 2)

    noise = torch.randn(4, 3, 8, 8, generator=seeded(), dtype=torch.float64) * sigmas[0]
    expected = noise * math.hypot(deviation, sigmas[-1]) / math.hypot(deviation, sigmas[0])
    return (ncsnpp.transport(score, sigmas, noise, heun=heun) / expected - 1).abs().max().item()


@pytest.mark.parametrize(("heun", "steps", "within"), [(False, 400, 0.02), (True, 50, 0.005)])
def test_the_flow_carries_noise_to_the_gaussian(heun: bool, steps: int, within: float) -> None:
    assert carried(steps, 0.0, heun=heun) < within


def test_solvers_have_their_orders() -> None:
    """With twice the steps Euler's error is a half and Heun's a quarter."""
    for heun, order in ((False, 2.0), (True, 4.0)):
        assert carried(100, heun=heun) / carried(200, heun=heun) == pytest.approx(order, rel=0.1)


def test_filters_are_those_of_signal_processing() -> None:
    images = torch.randn(2, 3, 6, 10, generator=seeded(), dtype=torch.float64)
    taps = np.array([1, 3, 3, 1]) / 8
    halved = images.numpy()
    doubled = images.numpy()
    for axis in (2, 3):
        length = images.shape[axis]
        halved = np.take(upfirdn(taps, halved, down=1, axis=axis), range(2, length + 2, 2), axis=axis)
        doubled = np.take(upfirdn(2 * taps, doubled, up=2, axis=axis), range(1, 2 * length + 1), axis=axis)
    assert ncsnpp.halve(images).numpy() == pytest.approx(halved, abs=1e-12)
    assert ncsnpp.double(images).numpy() == pytest.approx(doubled, abs=1e-12)


def test_hastened_filters_change_no_output() -> None:
    diffusers = pytest.importorskip("diffusers")
    network = diffusers.UNet2DModel(
        **denoising.geometry(16, 8, 1),
        norm_num_groups=None,
        time_embedding_type="fourier",
        down_block_types=("SkipDownBlock2D",) * 3,
        up_block_types=("SkipUpBlock2D",) * 3,
        add_attention=False,
    )
    images, sigmas = torch.randn(2, 3, 16, 16, generator=seeded()), torch.tensor([0.5, 2.0])
    with torch.no_grad():
        before = network(images, sigmas).sample
        ncsnpp._hasten_filters(network)
        after = network(images, sigmas).sample
    assert_same_but_for_rounding(after, before, operations=terms(network))


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    """A pipeline on disk, its weights untrained."""
    diffusers = pytest.importorskip("diffusers")
    network = libraries.drawn(
        lambda: diffusers.UNet2DModel(
            sample_size=SIDE,
            block_out_channels=(8, 16),
            layers_per_block=1,
            norm_num_groups=4,
            down_block_types=("DownBlock2D",) * 2,
            up_block_types=("UpBlock2D",) * 2,
        ),
        seeded(),
    )
    diffusers.DDIMPipeline(network, diffusers.DDIMScheduler()).save_pretrained(tmp_path / "stored")
    return tmp_path / "stored"


def test_a_pipeline_draws_what_it_draws_by_itself(stored: Path) -> None:
    """Image by image, as a user of diffusers would, from the same seeds."""
    diffusers = pytest.importorskip("diffusers")
    images = Pipeline(path=str(stored), steps=2).sample(18, rng=seeded(3))
    own = diffusers.DDIMPipeline.from_pretrained(stored, low_cpu_mem_usage=False)
    own.set_progress_bar_config(disable=True)
    for index, seed in enumerate(torch.randint(2**62, (18,), generator=seeded(3)).tolist()):
        alone = own(generator=seeded(seed), num_inference_steps=2).images[0]
        assert np.abs(np.asarray(alone).astype(int) - images[index].permute(1, 2, 0).numpy()).max() <= 1


def test_a_pipeline_keeps_the_contract_of_what_comes_trained(stored: Path) -> None:
    findings = check_generator(Pipeline, {"path": str(stored), "steps": 2})
    assert [finding.check for finding in findings if finding.outcome == "FAILED"] == []
    assert {"samples", "other samples", "save and load"} <= {finding.check for finding in findings if finding.passed}


def test_a_pipeline_says_what_it_is(stored: Path) -> None:
    loaded, short = Pipeline(), Pipeline(steps=7)
    loaded.load(stored)
    short.load(stored)
    assert loaded.metadata == {
        **Pipeline.metadata,
        "loss": "epsilon",
        "scheduler": "DDIMScheduler",
        "steps": "50",  # the default of DDIMPipeline
    }
    assert short.metadata["steps"] == "7"
    assert "scheduler" not in Pipeline.metadata


def test_a_pipeline_is_not_trained(stored: Path, pool: torch.Tensor) -> None:
    with pytest.raises(UsageError, match="cannot be trained here"):
        Pipeline(path=str(stored)).train(pool, steps=1, rng=seeded())


def test_a_pipeline_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has no pipeline; name one as diffusers:PATH"):
        Pipeline().sample(1, rng=seeded())
    with pytest.raises(UsageError, match=r"nothing' does not load .*expected a folder with model_index.json"):
        Pipeline(path=str(tmp_path / "nothing")).sample(1, rng=seeded())


def test_pickled_weights_are_refused(stored: Path) -> None:
    weights = stored / "unet" / "diffusion_pytorch_model.safetensors"
    torch.save(load_file(weights), weights.with_suffix(".bin"))
    weights.unlink()
    with pytest.raises(UsageError, match=r"no file named diffusion_pytorch_model\.safetensors"):
        Pipeline(path=str(stored)).sample(1, rng=seeded())


def prompted(calls: list[dict[str, Any]]) -> Callable[..., object]:
    """A stand-in for a pipeline that wants a prompt and draws grey images."""

    def call(
        prompt: list[str], guidance_scale: float = 7.5, generator: object = None, output_type: str = "pil"
    ) -> SimpleNamespace:
        calls.append({"prompt": prompt, "guidance": guidance_scale})
        return SimpleNamespace(images=np.full((len(prompt), 4, 4, 1), 0.2))

    call.__call__ = call  # type: ignore[attr-defined]  # what the signature is read from
    return call


def test_a_prompt_is_handed_on() -> None:
    calls: list[dict[str, Any]] = []
    generator = Pipeline(path="text", prompt="a cat", guidance=3.0)
    generator.pipeline = prompted(calls)
    images = generator.sample(2, rng=seeded())
    assert calls == [{"prompt": ["a cat", "a cat"], "guidance": 3.0}]
    assert torch.equal(images, torch.full((2, 3, 4, 4), 51, dtype=torch.uint8))


def test_what_a_pipeline_wants_and_lacks_is_said(stored: Path) -> None:
    wanting = Pipeline(path="text")
    wanting.pipeline = prompted([])
    with pytest.raises(UsageError, match="wants a prompt; give the setting 'prompt'"):
        wanting.sample(1, rng=seeded())
    with pytest.raises(UsageError, match="takes no prompt; leave the setting 'prompt' out"):
        Pipeline(path=str(stored), prompt="a cat").sample(1, rng=seeded())


def test_a_pipeline_is_named_by_its_path() -> None:
    name, given = training.parse_generator("diffusers:some/folder")
    assert name == Pipeline.name
    assert resolved_settings(Pipeline, given)["path"] == "some/folder"
