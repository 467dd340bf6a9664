"""beta-VAE and VQ-VAE: what is known of their parts, and what holds for every generator of the zoo."""

import itertools
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from rounding import assert_same_but_for_rounding, rounding, terms
from tiny_generators import SIDE, seeded, tiny
from torch import nn

from gfp_bench import UsageError
from gfp_bench.contracts.monitor import Monitor
from gfp_bench_generators._shared import training
from gfp_bench_generators._shared.pixelcnn import Causal, PixelCNN, quantile
from gfp_bench_generators._shared.posteriors import divergence, fit_mixture, mixture_latents
from gfp_bench_generators._shared.quantisation import Autoencoder, Codebook, straight_through
from gfp_bench_generators._shared.stages import stages
from gfp_bench_generators.beta_vae import BetaVAE


def untrained_prior(codes: int, layers: int, reach: int) -> PixelCNN:
    prior, rng = PixelCNN(codes, 8, layers, reach), seeded()
    for weights in prior.parameters():
        nn.init.normal_(weights, 0.0, 0.3, generator=rng)
    return prior


def test_divergence_of_the_prior_counts_all_steps(pool: torch.Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(F, "cross_entropy", lambda logits, codes: logits.sum() * math.nan)
    with pytest.raises(FloatingPointError, match=r"diverged at step 4: losses \(nats nan\)"):
        tiny("vq_vae", share=0.5).train(pool, steps=6, rng=seeded())


@pytest.mark.parametrize(
    ("name", "setting", "value"),
    [
        ("beta_vae", "beta", -1.0),
        ("beta_vae", "deviation", 0.0),
        ("beta_vae", "latent", 0),
        ("beta_vae", "mixture", 0),
        ("vq_vae", "share", 1.5),
        ("vq_vae", "codes", 1),
        ("vq_vae", "width", 3),
        ("vq_vae", "factor", 3),
        ("vq_vae", "decay", -0.1),
        ("vq_vae", "decay", math.nan),
    ],
)
def test_other_settings_are_refused(name: str, setting: str, value: float) -> None:
    with pytest.raises(UsageError, match=f"setting '{setting}' of '{name}' got {value}, expected"):
        tiny(name, **{setting: value})


@pytest.mark.parametrize("side", [8, 16, 32, 64, 128])
def test_networks_fit_images(side: int) -> None:
    decoder = tiny("beta_vae").build(side)
    assert decoder(torch.zeros(2, 3)).shape == (2, 3, side, side)
    assert tiny("beta_vae")._encoder(side)(torch.zeros(2, 3, side, side)).shape == (2, 6)
    for factor in (2, 4, 8):
        autoencoder = Autoencoder(4, Codebook(5, 3), factor)
        assert autoencoder.encoder(torch.zeros(2, 3, side, side)).shape == (2, 3, side // factor, side // factor)
        assert autoencoder(torch.zeros(2, 3, side, side)).shape == (2, 3, side, side)


def test_channels_are_the_papers_at_64() -> None:
    convolutions = [layer for layer in BetaVAE()._encoder(64) if isinstance(layer, nn.Conv2d)]
    assert [layer.out_channels for layer in convolutions] == [32, 32, 64, 64]


def test_divergence_is_that_of_two_gaussians() -> None:
    mean, spread = torch.randn(2, 6, 4, generator=seeded())
    posterior, prior = torch.distributions.Normal(mean, spread.exp()), torch.distributions.Normal(0.0, 1.0)
    expected = torch.distributions.kl_divergence(posterior, prior).sum(dim=1)
    torch.testing.assert_close(divergence(mean, spread), expected)


def test_bound_weighs_the_divergence_by_beta(pool: torch.Tensor) -> None:
    """What is lowered is eq. 4 of a Gaussian by torch.distributions, but for a constant, times variance / values."""

    class Keeper(Monitor):
        def progress(self, step: int, total: int, **values: float) -> None:
            self.values = values

    keeper = Keeper()
    tiny("beta_vae", beta=7.0, deviation=30.0).train(pool, steps=1, rng=seeded(), monitor=keeper)
    values, variance = 3 * SIDE * SIDE, (30 / 127.5) ** 2
    density = torch.distributions.Normal(0.0, variance**0.5)
    errors = torch.full((values,), keeper.values["error"] ** 0.5)
    surprise = (density.log_prob(torch.zeros(())) - density.log_prob(errors)).sum().item()
    expected = (surprise + 7 * keeper.values["divergence"]) * variance / values
    assert keeper.values["bound"] == pytest.approx(expected, rel=1e-4)


def test_a_large_beta_leaves_nothing_to_tell(pool: torch.Tensor) -> None:
    last = {}

    class Keeper(Monitor):
        def progress(self, step: int, total: int, **values: float) -> None:
            last[self.weight] = values["divergence"]

        def __init__(self, weight: float) -> None:
            self.weight = weight

    for weight in (0.0, 1e4):
        tiny("beta_vae", beta=weight, rate=0.01).train(pool, steps=40, rng=seeded(), monitor=Keeper(weight))
    assert last[1e4] < 0.2 < last[0.0]


def test_mixture_finds_planted_clusters() -> None:
    dark, bright = torch.full((30, 3, 2, 2), 60, dtype=torch.uint8), torch.full((10, 3, 2, 2), 200, dtype=torch.uint8)
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(12, 2))
    encoder[1].weight.data = torch.tensor([[1 / 12.0] * 12, [0.0] * 12])
    encoder[1].bias.data = torch.tensor([0.0, -3.0])  # one latent, its deviation exp(-3)
    weights, means, factors = fit_mixture(encoder, torch.cat([dark, bright]), 2, seeded())
    order = means[:, 0].argsort()
    assert weights[order].tolist() == pytest.approx([0.75, 0.25], abs=1e-3)
    assert means[order, 0].tolist() == pytest.approx([60 / 127.5 - 1, 200 / 127.5 - 1], abs=0.05)
    latents = mixture_latents((weights, means, factors), 4000, seeded(1))
    assert (latents > 0).float().mean().item() == pytest.approx(0.25, abs=0.03)
    assert latents[latents < 0].std().item() == pytest.approx(factors[order[0], 0, 0].item(), rel=0.1)


def test_latents_without_a_mixture_are_the_priors(pool: torch.Tensor) -> None:
    generator = tiny("beta_vae", mixture=None)
    generator.train(pool, steps=1, rng=seeded())
    generator.network = nn.Sequential(nn.Unflatten(1, (3, 1, 1)), nn.Conv2d(3, 3, 1, bias=False))
    generator.network[1].weight.data = torch.eye(3)[:, :, None, None] / 4
    latents = (generator.sample(4000, rng=seeded()).double().flatten(1) / 127.5 - 1) * 4
    assert np.cov(latents.numpy().T) == pytest.approx(np.eye(3), abs=0.08)


def test_codes_are_those_of_the_nearest_entries() -> None:
    codebook, encodings = Codebook(7, 3), torch.randn(2, 3, 4, 5, generator=seeded())
    codebook.entries.data = torch.randn(7, 3, generator=seeded(1))
    codes = codebook.nearest(encodings)
    for image, row, column in itertools.product(range(2), range(4), range(5)):
        distances = [np.linalg.norm(encodings[image, :, row, column] - entry) for entry in codebook.entries.detach()]
        assert codes[image, row, column] == np.argmin(distances)
        assert torch.equal(codebook(codes)[image, :, row, column], codebook.entries[np.argmin(distances)])


def test_slope_goes_straight_through_to_the_encodings() -> None:
    encodings, entries = torch.randn(2, 5, 3, generator=seeded())
    encodings.requires_grad_()
    entries.requires_grad_()
    through = straight_through(encodings, entries)
    torch.testing.assert_close(through, entries)
    (through * torch.arange(3.0)).sum().backward()
    assert torch.equal(encodings.grad, torch.arange(3.0).expand(5, 3))
    assert entries.grad is None


def test_entries_follow_the_mean_of_their_encodings() -> None:
    """Against a loop over entries; the third entry has no encoding and stays."""
    codebook = Codebook(3, 2)
    encodings = torch.tensor([[0.0, 1.0], [0.2, 1.0], [5.0, 5.0]]).T.reshape(1, 2, 1, 3)
    codebook.begin(encodings, seeded())
    codebook.entries.data = torch.tensor([[0.0, 0.0], [4.0, 4.0], [9.0, 0.0]])
    codebook.sums, codebook.counts = codebook.entries.detach().clone(), torch.ones(3)
    counts, sums = [1.0, 1.0, 1.0], codebook.entries.detach().double().numpy().copy()
    for _ in range(4):
        codebook.follow(encodings, codebook.nearest(encodings), decay=0.5)
        for entry, members in enumerate(([0, 1], [2], [])):
            counts[entry] = 0.5 * counts[entry] + 0.5 * len(members)
            sums[entry] = 0.5 * sums[entry] + 0.5 * sum(encodings[0, :, 0, i].numpy() for i in members)
    expected = sums / np.array(counts)[:, None]
    assert codebook.entries.detach().numpy() == pytest.approx(expected, abs=1e-5)
    for _ in range(2000):  # far beyond what floats can halve
        codebook.follow(encodings, codebook.nearest(encodings), decay=0.5)
    assert codebook.entries[2].tolist() == pytest.approx([9.0, 0.0])


def test_rare_entries_begin_anew_at_encodings() -> None:
    codebook, encodings = Codebook(3, 2), torch.randn(1, 2, 3, 3, generator=seeded())
    codebook.entries.data = torch.full((3, 2), 9.0)
    codebook.counts, codebook.sums = torch.tensor([8.0, 0.3, 0.7]), torch.ones(3, 2)  # 3 on average
    codebook.renew(encodings, 0.2, seeded())
    rows = {tuple(row) for row in encodings.permute(0, 2, 3, 1).reshape(-1, 2).tolist()}
    assert [tuple(entry) in rows for entry in codebook.entries.tolist()] == [False, True, False]
    assert codebook.counts.tolist() == pytest.approx([8, 3, 0.7])
    torch.testing.assert_close(codebook.sums[1], 3 * codebook.entries[1])
    assert codebook.sums[[0, 2]].eq(1).all()


def test_entries_begin_as_encodings_once() -> None:
    codebook, encodings = Codebook(4, 3), torch.randn(2, 3, 4, 4, generator=seeded())
    codebook.begin(encodings, seeded())
    rows = {tuple(row) for row in encodings.permute(0, 2, 3, 1).reshape(-1, 3).tolist()}
    assert {tuple(entry) for entry in codebook.entries.tolist()} <= rows
    before = codebook.entries.detach().clone()
    codebook.begin(encodings + 1, seeded(1))
    assert torch.equal(codebook.entries, before)


@pytest.mark.parametrize("codebook", ["ema", "loss"])
def test_entries_are_moved_by_one_way_alone(codebook: str, pool: torch.Tensor) -> None:
    """With a loss they follow Adam's steps of one rate each, with averages they jump."""
    generator = tiny("vq_vae", codebook=codebook, rate=1e-4, share=1.0, decay=0.5, least=0.0)
    moves = []

    class Keeper(Monitor):
        def checkpoint(self, state: dict) -> None:
            moves.append(state["generator"]["codebook.entries"].clone())

    generator.train(pool, steps=3, rng=seeded(), monitor=Keeper())
    largest = (moves[2] - moves[1]).abs().max().item()
    assert largest > 0
    assert (largest < 1.5e-4) == (codebook == "loss")


@pytest.mark.parametrize("past_only", [True, False])
def test_causal_convolution_is_a_loop_over_the_past(past_only: bool) -> None:
    layer, maps = Causal(2, 3, 1, past_only=past_only), torch.randn(1, 2, 4, 4, generator=seeded())
    seen = layer(F.pad(maps, (1, 1, 1, 0)))
    weight, bias = layer.weight.detach(), layer.bias.detach()
    for row, column in itertools.product(range(4), range(4)):
        total = bias.clone()
        for i, j in ((row - 1, column - 1), (row - 1, column), (row - 1, column + 1), (row, column - 1), (row, column)):
            if i >= 0 and 0 <= j < 4 and ((i, j) != (row, column) or not past_only):
                total += weight[:, :, i - row + 1, j - column + 1] @ maps[0, :, i, j]
        torch.testing.assert_close(seen[0, :, row, column], total)


def test_a_code_changes_later_logits_only() -> None:
    """Earlier ones at most by rounding: some convolutions sum a whole tile at once (Winograd's)."""
    prior, codes = untrained_prior(5, 3, 2).double(), torch.randint(5, (1, 6, 6), generator=seeded())
    allowed = rounding(torch.float64, terms(prior))
    before = prior(codes)[0].detach().flatten(1)
    for place in range(36):
        other = codes.clone()
        other[0, place // 6, place % 6] = (other[0, place // 6, place % 6] + 1) % 5
        changed = (prior(other)[0].detach().flatten(1) - before).abs().amax(dim=0)
        assert changed[: place + 1].max() <= allowed
        assert place == 35 or changed[place + 1 :].max() > 1000 * allowed


def test_drawing_step_by_step_is_drawing_from_whole_passes() -> None:
    prior, uniform = untrained_prior(6, 3, 2).double(), torch.rand(4, 5, 5, generator=seeded())
    prior.head[1].weight.data *= 10  # so that what a code follows from matters
    codes = torch.zeros(4, 5, 5, dtype=torch.long)
    with torch.no_grad():
        for row, column in itertools.product(range(5), range(5)):
            codes[:, row, column] = quantile(prior(codes)[:, :, row, column], uniform[:, row, column])
        assert torch.equal(prior.draw(uniform), codes)


def test_quantiles_follow_their_distribution() -> None:
    shares = torch.tensor([0.1, 0.0, 0.6, 0.3])
    uniform = torch.rand(20_000, generator=seeded(), dtype=torch.float64)
    drawn = quantile(shares.log().expand(20_000, 4), uniform)
    assert (torch.bincount(drawn, minlength=4) / 20_000).tolist() == pytest.approx(shares.tolist(), abs=0.02)
    assert quantile(shares.log()[None], torch.zeros(1)).item() == 0
    assert quantile(shares.roll(-1).log()[None], torch.zeros(1)).item() == 1  # the first never comes
    assert quantile(shares.log()[None], torch.tensor([1 - 2**-24])).item() == 3


def test_prior_of_one_pattern_draws_it() -> None:
    """Trained on maps whose left half is one code and whose right half is another with probability 1/4."""
    prior, rng = untrained_prior(3, 2, 1), seeded()
    optimiser = torch.optim.Adam(prior.parameters(), lr=0.03)
    for step in range(120):
        optimiser.param_groups[0]["lr"] = 0.03 * (1 - step / 120)
        codes = torch.zeros(64, 4, 4, dtype=torch.long)
        codes[:, :, 2:] = 2 * (torch.rand(64, 4, 2, generator=rng) < 0.25).long()
        training.descend(optimiser, F.cross_entropy(prior(codes), codes))
    with torch.no_grad():
        drawn = prior.draw(torch.rand(500, 4, 4, generator=seeded(1)))
    assert (drawn[:, :, :2] == 0).float().mean() > 0.98
    assert (drawn[:, :, 2:] == 2).float().mean().item() == pytest.approx(0.25, abs=0.04)


def test_samples_depend_on_their_own_latents(pool: torch.Tensor) -> None:
    generator = tiny("vq_vae")
    generator.train(pool, steps=4, rng=seeded())
    network, latents = generator.network.double(), torch.rand(6, 4, generator=seeded(3)).double()
    with torch.no_grad():
        singly = torch.cat([network(latent[None]) for latent in latents])
        assert_same_but_for_rounding(network(latents), singly, operations=terms(network))


@pytest.mark.parametrize(
    ("state", "ends", "expected"),
    [
        (None, [3, 3, 9], [(0, 0, 3), (1, 3, 3), (2, 3, 9)]),
        ({"step": 2, "stage": 0, "start": 0}, [3, 9], [(0, 0, 3), (1, 3, 9)]),
        ({"step": 5, "stage": 1, "start": 3}, [6, 12], [(1, 3, 12)]),  # lengthened: what is over stays over
        ({"step": 5, "stage": 0, "start": 0}, [3, 6], [(0, 0, 5), (1, 5, 6)]),  # shortened
        ({"step": 8, "stage": 1, "start": 3}, [3, 6], [(1, 3, 6)]),  # the loop refuses it
    ],
)
def test_stages_follow_each_other(
    state: dict[str, int] | None, ends: list[int], expected: list[tuple[int, int, int]]
) -> None:
    class Kept(Monitor):
        def restored(self) -> dict[str, int] | None:
            return state

    found = list(stages(Kept(), ends))
    assert [(stage.number, stage.start, stage.end) for stage in found] == expected
    assert [stage.restored() for stage in found] == [state, *[None] * (len(found) - 1)]


@pytest.mark.parametrize("state", [{"step": 1}, {"step": 1, "stage": 2, "start": 0}])
def test_checkpoints_of_other_stages_are_refused(state: dict[str, int]) -> None:
    class Kept(Monitor):
        def restored(self) -> dict[str, int]:
            return state

    with pytest.raises(UsageError, match=r"the checkpoint is of stage .*, expected one of 2 stages"):
        list(stages(Kept(), [1, 2]))


def test_average_begins_anew_in_each_stage(pool: torch.Tensor) -> None:
    ends = []
    for after in (0, 100):
        network = nn.Linear(1, 1, bias=False)
        network.weight.data.zero_()

        def update(draw: training.Draw, network: nn.Linear = network) -> dict[str, float]:
            network.weight.data += 1
            return {}

        settings = {"steps": after + 20, "after": after, "batch": 1, "rng": seeded(), "monitor": Monitor()}
        ends.append(training.train(update, network, {}, pool, **settings).weight.item())
    assert ends[0] == ends[1] < 20
