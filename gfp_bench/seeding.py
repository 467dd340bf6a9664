"""Seeds from words, and the random state of a whole process."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from typing import Any

import numpy as np
import torch


def seed_of(*words: str) -> int:
    """Return a seed of 63 bits, another for all other words, so that no two draws share a stream."""
    return int.from_bytes(sha256(" ".join(words).encode()).digest()[:8], "big") >> 1


@contextmanager
def seeded(*words: str) -> Iterator[None]:
    """Seed torch, NumPy and random from some words for one plugin call, and put them back afterwards."""
    before = random_state()
    seed = seed_of(*words)
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 - scikit-learn draws from the legacy state
    random.seed(seed)
    try:
        yield
    finally:
        set_random_state(before)


def random_state() -> dict[str, Any]:
    """Return the state of the global generators of torch, NumPy and random."""
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []  # type: ignore[no-untyped-call]
    legacy = np.random.get_state()  # noqa: NPY002
    return {"torch": torch.get_rng_state(), "cuda": cuda, "numpy": legacy, "random": random.getstate()}


def set_random_state(state: dict[str, Any]) -> None:
    """Put the global generators back to what `random_state` returned."""
    torch.set_rng_state(state["torch"])
    if state["cuda"]:
        torch.cuda.set_rng_state_all([part.cpu() for part in state["cuda"]])
    np.random.set_state(state["numpy"])  # noqa: NPY002
    random.setstate(state["random"])
