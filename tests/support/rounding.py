"""How far two computations of the same values may lie apart when they sum in another order."""

import numpy as np
import torch
from torch import Tensor, nn


def assert_same_but_for_rounding(found: Tensor, expected: Tensor, *, operations: int) -> None:
    """Compare values that every path computes by the same sums, in whatever order.

    A sum of k terms is off by at most k units in the last place of its largest partial sum, and layers add their
    errors up. So the allowance is the unit of the coarser type, times ``operations``, the terms of all sums on the
    longest way through, times the largest value there is. Processors order sums as they like; nothing else is allowed.

    Values inside of a network may be far larger than those that come out: compare in float64 where that can be done,
    and the allowance is a millionth of any real difference whatever happens inside.
    """
    unit = max(torch.finfo(values.dtype).eps for values in (found, expected))
    largest = max(1.0, float(expected.detach().abs().max()))
    allowed = operations * unit * largest * (1e4 if unit < 1e-15 else 1.0)  # gains inside; 1e-8 or so for 10,000 terms
    np.testing.assert_allclose(found.detach(), expected.detach(), rtol=0, atol=allowed)


def terms(network: nn.Module) -> int:
    """Return the terms of the sums on the way through a network whose layers all follow each other."""
    weights = (getattr(layer, "weight", None) for layer in network.modules() if not list(layer.children()))
    return sum(weight[0].numel() if weight.ndim > 1 else 1 for weight in weights if weight is not None)
