"""Photographs in a folder, in a table with author, licence, origin and split: checked, divided, cut into crops."""

import csv
import math
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from pydantic import ConfigDict, Field

from gfp_bench.contracts.types import Images
from gfp_bench.data.photographs import Crops, Region, scaled, textured
from gfp_bench.documents import Document, checked
from gfp_bench.errors import UsageError
from gfp_bench.files import sha256
from gfp_bench.seeding import seed_of

LICENCES = frozenset({"CC0-1.0", "public domain", "CC-BY-2.0", "CC-BY-3.0", "CC-BY-4.0", "no known restrictions"})
"""Terms under which crops may be shipped in any company; a table with others needs to be allowed them."""

REDUCTION = 1.5  # least, from a crop to its image: it washes out the 8 x 8 grid of lossy files
OVERLAP = 0.5  # most of the smaller of two crops of a photograph that lies in the other
TRIES = 1000  # squares drawn per photograph
RULES = 1  # raised by hand when crops change

Split = Literal["train", "val", "test"]


class Photograph(Document):
    """A row of the table; other columns are for people.

    Attributes:
        file: Its name, beside the table.
        sha256: Of the file.
        author: Whom to credit.
        licence: As SPDX writes it, or ``public domain``.
        origin: Where it was published.
        split: Who may learn from it.
        subject: What kind of thing it shows; splits are spread over subjects.
        scene: What it shares with photographs of the same thing, which must be in its split; its own file by default.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    file: str = Field(min_length=1)
    sha256: str
    author: str = Field(min_length=1)
    licence: str = Field(min_length=1)
    origin: str = Field(min_length=1)
    split: Split
    subject: str = ""
    scene: str = ""

    @property
    def name(self) -> str:
        """The file without its ending: the group of its crops."""
        return Path(self.file).stem


def read_table(table: Path, licences: Collection[str] = ()) -> list[Photograph]:
    """Return the photographs of a table by file, each there and as the table says.

    Args:
        table: A CSV file in the photographs' folder.
        licences: Which to accept besides `LICENCES`.

    Raises:
        UsageError: If the table or a photograph cannot be read or is another one, if a licence is not accepted, or if
            a photograph or a scene is in two splits.
    """
    try:
        with table.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(
            f"table {table} of photographs cannot be read ({error}); photographs are in a checkout and not in a wheel"
        ) from error
    found = [
        checked(row, Photograph, subject=f"{table}, row {number}", error=UsageError)
        for number, row in enumerate(rows, start=2)
    ]
    if not found:
        raise UsageError(f"table {table} lists no photographs, expected at least one; add rows")
    _expect_licences(table, found, {*LICENCES, *licences})
    for key in ("file", "name", "sha256", "scene"):
        _expect_in_one_split(table, found, key)
    for photograph in found:
        _expect_file(table.parent / photograph.file, photograph.sha256)
    return sorted(found, key=lambda photograph: photograph.file)


def divided(scenes: Sequence[tuple[str, str]], shares: dict[Split, float], seed: int) -> list[Split]:
    """Return a split for each photograph, whole scenes in one, spread over subjects.

    Scenes of a subject are sorted by a hash of seed and scene; test takes them until it has its share of the subject's
    photographs, then val; train takes the rest.

    Args:
        scenes: Subject and scene of each photograph.
        shares: Of test and val, 0 to 1.
        seed: Of the hash.
    """
    found: dict[str, Split] = {}
    for subject in {subject for subject, _ in scenes}:
        members = [scene for its, scene in scenes if its == subject]
        order = sorted(set(members), key=lambda scene: seed_of("split", str(seed), scene))
        for split in ("test", "val", "train"):
            room = round(shares.get(split, 1) * len(members))
            while order and (split == "train" or room > 0):
                found[order[0]] = split
                room -= members.count(order.pop(0))
    return [found[scene] for _, scene in scenes]


def crops_of(folder: Path, photograph: Photograph, side: int, most: int) -> Crops:
    """Return crops of a photograph, (n, 3, side, side), in random order, always the same ones.

    Squares of a random side are drawn at random places, from ``REDUCTION * side`` to a quarter of the photograph's
    shorter side, at least ``2 * side``, as far as it is that large. One is left out if it is flat or if more than
    `OVERLAP` of it, or of one before, lies in the other.

    Raises:
        UsageError: If the photograph is too small for one crop, or flat everywhere.
    """
    with Image.open(folder / photograph.file) as file:
        pixels = np.asarray(file.convert("RGB"))
    shorter, least = min(pixels.shape[:2]), math.ceil(REDUCTION * side)
    if shorter < least:
        raise UsageError(
            f"photograph {folder / photograph.file} has a side of {shorter} pixels, expected at least {least} for "
            f"crops of {side}; leave it out or take a smaller side"
        )
    rng = np.random.default_rng(seed_of("crops", photograph.sha256, str(side)))
    squares = _squares(pixels, (least, min(shorter, max(2 * side, shorter // 4))), side, most, rng)
    if not squares:
        raise UsageError(f"photograph {folder / photograph.file} has no crop that is not flat; leave it out")
    return Crops(torch.cat(squares), (photograph.name,) * len(squares))


def _squares(
    pixels: NDArray[np.uint8], sides: tuple[int, int], side: int, most: int, rng: np.random.Generator
) -> list[Images]:
    height, width = pixels.shape[:2]
    found: list[Images] = []
    places: list[Region] = []
    for _ in range(TRIES):
        edge = int(rng.integers(sides[0], sides[1] + 1))
        top, left = int(rng.integers(height - edge + 1)), int(rng.integers(width - edge + 1))
        square = Region(top, left, edge, edge)
        if any(_shared(square, other) > OVERLAP for other in places):
            continue
        image = scaled(pixels, square, side)
        if textured(image).item():
            found.append(image)
            places.append(square)
        if len(found) == most:
            break
    return found


def _shared(one: Region, other: Region) -> float:
    """Return which part of the smaller square lies in the other one."""
    high = min(one.top + one.height, other.top + other.height) - max(one.top, other.top)
    wide = min(one.left + one.width, other.left + other.width) - max(one.left, other.left)
    return max(0, high) * max(0, wide) / min(one.height, other.height) ** 2


def _expect_licences(table: Path, found: Sequence[Photograph], accepted: Collection[str]) -> None:
    for photograph in found:
        if photograph.licence not in accepted:
            raise UsageError(
                f"{table}: {photograph.file} has the licence {photograph.licence!r}, expected one of "
                f"{', '.join(sorted(accepted))}; leave it out, or see that it may be shipped and give --allow-licence"
            )


def _expect_in_one_split(table: Path, found: Sequence[Photograph], key: str) -> None:
    seen: dict[str, Photograph] = {}
    for photograph in found:
        value = getattr(photograph, key) or photograph.file
        first = seen.setdefault(value, photograph)
        if first is photograph:
            continue
        if first.split != photograph.split:
            raise UsageError(
                f"{table}: {key} {value!r} is in {first.split} ({first.file}) and in {photograph.split} "
                f"({photograph.file}), expected in one split; mend the table"
            )
        if key != "scene":
            raise UsageError(f"{table}: {key} {value!r} stands there twice, expected once; remove a row")


def _expect_file(file: Path, expected: str) -> None:
    try:
        found = sha256(file.read_bytes())
    except OSError as error:
        raise UsageError(
            f"photograph {file} cannot be read ({error.strerror}); restore it or remove its row"
        ) from error
    if found != expected:
        raise UsageError(
            f"photograph {file} has sha256 {found}, expected {expected}; restore it, or mend the table if it was "
            "replaced on purpose"
        )
