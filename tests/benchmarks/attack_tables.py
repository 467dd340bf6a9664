"""The tables of docs/attacks.md, measured and written into it.

PYTHONPATH=tests python -m benchmarks.attack_tables exactness     # some minutes on one core
PYTHONPATH=tests python -m benchmarks.attack_tables memory
PYTHONPATH=tests python -m benchmarks.attack_tables speed         # on a machine that does nothing else
"""

import platform
import re
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np
import PIL
import torch
from benchmarks.attack_memory import COUNT, SIDE, memory
from benchmarks.peers import (
    ATTACKS,
    PEERS,
    opencvs_blur,
    photographs,
    pillows_jpeg,
    pillows_resize,
    pillows_webp,
    streams,
)
from scipy import ndimage
from skimage import data

from gfp_bench import Images
from gfp_bench_attacks._shared.resample import FILTERS, resize_pillow, resize_tensor
from gfp_bench_attacks.blur import Blur, filter_tensor
from gfp_bench_attacks.jpeg import Jpeg, roundtrip_tensor
from gfp_bench_attacks.median import Median, median_tensor
from gfp_bench_attacks.webp import Webp

PAGE = Path(__file__).parents[2] / "docs" / "attacks.md"
SIZES = [(64, 64), (33, 47), (17, 31), (8, 16), (5, 3), (1, 1)]
COUNTS = {64: 256, 128: 64, 256: 32}
WANTED = {"jpeg": "1.5", "crop": "1.2, 1.5, 1.5", "blur": "1.5", "noise": "1"}
COMBINED = ("relight", "crop", "blur", "jpeg", "noise")
REPEATS = 15


def examples(height: int, width: int) -> Images:
    """(4, 3, h, w): noise, black-and-white noise, a photograph, one colour."""
    draws = np.random.default_rng(height * 1000 + width)
    noise = draws.integers(0, 256, (3, height, width), dtype=np.uint8)
    extreme = draws.integers(0, 2, (3, height, width), dtype=np.uint8) * np.uint8(255)
    photograph = data.astronaut()[100 : 100 + height, 200 : 200 + width].transpose(2, 0, 1)
    flat = np.broadcast_to(draws.integers(0, 256, (3, 1, 1), dtype=np.uint8), photograph.shape)
    return torch.from_numpy(np.stack([noise, extreme, photograph, flat]))


def exactness() -> Iterator[str]:
    yield "| attack | form | reference | over | images | values | bytes different |"
    yield "|---|---|---|---|---|---|---|"
    for attack, form, reference, over, pairs in comparisons():
        images = values = different = 0
        for ours, theirs in pairs:
            images, values = images + len(ours), values + ours.numel()
            different += int((ours != theirs).sum())
        yield f"| {attack} | {form} | {reference} | {over} | {images:,} | {values:,} | {different:,} |"


def comparisons() -> Iterator[tuple[str, str, str, str, Iterable[tuple[Images, Images]]]]:
    pillow, opencv = f"Pillow {PIL.__version__}", f"OpenCV {cv2.__version__}"
    for subsampling in ("4:2:0", "4:4:4"):
        over = f"qualities 1 to 100, {subsampling}, {len(SIZES)} sizes"
        yield "jpeg", "tensor", pillow, over, jpegs(roundtrip_tensor, subsampling)
        yield "jpeg", "OpenCV's coder", pillow, over, jpegs(by_opencvs_coder, subsampling)
    for form, resize in (("tensor", resize_tensor), ("one tall picture", resize_pillow)):
        over = f"every crop of 64 and 47 pixels, {len(FILTERS)} filters"
        yield "crop, resize", form, pillow, over, resized(resize)
    for form, blur in (("tensor", filter_tensor), ("one wide picture", by_opencvs_filter)):
        yield "blur", form, opencv, "kernels 3 to 9, sigma opencv0 and frank4", blurred(blur)
    yield "blur", "tensor", "SciPy, the definition's tables", "kernels 1 to 9", by_tables()
    yield "median", "tensor", "SciPy", "windows 1 to 15", medians(median_tensor)
    yield "median", "OpenCV's filter", "SciPy", "windows 1 to 15", medians(by_opencvs_median)
    yield "webp", "Pillow's coder", pillow, "qualities 0 to 100", webps()


def each(images: Images, reference: Callable[..., np.ndarray], *settings: object) -> Images:
    """Return what a reference makes of each image, given and returned as (h, w, 3)."""
    pictures = np.ascontiguousarray(images.permute(0, 2, 3, 1).numpy())
    return torch.from_numpy(np.stack([reference(picture, *settings) for picture in pictures])).permute(0, 3, 1, 2)


def jpegs(form: Callable[..., Images], subsampling: str) -> Iterator[tuple[Images, Images]]:
    for size in SIZES:
        images = examples(*size)
        for quality in range(1, 101):
            yield form(images, quality, subsampling), each(images, pillows_jpeg, quality, subsampling)


def by_opencvs_coder(images: Images, quality: int, subsampling: str) -> Images:
    return Jpeg(quality, quality, subsampling).perturb(images, streams(len(images)))


def resized(form: Callable[..., Images]) -> Iterator[tuple[Images, Images]]:
    for side in (64, 47):
        for kept in range(1, side + 1):
            images = examples(kept, max(1, kept - 3))
            for kernel in FILTERS:
                yield form(images, side, side, kernel), each(images, pillows_resize, side, side, kernel)


