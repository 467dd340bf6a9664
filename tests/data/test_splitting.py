"""Shares are honoured for every source, and groups stay whole."""

import numpy as np
import pandas as pd
import pytest

from gfp_bench.data.splitting import drawn_splits, missed_shares

SHARES = {"train": 0.6, "val": 0.2, "test": 0.2}


def prompts(seed: int, count: int = 60, sources: int = 11, missing: float = 0.2) -> pd.DataFrame:
    """Return an index of groups of which each source has most, but hardly two have the same ones."""
    rng = np.random.default_rng(seed)
    rows = [
        (f"gen{source:02}" if source else "real", f"prompt{number:03}")
        for number in range(count)
        for source in range(sources)
        if not source or rng.random() >= missing
    ]
    return pd.DataFrame(rows, columns=["source", "group"])


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("missing", [0.0, 0.2, 0.5])
def test_every_source_is_within_one_group_of_its_share(seed: int, missing: float) -> None:
    index = prompts(seed, missing=missing)
    index["split"] = drawn_splits(index, SHARES, seed)
    assert (index.groupby("group")["split"].nunique() == 1).all()
    counts = pd.crosstab(index["source"], index["split"])
    for split, share in SHARES.items():
        assert ((counts[split] - share * counts.sum(axis=1)).abs() <= 1).all()
    assert missed_shares(index, SHARES) == []


def test_order_of_rows_changes_nothing_and_seeds_do() -> None:
    index = prompts(0)
    splits = drawn_splits(index, SHARES, 0)
    shuffled = index.sample(frac=1, random_state=0)
    pd.testing.assert_series_equal(drawn_splits(shuffled, SHARES, 0).sort_index(), splits)
    assert not drawn_splits(index, SHARES, 1).equals(splits)


def test_shares_that_whole_groups_cannot_give_are_told() -> None:
    index = pd.DataFrame({"source": "real", "group": ["large"] * 80 + ["a", "b"], "split": ["train"] * 82})
    assert missed_shares(index, SHARES) == []  # within one group: there is a large one
    index = pd.DataFrame({"source": "real", "group": list("abcdefghij"), "split": ["train"] * 10})
    assert missed_shares(index, SHARES) == [
        "real has 10 of its 10 images in train, not 6.0: groups stay whole",
        "real has 0 of its 10 images in val, not 2.0: groups stay whole",
        "real has 0 of its 10 images in test, not 2.0: groups stay whole",
    ]
