"""Shapes and dtypes that plugins and core exchange; jaxtyping checks them in tests only."""

from typing import TypeAlias

from jaxtyping import Float, Float32, Int64, UInt8
from torch import Tensor

from gfp_bench.contracts.settings import Setting as Setting

Images: TypeAlias = UInt8[Tensor, "n 3 h w"]
"""What an image file can hold: RGB, 0 to 255."""

Labels: TypeAlias = Int64[Tensor, " n"]
"""Indices into the sorted sources."""

Scores: TypeAlias = Float32[Tensor, "n s"]
"""One row per image, one column per source; the largest names the source."""

Fingerprints: TypeAlias = Float[Tensor, "n d"]
"""The space in which separability is measured."""
