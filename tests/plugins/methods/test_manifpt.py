import numpy as np
import pytest
import torch
from rounding import assert_same_but_for_rounding, terms
from torch import Tensor

from gfp_bench import ImageRng, Images, Monitor, Perturbation
from gfp_bench.data.manifest import Manifest
from gfp_bench_methods import manifpt
from gfp_bench_methods._shared.resnet20 import ResNet20
from gfp_bench_methods._shared.training import Length
from gfp_bench_methods.manifpt import ManiFpt


class Darken(Perturbation):
    """Takes 0 to 9 grey levels away."""

    name = "darken"
    version = 1

    def perturb(self, images: Images, rng: ImageRng) -> Images:
        return images - rng.integers(0, 9)[:, None, None, None].to(torch.uint8)


@pytest.fixture
def striped(make_set, noise):
    """Source a has stripes along rows, b along columns, real none."""
    labels = np.arange(48) % 3
    pixels = noise.copy()
    pixels[labels == 0, :, ::2] += 60
    pixels[labels == 1, :, :, ::2] += 60
    return make_set(pixels, labels)


@pytest.fixture
def seen(monkeypatch) -> list[tuple[Tensor, Tensor]]:
    """The artifacts and labels of one training pass, in place of a training."""
    batches: list[tuple[Tensor, Tensor]] = []
    monkeypatch.setattr(manifpt, "train_network", lambda network, optimiser, train, *_: batches.extend(train()))
    return batches


@pytest.mark.parametrize("space", ["rgb", "freq"])
def test_artifact_is_the_way_from_the_nearest_real_training_image(striped, seen, rng, space: str) -> None:
    train, test = (striped.subset(np.arange(start, start + 24)) for start in (0, 24))
    method = ManiFpt(space=space)
    method.fit(train, test, rng=rng)
    reals = train.images.numpy()[train.labels.numpy() == 2] / 255
    for image, artifact in zip(test.images.numpy() / 255, method.artifacts(test.images).numpy(), strict=True):
        nearest = min(reals, key=lambda real: ((image - real) ** 2).sum())
        if space == "freq":
            image, nearest = (
                np.log(np.abs(np.fft.fftshift(np.fft.fft2(x), axes=(1, 2))) + 1e-12) for x in (image, nearest)
            )
        np.testing.assert_allclose(artifact, image - nearest, atol=1e-5)


@pytest.mark.parametrize(("policy", "zeros"), [("leave_one_out", 0), ("zero", 16)])
def test_a_real_training_image_is_its_own_neighbour_only_if_told(striped, seen, rng, policy: str, zeros: int) -> None:
    ManiFpt(real_policy=policy).fit(striped, striped, rng=rng)
    artifacts, labels = (torch.cat(column) for column in zip(*seen, strict=True))
    assert len(artifacts) == 48
    nothing = artifacts.flatten(1).abs().amax(dim=1) == 0
    assert nothing.sum() == zeros
    assert (labels[nothing] == 2).all()


def test_immunisation_keeps_the_manifold_clean_and_leaves_out_the_image_itself(striped, seen, rng) -> None:
    method = ManiFpt()
    method.fit(striped, striped, rng=rng)
    references = method.references.clone()
    seen.clear()
    attacked = striped.perturbed(Darken(), seed=0)
    method.immunise(attacked, attacked, rng=rng)
    assert torch.equal(method.references, references)
    levels = torch.cat([artifacts for artifacts, _ in seen]) * 255
    one_shade = (levels - levels.flatten(1).mean(dim=1)[:, None, None, None]).flatten(1).abs().amax(dim=1) < 1e-3
    assert not one_shade.any()  # the difference of a darkened image from itself
    assert (attacked.draws == 1).all()


