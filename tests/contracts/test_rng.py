import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from gfp_bench import ImageRng
from gfp_bench.contracts.rng import philox

WORD = 2**64


def signed(word: int) -> int:
    return word - WORD if word >= WORD // 2 else word


def streams(count: int, **names: object) -> ImageRng:
    options: dict[str, object] = {"seed": 0, "dataset": "set", "attack": "noise", "split": "test", **names}
    return ImageRng.for_images([f"image-{number}" for number in range(count)], **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [  # the known answers that Random123 publishes for philox4x64-10
        (
            [0] * 4,
            [0] * 2,
            [0x16554D9ECA36314C, 0xDB20FE9D672D0FDC, 0xD7E772CEE186176B, 0x7E68B68AEC7BA23B],
        ),
        (
            [WORD - 1] * 4,
            [WORD - 1] * 2,
            [0x87B092C3013FE90B, 0x438C3C67BE8D0224, 0x9CC7D7C69CD777B6, 0xA09CAEBF594F0BA0],
        ),
        (
            [0x243F6A8885A308D3, 0x13198A2E03707344, 0xA4093822299F31D0, 0x082EFA98EC4E6C89],
            [0x452821E638D01377, 0xBE5466CF34E90C6C],
            [0xA528F45403E61D95, 0x38C72DBD566E9788, 0xA5A1610E72FD18B5, 0x57BD43B5E52B7FE6],
        ),
    ],
)
def test_philox_gives_the_published_answers(counter: list[int], key: list[int], expected: list[int]) -> None:
    words = philox([torch.tensor([signed(word)]) for word in counter], torch.tensor([[signed(word) for word in key]]))
    assert [int(word) % WORD for word in words] == expected


@settings(max_examples=25)
@given(
    key=st.tuples(st.integers(0, WORD - 1), st.integers(0, WORD - 1)),
    position=st.integers(0, 2**40),
    count=st.integers(1, 150),
)
def test_uniform_is_numpys_stream(key: tuple[int, int], position: int, count: int) -> None:
    rng = ImageRng(torch.tensor([[signed(word) for word in key]]), position)
    numpys = np.random.Generator(np.random.Philox(key=np.array(key, dtype=np.uint64), counter=position))
    np.testing.assert_array_equal(rng.uniform(shape=(count,))[0].numpy(), numpys.random(count))


def test_draws_use_up_whole_blocks() -> None:
    rng, again = streams(2), streams(2)
    rng.uniform(), rng.uniform(shape=(5,)), rng.normal((3,))
    again.uniform(shape=(4 * (1 + 2 + 1),))
    assert torch.equal(rng.uniform(), again.uniform())


@pytest.mark.parametrize("count", [10, 200])  # words made as tensors, and by NumPy
def test_both_forms_continue_each_other(count: int) -> None:
    rng, whole = streams(2), streams(2)
    parts = torch.cat([rng.uniform(shape=(4,)), rng.uniform(shape=(count,))], dim=1)
    torch.testing.assert_close(parts, whole.uniform(shape=(4 + count,)), rtol=0, atol=0)


def test_normals_are_box_and_mullers() -> None:
    radius, angle = streams(2).uniform(shape=(2, 51)).unbind(1)
    radius, angle = np.sqrt(-2 * np.log(1 - radius.numpy())), 2 * np.pi * angle.numpy()
    expected = np.concatenate([radius * np.cos(angle), radius * np.sin(angle)], axis=1)[:, :101]
    np.testing.assert_allclose(streams(2).normal((101,)).numpy(), expected, rtol=1e-13, atol=1e-14)


def test_normals_are_normal() -> None:
    values = streams(8).normal((3, 50, 50)).flatten().numpy()
    assert stats.kstest(values, "norm").pvalue > 0.01
    assert abs(stats.kurtosis(values)) < 0.1


def test_uniform_is_uniform() -> None:
    assert stats.kstest(streams(4000).uniform(-1.0, 3.0).numpy(), "uniform", args=(-1, 4)).pvalue > 0.01


def test_integers_hold_both_ends_equally_often() -> None:
    values = streams(6000).integers(10, 15)
    assert stats.chisquare(torch.bincount(values - 10, minlength=6).numpy()).pvalue > 0.01


def test_streams_are_uncorrelated() -> None:
    """Of images, passes, seeds, attacks, splits, data sets and steps: no two draws have anything in common."""
    others: list[dict[str, object]] = [
        {"passes": 1}, {"seed": 1}, {"attack": "blur"}, {"split": "train"}, {"dataset": "other"}
    ]  # fmt: skip
    draws = [streams(2).normal((4000,)), *(streams(2, **names).normal((4000,)) for names in others)]
    draws += [streams(2).child(step).normal((4000,)) for step in ("noise", "blur")]
    draws += [streams(2).child("noise").child("noise").normal((4000,))]
    correlations = np.corrcoef(torch.cat(draws).numpy())
    assert np.abs(correlations - np.eye(len(correlations))).max() < 5 / np.sqrt(4000)


def test_a_stream_does_not_know_its_batch() -> None:
    whole = streams(7).normal((40,))
    alone = torch.cat([streams(7)[slice(number, number + 1)].normal((40,)) for number in range(7)])
    assert torch.equal(whole, alone)
    order = torch.tensor([3, 0, 6])
    assert torch.equal(streams(7)[order].normal((40,)), whole[order])


def test_passes_may_differ_between_images() -> None:
    mixed = streams(3, passes=[0, 1, 0]).uniform()
    first, second = streams(3).uniform(), streams(3, passes=1).uniform()
    assert mixed.tolist() == [first[0], second[1], first[2]]


def test_children_do_not_depend_on_what_was_drawn() -> None:
    rng = streams(2)
    rng.normal((9,))
    assert torch.equal(rng.child("blur").uniform(), streams(2).child("blur").uniform())


def test_names_do_not_run_together() -> None:
    """Keys come from JSON, so that no two lists of names read the same."""
    pairs = [("ab", "c"), ("a", "bc"), ('a", "b', "c"), ("a", 'b", "c')]
    keys = [streams(1, dataset=dataset, split=split).uniform().item() for dataset, split in pairs]
    assert all(first != second for first, second in itertools.combinations(keys, 2))
