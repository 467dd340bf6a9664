"""What holds for every generator that trains: a new one is added to `tiny_generators` and must pass all of this."""

import itertools
import math
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_generators import SIDE, TRAINED, Watcher, noise_pool, seeded, tiny, tiny_settings
from torch import Tensor

from gfp_bench import UsageError, load_plugins, load_state
from gfp_bench.checks import check_generator, synthetic
from gfp_bench.zoo import training
from gfp_bench_generators._shared.training import to_unit

POOL = synthetic(per_source=4, size=SIDE)
STEPS = 4  # two in each stage of what trains in stages

VARIANTS: list[tuple[str, dict[str, Any]]] = [
    *((name, {}) for name in TRAINED),
    ("beta_vae", {"mixture": None}),
    ("vq_vae", {"codebook": "loss", "factor": 2}),
    ("dcgan", {"upsampling": "subpixel"}),
]

every_generator = pytest.mark.parametrize("name", TRAINED)
every_variant = pytest.mark.parametrize(
    ("name", "settings"), VARIANTS, ids=["-".join([name, *map(str, given.values())]) for name, given in VARIANTS]
)


def test_none_is_left_out() -> None:
    assert set(TRAINED) == set(load_plugins().generators) - {"diffusers"}  # which comes trained


@every_variant
def test_a_generator_keeps_the_contract(name: str, settings: dict[str, Any]) -> None:
    findings = check_generator(load_plugins().generator(name), tiny_settings(name, **settings), POOL)
    assert [finding for finding in findings if not finding.passed] == []


@every_generator
def test_truncation_scales_latents_where_there_are_some(name: str) -> None:
    generator = tiny(name)
    if generator.truncation is None:
        assert name in {"ddpm", "ncsnpp", "progan", "vq_vae"}
        return
    generator.train(noise_pool(), steps=2, rng=seeded())
    whole, again = generator.sample(12, rng=seeded(1)), generator.sample(12, rng=seeded(1))
    generator.truncation = 1e-6
    near = generator.sample(12, rng=seeded(1))
    assert torch.equal(whole, again)
    assert (near.int() - near[:1].int()).abs().max() <= 1  # all are the image of no latent
    assert (whole.int() - whole[:1].int()).abs().max() > 1


@every_generator
def test_a_training_tells_the_weights_that_it_starts_from(name: str, tmp_path: Path) -> None:
    ends = []
    for folder, seed in (("one", 1), ("same", 1), ("two", 2)):
        training.train(tiny(name), noise_pool(), tmp_path / folder, steps=1, seed=seed, sheets=0)
        ends.append(training.trained(tmp_path / folder))
    one, same, two = (end and end["weights"] for end in ends)
    assert one == same != two
    assert re.fullmatch("[0-9a-f]{64}", str(one))


@every_generator
def test_previews_show_a_training(name: str) -> None:
    watcher = Watcher()
    tiny(name).train(noise_pool(), steps=STEPS, rng=seeded(), monitor=watcher)
    assert [(told["step"], told["total"]) for told in watcher.values] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert [images.shape[1:] for images in watcher.previews] == [(3, SIDE, SIDE)] * STEPS
    assert len(watcher.previews[-1]) == 16
    first, last = watcher.previews[0], watcher.previews[-1]
    assert not torch.equal(first, last[: len(first)])


@every_generator
def test_divergence_names_the_step_and_keeps_a_finite_checkpoint(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches = itertools.count(1)

    def poisoned(images: Tensor) -> Tensor:
        return to_unit(images) * (math.nan if next(batches) > 4 else 1)

    monkeypatch.setattr("gfp_bench_generators._shared.training.to_unit", poisoned)
    step = 4 // getattr(tiny(name), "critic_steps", 1) + 1  # a critic takes a batch for each of its steps
    with pytest.raises(FloatingPointError, match=f"diverged at step {step}: losses .*nan"):
        training.train(tiny(name), noise_pool(), tmp_path, steps=9, seed=0, every=0)
    kept = load_state(tmp_path / "checkpoint.safetensors")["training"]
    assert kept["step"] == step - 1
    assert all(values.isfinite().all() for values in kept["averaged"].values())
    assert not (tmp_path / "generator.safetensors").exists()


@every_generator
@pytest.mark.parametrize("steps", [1, 3])
def test_a_checkpoint_beyond_the_last_step_is_refused(name: str, steps: int, tmp_path: Path) -> None:
    training.train(tiny(name), noise_pool(), tmp_path, steps=STEPS, seed=0, every=0)
    with pytest.raises(UsageError, match=f"at step 4, beyond the {steps} asked for"):
        training.train(tiny(name), noise_pool(), tmp_path, steps=steps, seed=0, every=0)


@every_generator
@pytest.mark.parametrize("shape", [(0, 3, SIDE, SIDE), (3, 3, SIDE, SIDE), (12, 3, SIDE, 2 * SIDE)])
def test_pools_that_do_not_fit_are_refused(name: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match=rf"pool of '{name}' has shape \({shape[0]}, .*at least 4 square"):
        tiny(name).train(torch.zeros(shape, dtype=torch.uint8), steps=1, rng=seeded())


@every_generator
@pytest.mark.parametrize("side", [4, 12])
def test_sides_that_do_not_fit_are_refused(name: str, side: int) -> None:
    with pytest.raises(UsageError, match=f"side {side}, expected a (power of two|multiple of 8)"):
        tiny(name).train(torch.zeros(4, 3, side, side, dtype=torch.uint8), steps=1, rng=seeded())


@pytest.mark.gpu
@every_generator
def test_a_gpu_trains_and_either_device_draws(name: str, tmp_path: Path) -> None:
    trained, loaded = tiny(name), tiny(name)
    trained.train(noise_pool().cuda(), steps=STEPS, rng=seeded(), monitor=Watcher())
    trained.save(tmp_path)
    loaded.load(tmp_path)
    images, expected = trained.sample(4, rng=seeded(1)).cpu(), loaded.sample(4, rng=seeded(1))
    assert (images.int() - expected.int()).abs().max() <= 3
