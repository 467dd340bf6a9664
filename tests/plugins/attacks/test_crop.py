import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy import stats

from gfp_bench import ImageRng
from gfp_bench_attacks._shared.resample import FILTERS, resize, resize_tensor
from gfp_bench_attacks.crop import Crop, parts_by_slices, parts_tensor


def streams(count: int) -> ImageRng:
    names = [str(number) for number in range(count)]
    return ImageRng.for_images(names, seed=0, dataset="set", attack="crop", split="test")


def images(count: int, height: int, width: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (count, 3, height, width), dtype=np.uint8))


def by_pillow(image: NDArray[np.uint8], height: int, width: int, resample: str = "bicubic") -> NDArray[np.uint8]:
    picture = Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0)))
    return np.asarray(picture.resize((width, height), Image.Resampling[resample.upper()])).transpose(2, 0, 1)


@pytest.mark.parametrize("resample", FILTERS)
@pytest.mark.parametrize("before", [(1, 1), (5, 7), (52, 52), (57, 60), (64, 64), (96, 96), (150, 150)])
def test_both_forms_of_resizing_are_pillows(before: tuple[int, int], resample: str) -> None:
    pictures = images(3, *before)
    expected = np.stack([by_pillow(image, 64, 64, resample) for image in pictures.numpy()])
    np.testing.assert_array_equal(resize(pictures, 64, 64, resample).numpy(), expected)
    np.testing.assert_array_equal(resize_tensor(pictures, 64, 64, resample).numpy(), expected)


@pytest.mark.parametrize("kept", range(50, 62))
def test_every_crop_of_64_pixels_is_pillows(kept: int) -> None:
    pictures = images(2, kept, kept)
    expected = np.stack([by_pillow(image, 64, 64) for image in pictures.numpy()])
    np.testing.assert_array_equal(resize_tensor(pictures, 64, 64, "bicubic").numpy(), expected)


@pytest.mark.parametrize("offset", ["uniform", "corner", "centre"])
def test_both_forms_are_pillows_image_by_image(offset: str) -> None:
    pictures, attack = images(40, 33, 47), Crop(offset=offset)
    attacked = attack.perturb(pictures, streams(40))
    start, kept = attack.boxes(pictures, streams(40)).split(2, dim=1)
    assert len(kept.unique(dim=0)) > 3
    for image, result, (top, left), (height, width) in zip(
        pictures.numpy(), attacked.numpy(), start.tolist(), kept.tolist(), strict=True
    ):
        part = image[:, top : top + height, left : left + width]
        assert part.shape == (3, height, width)
        np.testing.assert_array_equal(result, by_pillow(part, 33, 47))


def test_franks_crop_is_opencvs() -> None:
    """A share p / 2 goes on each of the four sides, fractions of pixels cut off; then OpenCV's bicubic filter."""
    pictures = images(40, 33, 47)
    attacked = Crop(offset="frank", resample="opencv").perturb(pictures, streams(40))
    for image, result, share in zip(pictures.numpy(), attacked.numpy(), streams(40).uniform(0.05, 0.2), strict=True):
        top, left = int(33 * share / 2), int(47 * share / 2)
        part = np.ascontiguousarray(image[:, top : 33 - top, left : 47 - left].transpose(1, 2, 0))
        expected = cv2.resize(part, (47, 33), interpolation=cv2.INTER_CUBIC)
        np.testing.assert_array_equal(result, expected.transpose(2, 0, 1))


@pytest.mark.parametrize("before", [(26, 26), (57, 60), (96, 70)])
def test_opencvs_filter_is_keyss_cubic(before: tuple[int, int]) -> None:
    """Keys's kernel with a = -0.75, edges repeated, four values wide even where it shrinks; to the grey level."""
    pictures = images(2, *before)
    across, down = (cubic_weights(side, 64) for side in reversed(before))
    expected = np.clip(down @ pictures.numpy().astype(float) @ across.T, 0, 255)
    assert np.abs(resize(pictures, 64, 64, "opencv").numpy() - expected).max() < 1


def cubic_weights(before: int, after: int) -> NDArray[np.float64]:
    matrix = np.zeros((after, before))
    for row in range(after):
        place = (row + 0.5) * before / after - 0.5
        first = int(np.floor(place)) - 1
        for tap in range(first, first + 4):
            x = abs(tap - place)
            inner, outer = 1.25 * x**3 - 2.25 * x**2 + 1, -0.75 * (x**3 - 5 * x**2 + 8 * x - 4)
            matrix[row, np.clip(tap, 0, before - 1)] += inner if x <= 1 else outer
    return matrix


def test_both_forms_cut_out_the_same() -> None:
    pictures, chosen, start = images(9, 20, 30), torch.tensor([4, 0, 7]), torch.tensor([[0, 0], [3, 12], [1, 5]])
    expected = parts_by_slices(pictures, chosen, start, 17, 18)
    assert torch.equal(expected[1], pictures[0, :, 3:20, 12:30])
    assert torch.equal(parts_tensor(pictures, chosen, start, 17, 18), expected)


def test_removed_share_and_place_are_uniform() -> None:
    pictures = torch.zeros(2000, 3, 1000, 1, dtype=torch.uint8)
    top, _, height, _ = Crop().boxes(pictures, streams(2000)).double().T.numpy()
    assert stats.kstest(1 - height / 1000, "uniform", args=(0.05, 0.15)).pvalue > 0.01
    assert stats.kstest(top / (1000 - height), "uniform").pvalue > 0.01
    assert abs(np.corrcoef(top / (1000 - height), height)[0, 1]) < 4 / np.sqrt(2000)


def test_readings_differ_in_the_place_alone() -> None:
    pictures = torch.zeros(200, 3, 64, 64, dtype=torch.uint8)
    boxes = {name: Crop(offset=name).boxes(pictures, streams(200)) for name in ("uniform", "corner", "centre")}
    kept = boxes["uniform"][:, 2:]
    assert all(torch.equal(box[:, 2:], kept) for box in boxes.values())
    assert torch.equal(boxes["corner"][:, :2], 64 - kept)
    assert torch.equal(boxes["centre"][:, :2], (64 - kept) // 2)


def test_removed_pixels_leave_no_trace() -> None:
    pictures = images(20, 32, 32)
    boxes = Crop(offset="centre").boxes(pictures, streams(20))
    framed = torch.zeros_like(pictures)
    for frame, image, (top, left, height, width) in zip(framed, pictures, boxes.tolist(), strict=True):
        inside = (slice(None), slice(top, top + height), slice(left, left + width))
        frame[inside] = image[inside]
    attack = Crop(offset="centre")
    assert torch.equal(attack.perturb(framed, streams(20)), attack.perturb(pictures, streams(20)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"low": -0.1}, "got -0.1, expected float from 0 to 0.99"),
        ({"high": 1.0}, "got 1.0, expected float from 0 to 0.99"),
        ({"offset": "left"}, "got 'left', expected 'uniform' or 'corner' or 'centre' or 'frank'"),
        ({"resample": "cubic"}, "got 'cubic', expected 'bilinear' or 'bicubic' or 'lanczos' or 'opencv'"),
    ],
)
def test_settings_out_of_range_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Crop(**options)
