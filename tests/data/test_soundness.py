"""Damage that decoders forgive is found: by checksum, by end marker, by a scan that runs out, by a tail of zeros."""

from collections.abc import Callable
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gfp_bench.data.soundness import damage

SIDE = 64
RNG = np.random.default_rng(0)
SMOOTH = Image.fromarray(RNG.integers(0, 256, (8, 8, 3), dtype=np.uint8)).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
SCENE = Image.fromarray((np.asarray(SMOOTH) // 2 + RNG.integers(0, 64, (SIDE, SIDE, 3))).astype(np.uint8))
JPEGS: list[dict[str, Any]] = [
    {},
    {"progressive": True},
    {"quality": 95, "subsampling": 0},
    {"optimize": True},
    {"restart_marker_blocks": 3},
    {"restart_marker_rows": 1, "progressive": True},
    {"exif": b"Exif\0\0" + b"\xff\xd8\xff\xd9" * 20},  # markers where none count
]
OTHERS: list[tuple[str, dict[str, Any]]] = [
    ("PNG", {}),
    ("WEBP", {}),
    ("WEBP", {"lossless": True}),
    ("TIFF", {}),
    ("TIFF", {"compression": "tiff_lzw"}),
    ("TIFF", {"compression": "tiff_deflate"}),
    ("TIFF", {"compression": "jpeg"}),
    ("BMP", {}),
]
ALL = [*(("JPEG", options) for options in JPEGS), *OTHERS]


def encoded(kind: str, image: Image.Image = SCENE, **options: Any) -> bytes:
    buffer = BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def found(content: bytes, kind: str) -> str:
    return damage(content, kind, SIDE * SIDE)


@pytest.mark.parametrize(("kind", "options"), ALL)
def test_sound_files_are_sound(kind: str, options: dict[str, Any]) -> None:
    for image in (SCENE, Image.new("RGB", (SIDE, SIDE), (9, 9, 9)), Image.new("RGB", (SIDE, SIDE), (255, 255, 255))):
        assert found(encoded(kind, image, **options), kind) == ""


@pytest.mark.parametrize(("kind", "options"), ALL)
@pytest.mark.parametrize("part", [0.3, 0.6, 0.85])
def test_a_download_that_broke_off_in_its_reserved_room_is_damaged(
    kind: str, options: dict[str, Any], part: float
) -> None:
    content = encoded(kind, **options)
    at = int(part * len(content))
    assert found(content[:at] + bytes(len(content) - at), kind)


@pytest.mark.parametrize("options", JPEGS)
@pytest.mark.parametrize("part", [0.7, 0.8, 0.9])
def test_a_scan_that_ends_early_is_damaged_though_the_end_marker_stands(options: dict[str, Any], part: float) -> None:
    content = encoded("JPEG", **options)
    cut = content[: int(part * len(content))] + b"\xff\xd9"
    Image.open(BytesIO(cut)).load()  # its decoder says nothing
    assert found(cut, "JPEG") == "a scan ends before the picture is complete"


def test_what_follows_the_end_of_a_file_is_no_damage() -> None:
    for kind in ("PNG", "JPEG"):
        assert found(encoded(kind) + bytes(1000), kind) == ""


def test_fill_bytes_before_a_marker_are_no_damage() -> None:
    content = encoded("JPEG")
    assert found(content[:-2] + b"\xff\xff\xff\xd9", "JPEG") == ""


def without_end(content: bytes) -> bytes:
    return content[: content.index(b"IEND") - 4]


def flipped(content: bytes) -> bytes:
    at = content.index(b"IDAT") + 100
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


def cut(content: bytes) -> bytes:
    return content[:-20]


@pytest.mark.parametrize(
    ("kind", "spoil", "message"),
    [
        ("PNG", without_end, "it has no end (IEND)"),
        ("PNG", flipped, "chunk IDAT at byte 33 has a wrong checksum"),
        ("PNG", cut, "it ends within chunk IDAT"),
        ("JPEG", cut, "it has no end marker (EOI)"),
        ("WEBP", cut, "bytes, expected"),
    ],
)
def test_the_damage_is_named(kind: str, spoil: Callable[[bytes], bytes], message: str) -> None:
    assert message in found(spoil(encoded(kind)), kind)