def test_recovers_planted_stripes(striped, monkeypatch, rng, reload) -> None:
    monkeypatch.setitem(manifpt._FIT, "smoke", Length(12))
    torch.manual_seed(0)
    train, test = (striped.subset(np.arange(start, start + 24)) for start in (0, 24))
    method = ManiFpt(budget="smoke")
    method.fit(train, test, rng=rng)
    scores = method.scores(test.images)
    assert torch.equal(scores.argmax(dim=1), test.labels)
    assert method.fingerprints(test.images).shape == (24, 64)
    loaded = reload(method, ManiFpt(budget="smoke"))
    assert torch.equal(loaded.scores(test.images), scores)
    assert_same_but_for_rounding(method.scores(test.images[5:7]), scores[5:7], operations=terms(method.network))


def test_rates_fall_where_the_released_code_lets_them_fall(striped, monkeypatch, rng) -> None:
    schedules = []
    monkeypatch.setattr(manifpt, "train_network", lambda *arguments: schedules.append(arguments[4]))
    method = ManiFpt()
    method.fit(striped, striped, rng=rng)
    method.immunise(striped, striped, rng=rng)
    fit, immunise = schedules
    assert fit.rates == pytest.approx([0.1] * 12 + [0.01] * 5 + [0.001] * 3)  # drops at 11.1 and 16.7 of 20
    assert immunise.rates == pytest.approx([0.01] * 2)
    assert (fit.steps, fit.limit) == (2, None)
    assert ManiFpt().fine_tuning(len(striped)) == immunise.steps * len(immunise.rates)


def test_a_killed_immunisation_ends_as_an_undisturbed_one(striped, interrupted, tmp_path, monkeypatch) -> None:
    with monkeypatch.context() as untrained:
        untrained.setattr(manifpt, "train_network", lambda *_: None)
        clean = ManiFpt()
        clean.fit(striped, striped, rng=torch.Generator())
    clean.save(tmp_path)
    attacked = striped.perturbed(Darken(), seed=0)
    finished = []

    def immunise(rng: torch.Generator, monitor: Monitor) -> None:
        method = ManiFpt()
        method.load(tmp_path)
        method.immunise(attacked, attacked, rng=rng, monitor=monitor)
        finished.append(method.scores(striped.images))

    immunise(torch.Generator().manual_seed(0), Monitor())
    steps = interrupted(immunise, 1, [attacked])
    assert len(steps) == 6  # two epochs of two batches, one of them again
    assert torch.equal(*finished)


def test_residual_network_has_twenty_layers() -> None:
    network = ResNet20(10)
    assert 0.26e6 < sum(weights.numel() for weights in network.parameters()) < 0.28e6
    layers = [weights for weights in network.parameters() if weights.ndim == 2 or weights.shape[-1:] == (3,)]
    assert len(layers) == 20
    assert network(torch.zeros(2, 3, 13, 9)).shape == (2, 10)


def test_needs_real_images(striped, make_set, toy: Manifest, rng) -> None:
    assert ManiFpt().skip(toy) is None
    fakes = toy.model_copy(update={"sources": {name: toy.sources[name] for name in toy.sources if name != "real"}})
    assert ManiFpt().skip(fakes) == "no source is called 'real': gan-a, gan-b"
    one = make_set(striped.images[:3], [0, 1, 2])
    with pytest.raises(ValueError, match="got 1 training images of a source 'real', expected 2 or more"):
        ManiFpt().fit(one, one, rng=rng)
    none = make_set(striped.images[:3], [0, 1, 2], sources=("a", "b", "c"))
    with pytest.raises(ValueError, match="got 0 training images"):
        ManiFpt().fit(none, none, rng=rng)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"space": "ssl"}, "'space' of 'manifpt' got 'ssl', expected 'rgb' or 'freq'"),
        ({"real_policy": "any"}, "'any', expected 'leave_one_out' or 'zero'"),
        ({"classifier": "resnet50"}, "'resnet50', expected 'resnet20'"),
        ({"budget": ""}, "'', expected 'full' or 'smoke'"),
    ],
)
def test_strange_settings_are_refused(settings, message) -> None:
    with pytest.raises(ValueError, match=message):
        ManiFpt(**settings)
