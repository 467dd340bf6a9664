from collections import defaultdict
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.neighbors import KNeighborsClassifier

from gfp_bench_methods._shared import neighbours
from gfp_bench_methods._shared.neighbours import nearest, ranked_votes, squared_distances
from gfp_bench_methods.knn import Knn


@pytest.fixture
def three_scenes(make_set, noise):
    """Each source shows its own scene under noise."""
    labels = np.arange(48) % 3
    scenes = np.random.default_rng(1).integers(0, 60, (3, 3, 16, 16), dtype=np.uint8)
    return make_set(noise + scenes[labels], labels)


def test_distances_are_exact_where_float32_is_not() -> None:
    queries = torch.randint(0, 256, (5, 20_001), dtype=torch.uint8)
    references = torch.randint(0, 256, (6, 20_001), dtype=torch.uint8)
    queries[0], references[0] = 0, 255  # the largest distance there is: 1.3e9
    expected = ((queries.long()[:, None] - references.long()) ** 2).sum(dim=2)
    assert torch.equal(squared_distances(queries, references), expected)


@pytest.mark.parametrize("block", [1, 3, 100])
def test_nearest_sorts_by_distance_then_index(monkeypatch, block: int) -> None:
    monkeypatch.setattr(neighbours, "_REFERENCES", block)
    draws = np.random.default_rng(0)
    queries, references = draws.integers(0, 3, (20, 4), np.uint8), draws.integers(0, 3, (17, 4), np.uint8)
    distances, indices = nearest(torch.from_numpy(queries), torch.from_numpy(references), 6)
    squares = ((queries[:, None].astype(int) - references) ** 2).sum(axis=2)
    expected = np.argsort(squares, axis=1, kind="stable")[:, :6]
    assert (indices.numpy() == expected).all()
    assert (distances.numpy() == np.take_along_axis(squares, expected, axis=1)).all()


def test_nearest_leaves_out_what_it_is_told() -> None:
    rows = torch.randint(0, 256, (9, 30), dtype=torch.uint8)
    own = torch.arange(9)
    assert torch.equal(nearest(rows, rows, 1)[1][:, 0], own)
    assert (nearest(rows, rows, 8, without=own)[1] != own[:, None]).all()
    assert torch.equal(nearest(rows, rows, 1, without=torch.full((9,), -1))[1][:, 0], own)


@given(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 3)), min_size=1, max_size=9))
def test_answer_is_the_vote_and_then_the_mean_distance(neighbours: list[tuple[int, int]]) -> None:
    distances, voices = (torch.tensor(column)[None] for column in zip(*neighbours, strict=True))
    heard = defaultdict(list)
    for distance, voice in neighbours:
        heard[voice].append(distance)
    order = sorted(
        heard, key=lambda source: (-len(heard[source]), Fraction(sum(heard[source]), len(heard[source])), source)
    )
    scores = ranked_votes(distances**2, voices, 4)[0]
    assert scores.argsort(descending=True, stable=True)[: len(order)].tolist() == order


def test_agrees_with_scikit_learn_on_an_odd_vote_of_two(three_scenes, make_set, rng) -> None:
    chosen = np.flatnonzero(three_scenes.labels.numpy() < 2)
    images = make_set(three_scenes.images.numpy()[chosen], np.arange(32) // 16, ("a", "b"))  # labels without signal
    train, test = images.subset(np.arange(0, 32, 2)), images.subset(np.arange(1, 32, 2))
    method = Knn(k=3)
    method.fit(train, train, rng=rng)
    oracle = KNeighborsClassifier(3, algorithm="brute").fit(train.images.flatten(1), train.labels)
    assert (method.scores(test.images).argmax(dim=1).numpy() == oracle.predict(test.images.flatten(1))).all()


def test_recovers_planted_scenes(three_scenes, rng, reload) -> None:
    train, test = (three_scenes.subset(np.arange(start, start + 24)) for start in (0, 24))
    method = Knn()
    method.fit(train, test, rng=rng)
    scores = method.scores(test.images)
    assert torch.equal(scores.argmax(dim=1), test.labels)
    assert torch.equal(reload(method, Knn()).scores(test.images), scores)


def test_k_is_chosen_on_the_validation_images(make_set, rng) -> None:
    # The nearest neighbour of either image is mislabelled, and five reach into the other source.
    shades = np.array([10, 11, 12, 200, 201, 202])
    train = make_set(np.tile(shades[:, None, None, None], (1, 3, 2, 2)), [1, 0, 0, 0, 1, 1], ("a", "b"))
    val = make_set(np.tile(np.array([9, 199])[:, None, None, None], (1, 3, 2, 2)), [0, 1], ("a", "b"))
    method = Knn(k=None)
    method.fit(train, val, rng=rng)
    assert method.voters == 3
    assert method.scores(val.images).argmax(dim=1).tolist() == [0, 1]


def test_strange_k_is_refused(three_scenes, rng) -> None:
    with pytest.raises(ValueError, match="'k' of 'knn' got 0, expected int at least 1 or None"):
        Knn(k=0)
    with pytest.raises(ValueError, match="got 49, expected at most the 48 training images"):
        Knn(k=49).fit(three_scenes, three_scenes, rng=rng)
