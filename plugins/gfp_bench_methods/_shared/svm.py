"""Support vector machines: trained by scikit-learn, kept as tensors, scored by the published formulas.

Source: Chang and Lin, "LIBSVM", ACM TIST 2011, section 7 (one against one). Votes are aggregated as scikit-learn's
``decision_function`` does for ``decision_function_shape="ovr"``.
"""

from dataclasses import dataclass
from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

from gfp_bench import Labels, Scores

Machine: TypeAlias = dict[str, Tensor]
"""The fitted arrays of a machine, all float64."""


@dataclass(frozen=True)
class Kernel:
    """The similarity of two rows: x.y, exp(-gamma |x - y|^2) or (gamma x.y)^3."""

    name: str  # linear, rbf or poly
    gamma: float = 1.0

    def __call__(self, rows: Tensor, support: Tensor) -> Tensor:
        """Return the (n, m) similarities of (n, d) and (m, d) rows."""
        if self.name == "rbf":
            distances = torch.cdist(rows, support, compute_mode="donot_use_mm_for_euclid_dist")
            return (-self.gamma * distances.square()).exp()
        products = rows @ support.T
        return products if self.name == "linear" else (self.gamma * products) ** 3


def fit_kernel_machine(features: Tensor, labels: Labels, n_sources: int, kernel: Kernel, c: float) -> Machine:
    """Return a machine for every pair of sources, trained on (n, d) features.

    Raises:
        ValueError: If a source has no row.
    """
    from sklearn.svm import SVC  # here, since a second to load it is too long for all that does not fit

    check_sources(labels, n_sources)
    svc = SVC(C=c, kernel=kernel.name, gamma=kernel.gamma, degree=3, coef0=0.0)
    svc.fit(features.cpu().numpy(), labels.cpu().numpy())
    dual, intercepts = torch.from_numpy(svc.dual_coef_), torch.from_numpy(svc.intercept_)
    source = torch.arange(n_sources).repeat_interleave(torch.from_numpy(svc.n_support_).long())
    rows = []
    for first, second in torch.triu_indices(n_sources, n_sources, offset=1).T.tolist():
        # A vector's multipliers lie in n - 1 rows, one for each other source in order.
        rows.append(dual[second - 1] * (source == first) + dual[first] * (source == second))
    sign = -1.0 if n_sources == 2 else 1.0  # scikit-learn turns the two-class machine round
    machine = {
        "support": torch.from_numpy(svc.support_vectors_),
        "coefficients": sign * torch.stack(rows),
        "intercepts": sign * intercepts,
    }
    return {name: value.to(features.device) for name, value in machine.items()}


def kernel_scores(machine: Machine, kernel: Kernel, features: Tensor, n_sources: int) -> Scores:
    """Return each source's number of won pairs, plus its summed margins squeezed into (-1/3, 1/3)."""
    margins = kernel(features, machine["support"]) @ machine["coefficients"].T + machine["intercepts"]
    first, second = torch.triu_indices(n_sources, n_sources, offset=1, device=margins.device)
    winners = F.one_hot(torch.where(margins >= 0, first, second), n_sources).sum(dim=1)
    sums = margins @ (F.one_hot(first, n_sources) - F.one_hot(second, n_sources)).to(margins.dtype)
    return (winners + sums / (3 * (sums.abs() + 1))).float()


def fit_linear_machine(features: Tensor, labels: Labels, n_sources: int, c: float) -> Machine:
    """Return a linear machine for each source against the rest (liblinear's primal solver: no randomness).

    Raises:
        ValueError: If a source has no row.
    """
    from sklearn.svm import LinearSVC

    check_sources(labels, n_sources)
    svc = LinearSVC(C=c, dual=False, max_iter=10_000).fit(features.cpu().numpy(), labels.cpu().numpy())
    normals, offsets = torch.from_numpy(svc.coef_), torch.from_numpy(svc.intercept_)
    if n_sources == 2:
        normals, offsets = torch.cat([-normals, normals]), torch.cat([-offsets, offsets])
    return {"normals": normals.to(features.device), "offsets": offsets.to(features.device)}


def linear_scores(machine: Machine, features: Tensor) -> Scores:
    """Return the signed margins of (n, d) features, one column per source."""
    return (features @ machine["normals"].T + machine["offsets"]).float()


def check_sources(labels: Labels, n_sources: int) -> None:
    """Raise a ValueError unless every source has a training image."""
    present = int((torch.bincount(labels) > 0).sum())
    if present != n_sources:
        raise ValueError(f"an SVM got training images of {present} sources, expected some of each of the {n_sources}")