def blurred(form: Callable[..., Images]) -> Iterator[tuple[Images, Images]]:
    for size in SIZES:
        images = examples(*size)
        for kernel in (3, 5, 7, 9):
            for sigma, deviation in (("opencv0", 1.7 if kernel == 9 else 0), ("frank4", 4)):
                sizes = torch.full((len(images),), kernel)
                yield form(images, sizes, sigma), each(images, opencvs_blur, kernel, deviation)


def by_opencvs_filter(images: Images, sizes: torch.Tensor, sigma: str) -> Images:
    return Blur(int(sizes[0]), int(sizes[0]), sigma).perturb(images, streams(len(images)))


def by_tables() -> Iterator[tuple[Images, Images]]:
    sides = {1: [], 3: [64], 5: [16, 64], 7: [8, 28, 56], 9: [4, 13, 30, 51]}
    for size in SIZES:
        images = examples(*size)
        for kernel, side in sides.items():
            table, sums = [*side, 256 - 2 * sum(side), *reversed(side)], images.numpy().astype(np.int64)
            for axis in (2, 3):
                sums = ndimage.correlate1d(sums, table, axis=axis, mode="mirror")
            yield filter_tensor(images, torch.full((4,), kernel), "opencv0"), torch.from_numpy((sums + 2**15) >> 16)


def medians(form: Callable[..., Images]) -> Iterator[tuple[Images, Images]]:
    for size in SIZES:
        images = examples(*size)
        for window in range(1, 16, 2):
            expected = ndimage.median_filter(images.numpy(), size=(1, 1, window, window), mode="nearest")
            yield form(images, window), torch.from_numpy(expected)


def by_opencvs_median(images: Images, window: int) -> Images:
    return Median(window, window).perturb(images, streams(len(images)))


def webps() -> Iterator[tuple[Images, Images]]:
    for size in SIZES:
        images = examples(*size)
        for quality in range(101):
            ours = Webp(quality, quality).perturb(images, streams(len(images)))
            yield ours, each(images, pillows_webp, quality)


def memory_table() -> Iterator[str]:
    yield f"| attack | bytes per pixel value, {COUNT} images of {SIDE} x {SIDE} |"
    yield "|---|---|"
    for name, taken in memory().items():
        yield f"| {name} | {taken:.1f} |"


def speed() -> Iterator[str]:
    torch.set_num_threads(2)
    versions = f"torch {torch.__version__}, Pillow {PIL.__version__}, OpenCV {cv2.__version__}"
    yield f"Two threads on {processor()}, {versions}; medians of {REPEATS} runs of each side, in turns."
    yield ""
    yield "| attack | 64 px | 128 px | 256 px | wanted |"
    yield "|---|---|---|---|---|"
    rates: dict[str, list[str]] = {name: [] for name in ATTACKS}
    ratios: dict[str, list[str]] = {attack.name: [] for attack in PEERS} | {"combination": []}
    for side, count in COUNTS.items():
        images = photographs(side, count)
        works: dict[str, Callable[[], object]] = {name: ours(name, images) for name in ATTACKS}
        works |= {f"peer of {attack.name}": theirs(peer, images) for attack, peer in PEERS.items()}
        taken = medians_of(works)
        for name in WANTED:
            ratios[name].append(f"{taken[f'peer of {name}'] / taken[name]:.2f}")
        ratios["combination"].append(f"{taken['combination'] / sum(taken[name] for name in COMBINED):.2f}")
        for name in ATTACKS:
            rates[name].append(f"{count / taken[name]:,.0f}")
    for name in WANTED:
        yield f"| {name}: times as fast as its reference's loop | {' | '.join(ratios[name])} | {WANTED[name]} |"
    yield f"| combination: time over the sum of its parts' | {' | '.join(ratios['combination'])} | 2 at most |"
    yield ""
    yield "| images per second | 64 px | 128 px | 256 px |"
    yield "|---|---|---|---|"
    for name in ATTACKS:
        yield f"| {name} | {' | '.join(rates[name])} |"


def ours(name: str, images: Images) -> Callable[[], object]:
    def work() -> object:
        cv2.setNumThreads(2)
        return ATTACKS[name]().perturb(images, streams(len(images)))

    return work


def theirs(peer: Callable[[Images], Images], images: Images) -> Callable[[], object]:
    def work() -> object:
        cv2.setNumThreads(1)
        return peer(images)

    return work


def medians_of(works: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Return the median seconds of each, all in turns, so that what else the machine does falls on all of them."""
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(REPEATS + 1):
        for name, work in works.items():
            start = time.perf_counter()
            work()
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values[1:]) for name, values in seconds.items()}


def processor() -> str:
    cores = re.findall(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), flags=re.MULTILINE)
    return cores[0] if cores else platform.machine()


TABLES = {"exactness": exactness, "memory": memory_table, "speed": speed}


def write(name: str) -> None:
    """Put a table between its two marks in the page."""
    table = "\n".join(TABLES[name]())
    start, end = f"<!-- {name} -->\n", f"\n<!-- end of {name} -->"
    before, rest = PAGE.read_text().split(start)
    after = rest.split(end)[1]
    PAGE.write_text(f"{before}{start}{table}{end}{after}")
    print(table)


if __name__ == "__main__":
    for wanted in sys.argv[1:]:
        write(wanted)
