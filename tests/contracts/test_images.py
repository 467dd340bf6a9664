"""An ImageSet in a torch DataLoader: fresh draws each epoch, however many workers, and signs of life."""

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from gfp_bench.contracts.attack import Perturbation
from gfp_bench.contracts.images import ImageSet
from gfp_bench.contracts.rng import ImageRng
from gfp_bench.contracts.types import Images


class Noise(Perturbation):
    """Adds a draw to every value."""

    name = "noise"
    version = 1

    def perturb(self, images: Images, rng: ImageRng) -> Images:
        return (images + 50 * rng.uniform(0, 1)[:, None, None, None]).to(torch.uint8)


@pytest.fixture
def images() -> ImageSet:
    pixels = np.random.default_rng(0).integers(0, 200, (12, 3, 4, 4), dtype=np.uint8)
    return ImageSet(pixels, np.arange(12) % 3, sources=["a", "b", "c"], ids=[f"{number}" for number in range(12)])


def epochs(images: ImageSet, workers: int, count: int = 3, **options: object) -> list[torch.Tensor]:
    loader = DataLoader(images, batch_size=5, num_workers=workers, **options)  # type: ignore[arg-type] # map-style
    return [torch.cat([batch for batch, _ in loader]) for _ in range(count)]


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # torch's threads sleep here
@pytest.mark.parametrize(
    "options",
    [{}, {"persistent_workers": True}, {"multiprocessing_context": "spawn", "persistent_workers": True}],
    ids=str,
)
def test_workers_draw_anew_each_epoch_and_as_one_process_does(images: ImageSet, options: dict[str, object]) -> None:
    alone, shared = (images.perturbed(Noise(), seed=7) for _ in range(2))
    expected = epochs(alone, 0)
    found = epochs(shared, 2, **options)
    assert not torch.equal(expected[0], expected[1])
    assert all(map(torch.equal, found, expected))
    assert shared.draws.tolist() == alone.draws.tolist() == [3] * 12


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_part_of_a_perturbed_set_draws_anew_too(images: ImageSet) -> None:
    part = images.perturbed(Noise(), seed=7).subset([3, 4, 5])
    first, second = epochs(part, 1, 2)
    assert not torch.equal(first, second)
    assert part.draws.tolist() == [2, 2, 2]


def test_reading_one_by_one_is_a_sign_of_life(images: ImageSet) -> None:
    ticks: list[int] = []
    images.tick = lambda: ticks.append(1)
    epochs(images, 0, 1)
    assert len(ticks) == 3, "a batch, a tick"
    assert images[0][1] == 0
    assert len(ticks) == 4


def test_images_are_taken_by_position_from_either_end(images: ImageSet) -> None:
    everything = images.images
    assert torch.equal(images[-1][0], everything[11])
    assert images[-1][1] == 2
    for index in (12, -13):
        with pytest.raises(IndexError, match=f"image {index} of a set of 12"):
            images[index]


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_worker_is_refused_a_set_on_another_device(images: ImageSet) -> None:
    images.device = torch.device("meta")
    with pytest.raises(RuntimeError, match=r"a DataLoader's worker got an ImageSet on meta, expected one on the CPU"):
        epochs(images, 1, 1)
