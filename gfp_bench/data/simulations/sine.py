"""The dataset `sine`: patches of photographs, each with the sine wave of its source as a known fingerprint.

Source: Ding, Thakur, Li, "Does a GAN leave distinct model-specific fingerprints?", BMVC 2021, section 4.
Differs from the paper: patches of ten photographs instead of CelebA, 64 px by default instead of 128, a validation
split besides.
Readings of ours, as the paper is silent: the norm is a root mean square by default (``norm``); the number of cycles
(``cycles``); one wave for all three channels, phase 0 at the upper left pixel; noise independent in every value,
whose norm is meant on average; values above 255 and below 0 are clipped.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from math import isfinite, sqrt
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from gfp_bench.contracts.attack import to_uint8
from gfp_bench.contracts.rng import ImageRng
from gfp_bench.contracts.types import Images
from gfp_bench.data.indexing import index_folder
from gfp_bench.data.manifest import About, Manifest, Metadata
from gfp_bench.data.photographs import PHOTOGRAPHS, SHARED, cut, regions
from gfp_bench.data.simulations import Simulation
from gfp_bench.errors import UsageError
from gfp_bench.files import sha256

_DEFAULTS = {"rms": (0.02, 0.01), "l2": (0.2, 0.1)}  # strength and noise; those of l2 are the paper's figures
_STEPS = 2**16  # of a grey level, to which a wave is rounded: what a processor's sine differs by does not count
_BATCH = 64


@dataclass(frozen=True, kw_only=True)
class Sine(Simulation):
    """The settings of a simulation, checked.

    Attributes:
        side: Height and width in pixels; the paper's is 128.
        cycles: Of each wave along a side, 8 to 16 being what is meant; at most half a side.
        orientations: How many sources; wave i travels in the direction of i * 180 / ``orientations`` degrees.
        norm: What ``strength`` and ``noise`` measure, grey levels being 0 to 1: ``rms``, the root mean square of the
            values; ``l2``, the Euclidean norm of all 3 * side * side of them.
        strength: Of the wave; 0.02 under ``rms``, 0.2 under ``l2`` by default.
        noise: Of the Gaussian noise on every image's wave; 0.01 under ``rms``, 0.1 under ``l2`` by default.
        train: Training images per source.
        val: Validation images per source.
        test: Test images per source.
    """

    name: ClassVar[str] = "sine"
    version: ClassVar[int] = 2

    side: int = 64
    cycles: int = 12
    orientations: int = 3
    norm: Literal["rms", "l2"] = "rms"
    strength: float | None = None
    noise: float | None = None
    train: int = 800
    val: int = 200
    test: int = 200

    def __post_init__(self) -> None:
        strength, noise = _DEFAULTS[self.norm]
        object.__setattr__(self, "strength", strength if self.strength is None else self.strength)
        object.__setattr__(self, "noise", noise if self.noise is None else self.noise)
        for key, expected, fits in (
            ("side", "at least 16", self.side >= 16),
            ("cycles", f"1 to {(self.side - 1) // 2} at {self.side} pixels", 1 <= self.cycles < self.side / 2),
            ("orientations", "2 to 90", 2 <= self.orientations <= 90),
            ("strength", "0 or more", isfinite(self.wave_rms) and self.wave_rms >= 0),
            ("noise", "0 or more", isfinite(self.noise_rms) and self.noise_rms >= 0),
            *((split, "2 or more", count >= 2) for split, count in self.counts.items()),
        ):
            if not fits:
                raise UsageError(f"sine has {key} = {getattr(self, key)}, expected {expected}; change it")

    @property
    def title(self) -> str:
        plain = {field.name: field.default for field in fields(self)}
        plain |= zip(("strength", "noise"), _DEFAULTS[self.norm], strict=True)
        told = [(key, getattr(self, key)) for key in sorted(plain) if getattr(self, key) != plain[key]]
        return "+".join([self.name, *(f"{key}-{value}" for key, value in told)])

    @property
    def counts(self) -> dict[str, int]:
        """Images per source in each split."""
        return {"train": self.train, "val": self.val, "test": self.test}

    @property
    def wave_rms(self) -> float:
        """Root mean square of the wave, in 8-bit grey levels."""
        return self._grey_levels(self.strength)

    @property
    def noise_rms(self) -> float:
        """Standard deviation of the noise, in 8-bit grey levels."""
        return self._grey_levels(self.noise)

    def _grey_levels(self, norm: float | None) -> float:
        values = 3 * self.side**2 if self.norm == "l2" else 1
        return 255 * (norm or 0.0) / sqrt(values)

    @property
    def degrees(self) -> dict[str, float]:
        """The direction of each source's wave, by the source's name: 0 is to the right, 90 down."""
        angles = [180 * number / self.orientations for number in range(self.orientations)]
        return {f"sine-{angle:03.0f}": angle for angle in angles}

    def wave(self, source: str) -> NDArray[np.float64]:
        """Return a source's (side, side) wave in grey levels, of exactly the asked norm but for its rounding."""
        angle = np.radians(self.degrees[source])
        down, right = np.mgrid[: self.side, : self.side]
        plane = np.sin(2 * np.pi * self.cycles / self.side * (np.cos(angle) * right + np.sin(angle) * down))
        rounded: NDArray[np.float64] = np.rint(plane * (_STEPS * self.wave_rms / np.sqrt(np.mean(plane**2)))) / _STEPS
        return rounded

    def make(self, folder: Path) -> Manifest:
        """Write the images as ``<title>/<split>/<source>/<photograph>-<number>.bmp``; their group is the photograph.

        The files are not compressed, so that their checksums depend on no library's version, and no file is larger
        than another.
        """
        photographs = {photograph: load() for photograph, load in PHOTOGRAPHS.items()}
        for split, count in self.counts.items():
            for source in self.degrees:
                place = folder / self.title / split / source
                place.mkdir(parents=True)
                self._write(place, split, source, dict(_patches(photographs, split, source, count, self.side)))
        return index_folder(
            folder / self.title,
            self.title,
            about=About(
                f"Patches of ten free photographs plus sine waves of {self.orientations} orientations.",
                "photographs: public domain, CC0-1.0, CC-BY-2.0 or none stated, see photo-mini's card",
                "Ding, Thakur, Li, Does a GAN leave distinct model-specific fingerprints?, BMVC 2021, section 4.",
            ),
            sources={source: self._metadata(source) for source in self.degrees},
            group=r"/([a-z]+)-[0-9]+\.bmp$",
            shared_groups=SHARED,
        )

    def fingerprinted(self, patches: Images, source: str, rng: ImageRng) -> Images:
        """Return patches with the wave of a source and, on each wave, noise of its own."""
        wave = torch.from_numpy(self.wave(source))
        return to_uint8(patches + (wave + self.noise_rms * rng.normal(patches.shape[1:])))

    def _write(self, place: Path, split: str, source: str, patches: dict[str, NDArray[np.uint8]]) -> None:
        images = torch.from_numpy(np.stack(list(patches.values()))).permute(0, 3, 1, 2)
        names = [f"{source}/{name}" for name in patches]
        rng = ImageRng.for_images(names, seed=0, dataset=self.name, attack="noise", split=split)
        for start in range(0, len(names), _BATCH):
            some = slice(start, start + _BATCH)
            made = self.fingerprinted(images[some], source, rng[some]).permute(0, 2, 3, 1).numpy()
            for name, image in zip(list(patches)[some], made, strict=True):
                Image.fromarray(image).save(place / f"{name}.bmp")

    def _metadata(self, source: str) -> Metadata:
        return {
            "family": "simulation",
            "degrees": round(self.degrees[source], 4),
            "cycles": self.cycles,
            "wave_rms": round(self.wave_rms, 4),
            "noise_rms": round(self.noise_rms, 4),
        }


def _patches(
    photographs: dict[str, NDArray[np.uint8]], split: str, source: str, count: int, side: int
) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Yield names and (side, side, 3) patches of the photographs' regions of a split, the photographs in turn.

    They are scaled down 1.5 to 2 times, or less where a region has no room for that.
    """
    rng = torch.Generator().manual_seed(int(sha256(f"sine {split} {source}".encode())[:15], 16))
    for number in range(count):
        name = list(photographs)[number % len(photographs)]
        photograph = photographs[name]
        region = regions(*photograph.shape[:2])[split]
        yield f"{name}-{number:05d}", cut(photograph, region, (3 * side // 2, 2 * side), side, rng=rng)
