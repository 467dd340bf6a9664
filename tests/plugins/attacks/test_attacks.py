"""What every attack must hold, whatever it does; new attack modules are found by themselves."""

import importlib
import inspect
import pkgutil
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import gfp_bench_attacks
from gfp_bench import ImageRng, Perturbation, UsageError
from gfp_bench_attacks._shared.threads import in_parts

MODULES = [
    importlib.import_module(f"gfp_bench_attacks.{module.name}")
    for module in pkgutil.iter_modules(gfp_bench_attacks.__path__)
    if not module.name.startswith("_")
]
ATTACKS: list[type[Perturbation]] = []
for module in MODULES:
    module.register_attacks(ATTACKS.append)


def streams(ids: list[int], device: str = "cpu") -> ImageRng:
    names = [f"image-{number}" for number in ids]
    return ImageRng.for_images(names, seed=0, dataset="set", attack="any", split="test", device=device)


def pictures(count: int, height: int, width: int) -> torch.Tensor:
    """Smooth images with some noise: neither flat nor all detail."""
    draws = torch.Generator().manual_seed(0)
    coarse = torch.rand((count, 3, 4, 4), generator=draws)
    smooth = torch.nn.functional.interpolate(coarse, size=(height, width), mode="bilinear") * 255
    return (smooth + 8 * torch.randn(smooth.shape, generator=draws)).clamp(0, 255).to(torch.uint8)


every_attack = pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)


@every_attack
@pytest.mark.parametrize("threads", [1, 2])
def test_bits_do_not_depend_on_batch_order_or_threads(attack: type[Perturbation], threads: int) -> None:
    images, ids = pictures(16, 24, 20), list(range(16))
    whole = attack().perturb(images, streams(ids))
    torch.set_num_threads(threads)
    for size in (1, 7):
        parts = [
            attack().perturb(images[start : start + size], streams(ids[start : start + size]))
            for start in range(0, 16, size)
        ]
        assert torch.equal(torch.cat(parts), whole)
    order = torch.randperm(16, generator=torch.Generator().manual_seed(1))
    assert torch.equal(attack().perturb(images[order], streams(order.tolist())), whole[order])


@every_attack
def test_images_are_left_as_they_were(attack: type[Perturbation]) -> None:
    images = pictures(4, 16, 16)
    before = images.clone()
    attacked = attack().perturb(images, streams([0, 1, 2, 3]))
    assert torch.equal(images, before)
    attacked.fill_(0)
    assert torch.equal(images, before), "the result shares memory with the images"


@every_attack
@pytest.mark.parametrize("size", [(1, 1), (1, 7), (13, 2), (17, 9)])
def test_any_size_keeps_its_shape(attack: type[Perturbation], size: tuple[int, int]) -> None:
    attacked = attack().perturb(pictures(5, *size), streams(list(range(5))))
    assert attacked.shape == (5, 3, *size)
    assert attacked.dtype == torch.uint8


@every_attack
@settings(max_examples=10)
@given(height=st.integers(1, 20), width=st.integers(1, 20), draws=st.integers(0, 99))
def test_small_sides_give_the_same_bits_alone(attack: type[Perturbation], height: int, width: int, draws: int) -> None:
    images, ids = pictures(3, height, width), [draws, draws + 1, draws + 2]
    attacked = attack().perturb(images, streams(ids))
    assert attacked.shape == images.shape
    alone = [attack().perturb(images[i : i + 1], streams([ids[i]])) for i in range(3)]
    assert torch.equal(torch.cat(alone), attacked)


@every_attack
def test_an_empty_batch_gives_an_empty_batch(attack: type[Perturbation]) -> None:
    assert attack().perturb(pictures(0, 8, 8), streams([])).shape == (0, 3, 8, 8)


@every_attack
def test_strided_images_are_images(attack: type[Perturbation]) -> None:
    images = pictures(4, 16, 20)
    strided = images.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
    expected = attack().perturb(images, streams([0, 1, 2, 3]))
    assert torch.equal(attack().perturb(strided, streams([0, 1, 2, 3])), expected)


@every_attack
@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.zeros(2, 3, 8, 8), r"got images of dtype torch.float32, expected torch.uint8"),
        (torch.zeros(2, 8, 8, 3, dtype=torch.uint8), r"shape \(2, 8, 8, 3\), expected \(n, 3, h, w\)"),
        (torch.zeros(3, 8, 8, dtype=torch.uint8), r"shape \(3, 8, 8\), expected \(n, 3, h, w\)"),
        (torch.zeros(2, 3, 0, 8, dtype=torch.uint8), r"shape \(2, 3, 0, 8\), expected .* at least 1 x 1"),
        (torch.zeros(3, 3, 8, 8, dtype=torch.uint8), r"got 2 random streams for 3 images"),
        (torch.zeros(2, 3, 8, 8, dtype=torch.uint8, device="meta"), r"images on meta and random streams on cpu"),
    ],
)
def test_what_is_no_batch_of_images_is_refused(attack: type[Perturbation], images: torch.Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        attack().perturb(images, streams([0, 1]))


def described(kinds: tuple[type, ...]) -> list[tuple[type[Perturbation], str, type]]:
    """Every setting of every attack whose default is of these types."""
    return [
        (attack, name, type(parameter.default))
        for attack in ATTACKS
        for name, parameter in inspect.signature(attack).parameters.items()
        if isinstance(parameter.default, kinds)
    ]


@pytest.mark.parametrize(("attack", "setting", "kind"), described((int, float)))
def test_a_severity_that_does_not_exist_is_refused(attack: type[Perturbation], setting: str, kind: type) -> None:
    for value in [-1, 10**9, True, *([float("nan"), float("inf")] if kind is float else [])]:
        message = rf"setting '{setting}' of '{attack.name}' got {value}, expected {kind.__name__} from "
        with pytest.raises(ValueError, match=message):
            attack(**{setting: value})


@pytest.mark.parametrize(("attack", "setting", "kind"), described((str,)))
def test_a_reading_that_does_not_exist_is_refused(attack: type[Perturbation], setting: str, kind: type) -> None:
    message = rf"'{setting}' .*got 'no-such', expected |{setting}='no-such'|unknown attack 'no-such'"
    with pytest.raises(UsageError if setting == "steps" else ValueError, match=message):
        attack(**{setting: kind("no-such")})


def test_threads_hand_on_errors_and_leave_torchs_as_they_were() -> None:
    def fail(part: slice) -> torch.Tensor:
        raise KeyError(part.start)

    torch.set_num_threads(2)
    with pytest.raises(KeyError):
        in_parts(pictures(50, 64, 64), fail)
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(torch.get_num_threads).result() == torch.get_num_threads() == 2


@every_attack
@pytest.mark.gpu
def test_bits_do_not_depend_on_the_device(attack: type[Perturbation]) -> None:
    for size in ((64, 64), (33, 47)):
        images, ids = pictures(64, *size), list(range(64))
        on_cpu = attack().perturb(images, streams(ids))
        assert torch.equal(attack().perturb(images.cuda(), streams(ids, "cuda")).cpu(), on_cpu)
