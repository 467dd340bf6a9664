import numpy as np
import pytest
import torch
from sklearn.metrics import balanced_accuracy_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from gfp_bench_methods.thumbnail import Thumbnail


@pytest.fixture
def coloured(make_set, noise):
    """Each source has its own cast, weaker than the images' own variation."""
    labels = np.arange(48) % 3
    casts = 6 * np.eye(3, dtype=np.uint8)[labels][:, :, None, None]
    return make_set(noise + casts, labels)


@pytest.mark.parametrize("side", [8, 16, 64])
def test_thumbnail_is_the_mean_of_each_box(side: int) -> None:
    images = torch.randint(0, 256, (2, 3, side, side), dtype=torch.uint8)
    boxes = images.numpy().reshape(2, 3, 8, side // 8, 8, side // 8).mean(axis=(3, 5)).reshape(2, -1)
    np.testing.assert_allclose(Thumbnail().features(images), boxes)


@pytest.mark.parametrize(("height", "width"), [(5, 3), (13, 9), (30, 71)])
def test_any_size_has_a_thumbnail(height: int, width: int) -> None:
    images = torch.randint(0, 256, (1, 3, height, width), dtype=torch.uint8)
    rows = [slice(i * height // 8, -(-(i + 1) * height // 8)) for i in range(8)]
    columns = [slice(i * width // 8, -(-(i + 1) * width // 8)) for i in range(8)]
    boxes = [images[0, c, r, k].double().mean() for c in range(3) for r in rows for k in columns]
    np.testing.assert_allclose(Thumbnail().features(images)[0], boxes)


def test_answers_are_those_of_scikit_learn(coloured, rng) -> None:
    method = Thumbnail()
    method.fit(coloured, coloured, rng=rng)
    boxes = method.features(coloured.images).numpy()
    oracle = make_pipeline(StandardScaler(), SVC(C=method.penalty, gamma=1 / 192, decision_function_shape="ovr"))
    oracle.fit(boxes, coloured.labels)
    np.testing.assert_allclose(method.scores(coloured.images), oracle.decision_function(boxes), atol=1e-5)


def test_recovers_a_planted_cast(coloured, rng, reload) -> None:
    train, val = (coloured.subset(np.arange(start, start + 24)) for start in (0, 24))
    method = Thumbnail()
    method.fit(train, val, rng=rng)
    scores = method.scores(val.images)
    assert (scores.argmax(dim=1) == val.labels).float().mean() > 0.9
    assert torch.equal(reload(method, Thumbnail()).scores(val.images), scores)


@pytest.mark.parametrize(
    ("cast", "chosen", "best"),
    [(6, [*range(24)], 0.1), (25, [*range(0, 24, 3), 1, 4, 2, 5], 1.0)],  # a low penalty suits noise, not few images
)
def test_penalty_is_the_best_on_validation_images(
    make_set, noise, rng, cast: int, chosen: list[int], best: float
) -> None:
    labels = np.arange(48) % 3
    images = make_set(noise + cast * np.eye(3, dtype=np.uint8)[labels][:, :, None, None], labels)
    train, val = images.subset(chosen), images.subset(np.arange(24, 48))
    method = Thumbnail()
    method.fit(train, val, rng=rng)

    def accuracy(penalty: float) -> float:
        oracle = make_pipeline(StandardScaler(), SVC(C=penalty, gamma=1 / 192))
        oracle.fit(method.features(train.images).numpy(), train.labels)
        return balanced_accuracy_score(val.labels, oracle.predict(method.features(val.images).numpy()))

    accuracies = {penalty: accuracy(penalty) for penalty in (0.1, 1.0, 10.0, 100.0)}
    assert method.penalty == best == max(accuracies, key=lambda penalty: accuracies[penalty])


def test_a_source_without_training_images_is_refused(noise, make_set, rng) -> None:
    images = make_set(noise, np.arange(48) % 2)
    with pytest.raises(ValueError, match="2 sources, expected some of each of the 3"):
        Thumbnail().fit(images, images, rng=rng)
