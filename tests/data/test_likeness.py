"""What an image shows: equal pixels, nearly equal ones, others."""

import itertools
from io import BytesIO

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy.fft import dctn

from gfp_bench.data.likeness import alike, perceptual_hash, pixel_digest


def scene(seed: int) -> NDArray[np.uint8]:
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8))
    return np.asarray(small.resize((48, 48), Image.Resampling.BICUBIC)).transpose(2, 0, 1)


def test_digest_names_shape_and_values() -> None:
    image = scene(0)
    assert pixel_digest(image) == pixel_digest(np.asfortranarray(image))
    changed = image.copy()
    changed[2, 4, 5] ^= 1
    assert len({pixel_digest(one) for one in (image, changed, image.reshape(3, 24, 96))}) == 3


def test_hash_is_the_signs_of_low_cosines() -> None:
    image = scene(1)
    grey = Image.fromarray(image.transpose(1, 2, 0)).convert("L").resize((32, 32), Image.Resampling.BOX)
    low = dctn(np.asarray(grey, dtype=np.float64), norm="ortho")[:8, :8].ravel()
    low[0] = 0
    bits = "".join("1" if value > np.median(low) else "0" for value in low)
    assert perceptual_hash(image) == f"{int(bits, 2):016x}"


def test_an_image_saved_again_is_alike_and_another_is_not() -> None:
    images = [scene(seed) for seed in range(30)]
    again = []
    for image in images:
        buffer = BytesIO()
        Image.fromarray(image.transpose(1, 2, 0)).save(buffer, "JPEG", quality=90)
        again.append(np.asarray(Image.open(buffer)).transpose(2, 0, 1))
    labels = alike([perceptual_hash(image) for image in [*images, *again]])
    assert len(set(labels[:30])) == 30
    assert (labels[:30] == labels[30:]).mean() >= 0.8


@pytest.mark.parametrize("seed", range(5))
def test_labels_are_those_of_a_slow_search(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = [int(value) for value in rng.integers(0, 2**63, 60)]
    for value in values[:40]:  # others from 0 to 5 bits away
        for bit in rng.choice(64, rng.integers(0, 6), replace=False):
            value ^= 1 << int(bit)
        values.append(value)
    expected = list(range(len(values)))
    for _ in values:  # the least label spreads to whatever is near
        for a, b in itertools.combinations(range(len(values)), 2):
            if (values[a] ^ values[b]).bit_count() <= 4:
                expected[a] = expected[b] = min(expected[a], expected[b])
        if _ > 3:
            break
    labels = alike([f"{value:016x}" for value in values]).tolist()
    assert [labels.index(label) for label in labels] == [expected.index(label) for label in expected]
