"""How an image file was written, in words: what its encoder chose, which no pixel says. Torch-free."""

import struct
from collections.abc import Iterator
from typing import Any

from PIL import Image

from gfp_bench.data.soundness import chunks, segments
from gfp_bench.files import sha256

DETAILS = ("coding", "quantisation", "subsampling", "huffman", "restart", "metadata", "profile")
"""Compression or process; of a JPEG quantisation tables, chroma, Huffman tables, restart interval; metadata; ICC."""

_PROCESSES = {0xC0: "baseline", 0xC1: "extended", 0xC2: "progressive", 0xC9: "arithmetic", 0xCA: "arithmetic"}
_CHROMA = {"2x2 1x1 1x1": "4:2:0", "2x1 1x1 1x1": "4:2:2", "1x1 1x1 1x1": "4:4:4"}
_DQT, _DHT, _DRI = 0xDB, 0xC4, 0xDD
_STANDARD = 416  # bytes of the four Huffman tables of annex K


def details(content: bytes, image: Image.Image) -> dict[str, str]:
    """Return what `DETAILS` are of a file, ``-`` for what its format has not.

    Args:
        content: Its bytes.
        image: As opened.
    """
    profile = image.info.get("icc_profile")
    told = {
        "coding": _coding(content, image),
        "metadata": " ".join(sorted(str(key) for key in image.info if key not in _PLAIN)) or "none",
        "profile": _named(profile) if profile else "none",
        **(_jpeg(content) if image.format in ("JPEG", "MPO") else {}),
    }
    return dict.fromkeys(DETAILS, "-") | told


_PLAIN = {"icc_profile", "progression", "progressive", "jfif", "jfif_version", "jfif_unit", "jfif_density"}


def _coding(content: bytes, image: Image.Image) -> str:
    if image.format == "WEBP":
        return "lossless" if any(kind == b"VP8L" for kind in _riff(content)) else "lossy"
    if image.format == "PNG":
        stream = next((content[start : start + 2] for kind, start, _ in chunks(content) if kind == "IDAT"), b"")
        return f"zlib {stream.hex()}" + (", interlaced" if image.info.get("interlace") else "")
    return str(image.info.get("compression", "-"))


def _riff(content: bytes) -> Iterator[bytes]:
    at = 12
    while at + 8 <= len(content):
        kind, size = struct.unpack_from("<4sI", content, at)
        yield kind
        at += 8 + size + size % 2


def _jpeg(content: bytes) -> dict[str, str]:
    told: dict[str, Any] = {"restart": "none"}
    tables, codes = [], []
    for marker, start, size in segments(content):
        data = content[start : start + size]
        if marker in _PROCESSES:
            told["coding"] = _PROCESSES[marker]
            sampling = " ".join(f"{data[at] >> 4}x{data[at] & 15}" for at in range(7, len(data), 3))
            told["subsampling"] = _CHROMA.get(sampling, sampling)
        elif marker == _DRI:
            told["restart"] = str(int.from_bytes(data[:2], "big"))
        elif marker == _DQT:
            tables.append(data)
        elif marker == _DHT:
            codes.append(data)
    standard = sum(map(len, codes)) == _STANDARD
    return {**told, "quantisation": _named(b"".join(tables)), "huffman": "as the standard's" if standard else "own"}


def _named(content: bytes) -> str:
    return sha256(content)[:8]
