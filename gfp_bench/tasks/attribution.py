"""Closed-set attribution: name the source of an image, clean, attacked, and attacked after immunisation. Torch-free."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from gfp_bench.metrics.attribution import attribution
from gfp_bench.metrics.detection import detection_auroc, detection_scores

A = TypeVar("A")


def conditions(attacks: Sequence[A], *, immunise: bool) -> list[tuple[A | None, list[A | None]]]:
    """Return each condition with what its fitted method is tested on; None stands for clean.

    One fit on clean images answers for all attacks; an immunised one for its own attack and, for the record, clean.
    """
    clean: list[tuple[A | None, list[A | None]]] = [(None, [None, *attacks])]
    return clean + ([(attack, [attack, None]) for attack in attacks] if immunise else [])


def answers(scores: NDArray[np.float32], sources: Sequence[str]) -> dict[str, NDArray[Any]]:
    """Return what a published board keeps of (n, s) scores: per image the arg-max and, with ``real``, the margin."""
    margins = detection_scores(scores, sources)
    return {"answer": scores.argmax(axis=1).astype(np.uint8)} | ({} if margins is None else {"margin": margins})


def metrics(kept: Mapping[str, NDArray[Any]], labels: NDArray[np.int64], sources: Sequence[str]) -> dict[str, Any]:
    """Return every metric of what `answers` kept against (n,) labels, at full precision."""
    auroc = detection_auroc(kept.get("margin"), labels, sources)
    return asdict(attribution(kept["answer"], labels, len(sources))) | {"detection_auroc": auroc}
