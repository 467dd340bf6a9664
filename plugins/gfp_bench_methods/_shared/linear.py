"""Linear classifiers besides the SVM: trained by scikit-learn, kept as `svm.linear_scores` takes them."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gfp_bench import Labels
from gfp_bench_methods._shared.svm import Machine


def fit_softmax(features: Tensor, labels: Labels, n_sources: int, decay: float) -> Machine:
    """Return multinomial logistic regression on (n, d) features.

    The mean cross-entropy plus ``decay`` times the squared norm of the weights is least, as far as 1e-3 of its slope.

    Raises:
        ValueError: If a source has no row.
    """
    from sklearn.linear_model import LogisticRegression  # here, since a second to load it is too long for all else

    check_sources(labels, n_sources)
    model = LogisticRegression(C=1 / (2 * len(features) * decay), tol=1e-3, max_iter=1000)
    model.fit(features.cpu().numpy(), labels.cpu().numpy())
    return _machine(model.coef_, model.intercept_, features)


def fit_logistic_each(features: Tensor, labels: Labels, n_sources: int, c: float) -> Machine:
    """Return a logistic regression for each source against the rest, by liblinear, which shrinks its offset too.

    Raises:
        ValueError: If a source has no row.
    """
    from sklearn.linear_model import LogisticRegression

    check_sources(labels, n_sources)
    rows, answers = features.cpu().numpy(), labels.cpu().numpy()
    normals, offsets = [], []
    for source in range(1 if n_sources == 2 else 0, n_sources):  # two sources are each other's rest
        model = LogisticRegression(C=c, solver="liblinear", max_iter=1000).fit(rows, answers == source)
        normals.append(model.coef_)
        offsets.append(model.intercept_)
    return _machine(np.concatenate(normals), np.concatenate(offsets), features)


def fit_ridge(features: Tensor, labels: Labels, n_sources: int, decay: float) -> Machine:
    """Return ridge regression of -1 and 1 for each source on (n, d) features.

    The mean squared error plus ``decay`` times the squared norm of the weights is least; offsets are free.

    Raises:
        ValueError: If a source has no row.
    """
    from sklearn.linear_model import RidgeClassifier

    check_sources(labels, n_sources)
    model = RidgeClassifier(alpha=decay * len(features))
    model.fit(features.cpu().numpy(), labels.cpu().numpy())
    return _machine(model.coef_, model.intercept_, features)


def check_sources(labels: Labels, n_sources: int) -> None:
    """Refuse labels that lack a source, or know only one.

    Raises:
        ValueError: Which says how many there are.
    """
    present = int((torch.bincount(labels) > 0).sum())
    if present != n_sources or n_sources < 2:
        raise ValueError(
            f"a linear classifier got training images of {present} sources, expected some of each of the {n_sources}, "
            "which are two or more"
        )


def _machine(normals: NDArray[np.floating], offsets: NDArray[np.floating], features: Tensor) -> Machine:
    """Return weights and offsets as tensors; of two sources, scikit-learn gives those of the second alone."""
    normals, offsets = np.atleast_2d(normals), np.atleast_1d(offsets)
    if len(normals) == 1:
        normals, offsets = np.concatenate([-normals, normals]), np.concatenate([-offsets, offsets])
    parts = {"normals": normals, "offsets": offsets}
    return {name: torch.from_numpy(np.ascontiguousarray(part)).to(features) for name, part in parts.items()}
