"""A Gaussian machine on standardised features, its penalty chosen on validation images: what floors decide by.

Up to 8,000 training images of at most 32 sources it is libsvm's support vector machine, one source against one. That
takes time and memory with the square of both, so beyond either it is a least-squares machine, one source against the
rest, in the span of at most 2,000 training images: the first of each source, whose order is random.

Source: Suykens and Vandewalle, "Least squares support vector machine classifiers", Neural Processing Letters 1999;
Williams and Seeger, "Using the Nystroem method to speed up kernel machines", NIPS 2000.
"""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from gfp_bench import Labels, Scores
from gfp_bench_methods._shared.features import balanced_accuracy, spread
from gfp_bench_methods._shared.svm import Kernel, Machine, check_sources, fit_kernel_machine, kernel_scores

EXACT_IMAGES, EXACT_SOURCES = 8_000, 32
LANDMARKS = 2_000
PENALTIES = (0.1, 1.0, 10.0, 100.0)

BEYOND = (
    f"beyond {EXACT_IMAGES:,} training images or {EXACT_SOURCES} sources, a least-squares machine on {LANDMARKS:,} "
    "landmarks in the place of libsvm's"
)
"""What a row says of it."""

_ROWS = 1024  # taken at once
_JITTER = 1e-9  # of the mean diagonal, so that equal landmarks do no harm


def fit_gaussian(train: tuple[Tensor, Tensor], val: tuple[Tensor, Tensor], n_sources: int) -> tuple[Machine, float]:
    """Return the machine that is best on validation images, and its penalty: the smallest where several are.

    Args:
        train: (n, d) float64 features and (n,) labels; the kernel is exp(-|x - y|^2 / d) on standardised ones.
        val: Likewise, of m images.
        n_sources: How many sources there are.

    Raises:
        ValueError: If a source has no training image.
    """
    features, labels = train
    mean, scale = spread(features)
    rows = (features - mean) / scale
    best = -1.0
    for penalty, found in zip(PENALTIES, _candidates(rows, labels, n_sources), strict=True):
        candidate = found | {"mean": mean, "scale": scale}
        parts = [gaussian_scores(candidate, part, n_sources).argmax(dim=1) for part in torch.split(val[0], _ROWS)]
        accuracy = balanced_accuracy(torch.cat(parts), val[1])
        if accuracy > best:
            best, machine, chosen = accuracy, candidate, penalty
    return machine, chosen


def gaussian_scores(machine: Machine, features: Tensor, n_sources: int) -> Scores:
    """Return the scores of (n, d) features: won pairs plus a share of their margins, or margins against the rest."""
    rows = (features - machine["mean"]) / machine["scale"]
    if "landmarks" not in machine:
        return kernel_scores(machine, _kernel(rows), rows, n_sources)
    return (_bordered(rows, machine["landmarks"]) @ machine["weights"]).float()


def _candidates(rows: Tensor, labels: Labels, n_sources: int) -> Iterator[Machine]:
    """Yield a machine for each penalty."""
    if len(rows) <= EXACT_IMAGES and n_sources <= EXACT_SOURCES:
        return (fit_kernel_machine(rows, labels, n_sources, _kernel(rows), c) for c in PENALTIES)
    return _least_squares(rows, labels, n_sources)


def _kernel(rows: Tensor) -> Kernel:
    return Kernel("rbf", gamma=1 / rows.shape[1])


def _least_squares(rows: Tensor, labels: Labels, n_sources: int) -> Iterator[Machine]:
    """Yield for each penalty C the least |w|^2 / 2 + C/2 sum (w.x + b - y)^2, y = 1 or -1, of each source."""
    check_sources(labels, n_sources)
    share = max(1, LANDMARKS // n_sources)
    landmarks = rows[torch.cat([torch.nonzero(labels == source)[:share, 0] for source in range(n_sources)])]
    inner = _bordered(landmarks, landmarks).T.clone()
    inner[-1] = 0  # the offset costs nothing
    norms = torch.cat([inner, torch.zeros_like(inner[:, :1])], dim=1)
    products = torch.zeros_like(norms)
    targets = norms.new_zeros(len(norms), n_sources)
    for part, own in zip(torch.split(rows, _ROWS), torch.split(labels, _ROWS), strict=True):
        values = _bordered(part, landmarks)
        products.addmm_(values.T, values)
        targets.addmm_(values.T, 2 * F.one_hot(own, n_sources).to(values.dtype) - 1)
    products.diagonal().add_(_JITTER * products.diagonal().mean())
    for penalty in PENALTIES:
        factor = torch.linalg.cholesky(products + norms / penalty)
        yield {"landmarks": landmarks, "weights": torch.cholesky_solve(targets, factor)}


def _bordered(rows: Tensor, landmarks: Tensor) -> Tensor:
    """Return the (n, m + 1) similarities of rows to landmarks, and a column of ones for the offset."""
    squares = rows.square().sum(dim=1)[:, None] + landmarks.square().sum(dim=1) - 2 * rows @ landmarks.T
    similarities = (squares.clamp_(min=0) / -rows.shape[1]).exp_()
    return torch.cat([similarities, similarities.new_ones(len(rows), 1)], dim=1)
