from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from gfp_bench import SILENT, ImageSet, Method, Monitor, PluginError, State, load_state, save_state


class Plain(Method):
    """Keeps one of everything that a fitted state may hold."""

    name, paper, version = "plain", "", 1

    def __init__(self, shift: float = 0.5) -> None:
        self.shift = shift
        self.weights, self.deviations = "scratch", ("shifted",)

    def fit(self, train: ImageSet, val: ImageSet, *, rng: torch.Generator, monitor: Monitor = SILENT) -> None:
        self.bias = torch.arange(len(train.sources)) * self.shift
        self.table = np.eye(2)
        self.names = ["a", "b"]
        self.count = len(train)
        self.machine = {"module": torch.ones(1), "training": True}  # looks like a saved network and is none

    def scores(self, images: torch.Tensor) -> torch.Tensor:
        return images.float().mean(dim=(1, 2, 3))[:, None] + self.bias


class Trained(Plain):
    name = "trained"

    def build(self, n_sources: int, image_shape: torch.Size) -> None:
        super().build(n_sources, image_shape)
        self.network = nn.Sequential(nn.Linear(image_shape.numel(), n_sources), nn.BatchNorm1d(n_sources))

    def fit(self, train: ImageSet, val: ImageSet, *, rng: torch.Generator, monitor: Monitor = SILENT) -> None:
        super().fit(train, val, rng=rng)
        self.build(len(train.sources), train.image_shape)
        self.network(train.images.flatten(1).float())  # moves the batch statistics
        self.network.eval()

    def scores(self, images: torch.Tensor) -> torch.Tensor:
        return self.network(images.flatten(1).float()).detach()


class Careless(Trained):
    name = "careless"

    def build(self, n_sources: int, image_shape: torch.Size) -> None:
        self.network = nn.Linear(image_shape.numel(), n_sources)


@pytest.fixture
def images() -> ImageSet:
    pixels = np.random.default_rng(0).integers(0, 256, (6, 3, 4, 5), dtype=np.uint8)
    return ImageSet(pixels, np.arange(6) % 2, sources=("a", "real"), ids=[str(i) for i in range(6)])


@pytest.mark.parametrize("kind", [Plain, Trained])
def test_a_loaded_method_scores_as_the_fitted_one(kind: type[Plain], images: ImageSet, tmp_path: Path) -> None:
    fitted, loaded = kind(shift=2.0), kind(shift=2.0)
    fitted.fit(images, images, rng=torch.Generator())
    fitted.save(tmp_path)
    loaded.load(tmp_path)
    assert torch.equal(loaded.scores(images.images), fitted.scores(images.images))
    assert (loaded.count, loaded.names, loaded.machine["training"]) == (6, ["a", "b"], True)
    assert np.array_equal(loaded.table, np.eye(2))


def test_a_network_comes_back_in_its_mode_and_with_its_buffers(images: ImageSet, tmp_path: Path) -> None:
    fitted, loaded = Trained(), Trained()
    fitted.fit(images, images, rng=torch.Generator())
    fitted.network[0].train()
    fitted.save(tmp_path)
    loaded.load(tmp_path)
    assert not loaded.network.training
    assert torch.equal(loaded.network[1].running_mean, fitted.network[1].running_mean)
    assert loaded.image_shape == (3, 4, 5)


def test_settings_are_not_part_of_the_state(images: ImageSet, tmp_path: Path) -> None:
    fitted, loaded = Plain(shift=2.0), Plain(shift=3.0)
    loaded.deviations = ("other",)
    fitted.fit(images, images, rng=torch.Generator())
    fitted.save(tmp_path)
    loaded.load(tmp_path)
    assert loaded.shift == 3.0
    assert loaded.deviations == ("other",)


def test_a_network_that_does_not_fit_is_refused(images: ImageSet, tmp_path: Path) -> None:
    fitted = Trained()
    fitted.fit(images, images, rng=torch.Generator())
    del fitted.network[1]
    fitted.save(tmp_path)
    with pytest.raises(RuntimeError, match="Missing key"):
        Trained().load(tmp_path)


