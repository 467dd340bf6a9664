"""Principal components of pixels, classified by a linear support vector machine: a baseline of Yu et al.

Source: Yu et al., "Attributing fake images to GANs", ICCV 2019, arXiv:1811.08180, section 4.2, after Sirovich and
Kirby, JOSA A 1987; the paper gives neither the number of components nor the classifier. Those, and what is chosen from,
are of Frank et al., arXiv:2003.08685, in their code; ``classifier=nn`` is the nearest neighbour of Turk and Pentland,
"Eigenfaces for recognition", 1991.
"""

from typing import Annotated, Literal

import numpy as np
import torch
from annotated_types import Gt, Le
from scipy.linalg import eigh
from torch import Tensor

from gfp_bench import SILENT, Fingerprints, Images, ImageSet, Labels, Method, Monitor, Register, Scores, hookimpl
from gfp_bench_methods._shared.correlation import evenly
from gfp_bench_methods._shared.features import balanced_accuracy, gather
from gfp_bench_methods._shared.svm import Machine, fit_linear_machine, linear_scores

_VARIANCES = (0.25, 0.5, 0.75, 0.95)
_PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1)
_IMAGES = 3000  # that components are made of, at most: the work grows with the cube
_ROWS = 64  # projected at once
_NOTHING = 1e-9  # of the largest variance: rounding


@hookimpl
def register_methods(register: Register) -> None:
    """Offer `Eigenface`."""
    register(Eigenface)


class Eigenface(Method):
    """Sources differ in what their images look like on the whole, if in nothing else."""

    name = "eigenface"
    paper = "arXiv:1811.08180"
    version = 1
    stochastic = False
    preload = ("sklearn.svm",)

    def __init__(
        self,
        classifier: Annotated[
            Literal["svm", "nn"],
            "a linear support vector machine for each source, or the nearest training image",
        ] = "svm",
        variance: Annotated[
            float | None,
            "share of the variance that the components keep; none: the best of 0.25, 0.5, 0.75, 0.95 on the validation "
            "images",
            Gt(0),
            Le(1),
        ] = None,
        c: Annotated[
            float | None,
            "the machine's penalty; none: the best of 0.0001, 0.001, 0.01, 0.1 on the validation images",
            Gt(0),
        ] = None,
    ) -> None:
        if classifier == "nn" and c is not None:
            raise ValueError(f"c is the support vector machine's, but the classifier is {classifier!r}")
        self.classifier, self.variance, self.c = classifier, variance, c
        kept = "chosen on validation images" if variance is None else f"{variance:g} of it"
        self.deviations = (
            f"components of at most {_IMAGES} images, as many of each source; variance kept: {kept} (paper: not given)",
            "nearest training image (paper: classifier not given)"
            if classifier == "nn"
            else f"linear SVM, C {'chosen on validation images' if c is None else f'= {c:g}'} (paper: not given)",
        )

    def fit(self, train: ImageSet, val: ImageSet, *, rng: torch.Generator, monitor: Monitor = SILENT) -> None:
        """Find the components and classify by them; of several settings, keep the one that names most sources right.

        Raises:
            ValueError: If a source has no training image, or there is only one.
        """
        some = train.subset(evenly(train.labels, max(1, _IMAGES // len(train.sources))))
        self.mean, components, shares = principal(gather(_pixels, some)[0])
        shares_wanted = _VARIANCES if self.variance is None else (self.variance,)
        counts = sorted({min(len(shares), int((shares < share - 1e-9).sum()) + 1) for share in shares_wanted})
        self.components = components[: counts[-1]].contiguous()
        self.n_sources = len(train.sources)
        rows, labels = gather(self._project, train)
        seen, answers = gather(self._project, val)
        best = -1.0
        for count in counts:  # the fewest components of several
            for penalty in self._penalties():
                machine = self._classifier(rows[:, :count], labels, penalty)
                found = balanced_accuracy(self._decide(machine, seen[:, :count]).argmax(dim=1), answers)
                if found > best:
                    best, self.penalty, self.machine, self.kept = found, penalty, machine, count
        self.components = self.components[: self.kept].contiguous()

    def scores(self, images: Images) -> Scores:
        """Return the margins of the sources' SVMs, negative outside; or distances to the nearest image, negative."""
        return self._decide(self.machine, self._project(images))

    def fingerprints(self, images: Images) -> Fingerprints:
        """Return the (n, k) float64 coordinates along the components."""
        return self._project(images)

    def _project(self, images: Images) -> Tensor:
        parts = torch.split(images, _ROWS)
        return torch.cat([(_pixels(part) - self.mean) @ self.components.T for part in parts])

    def _penalties(self) -> tuple[float, ...]:
        if self.classifier == "nn":
            return (0.0,)
        return _PENALTIES if self.c is None else (self.c,)

    def _classifier(self, rows: Tensor, labels: Labels, penalty: float) -> Machine:
        if self.classifier == "nn":
            return {"rows": rows.contiguous(), "labels": labels}
        return fit_linear_machine(rows, labels, self.n_sources, penalty)

    def _decide(self, machine: Machine, rows: Tensor) -> Scores:
        if self.classifier == "svm":
            return linear_scores(machine, rows)
        distances = torch.cat([torch.cdist(part, machine["rows"]) for part in torch.split(rows, _ROWS)])
        nearest = [distances[:, machine["labels"] == source].amin(dim=1) for source in range(self.n_sources)]
        return -torch.stack(nearest, dim=1).float()


def principal(rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the mean, the principal components of (n, d) rows, largest first, and the share of variance up to each.

    Components have norm 1; those whose variance is rounding are left out, but for the first.
    """
    mean = rows.mean(dim=0)
    centred = rows - mean
    squares, vectors = eigh((centred @ centred.T).cpu().numpy())  # of n images, fewer than pixels as a rule
    variances = torch.from_numpy(np.maximum(squares[::-1], 0).copy()).to(rows)
    kept = max(1, int((variances > _NOTHING * variances[0]).sum()))
    directions = torch.from_numpy(vectors[:, ::-1][:, :kept].copy()).to(rows)
    components = torch.nn.functional.normalize(directions.T @ centred)
    total = variances.sum()
    shares = variances.cumsum(0)[:kept] / total if total > 0 else torch.ones_like(variances[:1])
    return mean, components, shares


def _pixels(images: Images) -> Tensor:
    return images.flatten(1).double() / 127.5 - 1
