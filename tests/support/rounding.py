"""How far two computations of the same values may lie apart when they sum in another order.

Processors, libraries, batch sizes and numbers of threads choose the order, and whether a product is rounded before it
is added. Nothing else may differ, so what is allowed follows from the sums alone, never from what a run has shown.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

_GAIN = {torch.float32: 1.0, torch.float64: 1e4}  # of errors on the way through the layers that follow


def rounding(dtype: torch.dtype, operations: int, largest: float = 1.0) -> float:
    """Return how far apart rounding may bring two values that are computed alike but for the order of sums.

    A sum of k terms is off by at most k times the unit of its largest partial sum, and layers add their errors up: the
    allowance is the unit of ``dtype``, times the terms of all sums on the longest way through, times the largest
    value. In float32 that bound is kept tight, as errors that cancel leave about the root of k, and the rest is room
    for what later layers enlarge; in float64 there is room to spare, so errors may grow 10,000 times on their way.

    Args:
        dtype: What the values are computed in.
        operations: The terms of all sums on the longest way through, see `terms`.
        largest: The largest magnitude on the way.
    """
    return operations * torch.finfo(dtype).eps * largest * _GAIN[dtype]


def assert_same_but_for_rounding(
    found: Tensor, expected: Tensor | NDArray[np.floating], *, operations: int, largest: float = 1.0
) -> None:
    """Compare values that every path computes by the same sums, within `rounding` of the coarser type.

    Values inside of a network may be far larger than those that come out: compare in float64 where that can be done,
    and the allowance is a millionth of any real difference whatever happens inside.

    Args:
        found: What the code gives.
        expected: What it should be.
        operations: See `rounding`.
        largest: The largest magnitude on the way, if it is above 1 and above that of ``expected``.
    """
    wanted = torch.as_tensor(expected).detach()
    dtype = max((found.dtype, wanted.dtype), key=lambda dtype: torch.finfo(dtype).eps)
    allowed = rounding(dtype, operations, max(largest, float(wanted.abs().max())))
    np.testing.assert_allclose(found.detach(), wanted, rtol=0, atol=allowed)


def terms(network: nn.Module) -> int:
    """Return the terms of the sums on the way through a network whose layers all follow each other."""
    weights = (getattr(layer, "weight", None) for layer in network.modules() if not list(layer.children()))
    return sum(weight[0].numel() if weight.ndim > 1 else 1 for weight in weights if weight is not None)