def test_a_build_that_forgets_the_base_class_is_named(images: ImageSet, tmp_path: Path) -> None:
    method = Careless()
    method.fit(images, images, rng=torch.Generator())
    with pytest.raises(PluginError, match=r"method 'careless' has the network 'network' but build\(\) of the base"):
        method.save(tmp_path)


class HandMade(Careless):
    """Notes one of the two numbers of `build`, not both."""

    name = "hand-made"

    def build(self, n_sources: int, image_shape: torch.Size) -> None:
        self.n_sources = n_sources
        super().build(n_sources, image_shape)


class Additional(Trained):
    name = "additional"

    def fit(self, train: ImageSet, val: ImageSet, *, rng: torch.Generator, monitor: Monitor = SILENT) -> None:
        super().fit(train, val, rng=rng)
        self.second = nn.Linear(2, 2)


def test_what_cannot_be_loaded_is_not_saved(images: ImageSet, tmp_path: Path) -> None:
    method = HandMade()
    method.fit(images, images, rng=torch.Generator())
    with pytest.raises(PluginError, match=r"method 'hand-made' has the network 'network' but build\(\) of the base"):
        method.save(tmp_path)


def test_a_network_that_build_does_not_create_is_named(images: ImageSet, tmp_path: Path) -> None:
    method = Additional()
    method.fit(images, images, rng=torch.Generator())
    method.save(tmp_path)
    with pytest.raises(PluginError, match=r"was saved with the network 'second', which its build\(\) does not create"):
        Additional().load(tmp_path)


class Grown(Trained):
    """As another version of `Trained` would be, with a network more."""

    name = "trained"

    def build(self, n_sources: int, image_shape: torch.Size) -> None:
        super().build(n_sources, image_shape)
        self.second = nn.Linear(2, 2)


def test_a_network_that_the_state_lacks_is_not_left_untrained(images: ImageSet, tmp_path: Path) -> None:
    method = Trained()
    method.fit(images, images, rng=torch.Generator())
    method.save(tmp_path)
    with pytest.raises(PluginError, match="has the network 'second', which the saved state lacks"):
        Grown().load(tmp_path)


@pytest.mark.parametrize("size", ["n_sources", "image_shape"])
def test_a_state_without_the_sizes_of_its_networks_is_refused(size: str, images: ImageSet, tmp_path: Path) -> None:
    method = Trained()
    method.fit(images, images, rng=torch.Generator())
    method.save(tmp_path)
    kept = load_state(tmp_path / "state.safetensors")
    del kept["values"][size]
    save_state(tmp_path / "state.safetensors", kept)
    with pytest.raises(PluginError, match=r"method 'trained' was saved with networks but without the sizes.*fit it"):
        Trained().load(tmp_path)


@pytest.mark.parametrize(
    ("state", "found"),
    [({"bias": 1.0}, "'bias'"), ({"values": {}}, "'values'"), ({}, "nothing"), ([1.0], "list")],
)
def test_a_state_that_save_did_not_write_is_refused(state: State, found: str, tmp_path: Path) -> None:
    save_state(tmp_path / "state.safetensors", state)
    with pytest.raises(PluginError, match=f"state of method 'plain' has {found}, expected 'networks' and 'values'"):
        Plain().load(tmp_path)


def test_defaults_of_the_contract(images: ImageSet) -> None:
    method = Plain()
    method.fit(images, images, rng=torch.Generator())
    before = method.scores(images.images)
    assert torch.equal(method.fingerprints(images.images), before)
    method.shift = 1.0
    method.immunise(images, images, rng=torch.Generator())  # fits again
    assert not torch.equal(method.scores(images.images), before)
    assert Plain.stochastic
    assert not Plain.floor


def test_a_method_without_scores_cannot_be_made() -> None:
    class Half(Method):
        def fit(self, train: ImageSet, val: ImageSet, *, rng: torch.Generator, monitor: Monitor = SILENT) -> None: ...

    with pytest.raises(TypeError, match="scores"):
        Half()
