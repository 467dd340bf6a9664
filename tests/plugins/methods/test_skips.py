"""What hand-crafted methods say of datasets that they cannot take."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from gfp_bench import Method
from gfp_bench_methods.akay import Akay
from gfp_bench_methods.durall20 import Durall20
from gfp_bench_methods.dzanic20 import Dzanic20
from gfp_bench_methods.marra19 import Marra19


@dataclass
class Facts:
    image_shape: tuple[int, int, int] = (3, 64, 64)
    source_names: tuple[str, ...] = ("a", "real")
    name: str = "toy"
    splits: Mapping[str, int] = field(default_factory=dict)
    sources: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def side(pixels: int) -> Facts:
    return Facts(image_shape=(3, pixels, pixels))


@pytest.mark.parametrize(
    ("method", "taken", "refused", "reason"),
    [
        (Durall20(), side(4), side(3), "3 x 3 pixels, whose profile has 0 values, expected 1 or more"),
        (Durall20(length=80), side(10), side(8), "8 x 8 pixels, whose profile has 3 values, expected 4 or more"),
        (Dzanic20(), side(16), side(15), "15 x 15 pixels, expected 16 x 16 at least"),
        (Marra19(), side(8), side(7), "7 x 7 pixels, fewer than the 8 taps"),
        (Akay(), Facts(), Facts(source_names=("a", "b")), "sources a, b, expected 'real' and others"),
        (Akay(), Facts(), Facts(source_names=("real",)), "sources real, expected 'real' and others"),
    ],
)
def test_what_is_skipped_and_why(method: Method, taken: Facts, refused: Facts, reason: str) -> None:
    assert method.skip(taken) is None
    assert reason in str(method.skip(refused))


def test_what_skips_nothing() -> None:
    assert Marra19(denoiser="box").skip(side(7)) is None
    assert Akay(rule="argmax").skip(Facts(source_names=("a", "b"))) is None
