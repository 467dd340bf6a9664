"""Whether an image file is whole: what a decoder forgives, as bytes that are missing, is found here.

PNG: every chunk's checksum, and the end. JPEG: the end marker, and scans that run out before the picture is complete.
WebP, TIFF, BMP: their stated length, and a tail of zeros, which a download leaves that reserved its room and broke off.
What no reader can see, as flipped bits in a JPEG scan, is left to the index's checksums. Torch-free.

Sources: PNG (W3C, 3rd ed.), section 5; JPEG, ITU-T T.81, annex B; WebP, RFC 9649, section 2.
"""

import struct
import zlib
from collections.abc import Iterator
from io import BytesIO

from PIL import Image

_PNG_HEAD = 8  # bytes of the signature
_STANDALONE = {0x01, *range(0xD0, 0xD9)}  # JPEG markers without a segment
_SOS, _EOI, _RESTARTS = 0xDA, 0xD9, range(0xD0, 0xD8)
_FILLER = b"\x5a\xa5" * 64  # entropy-coded data that no picture ends in
_ZEROS = 64  # at the end of a sound file without checksums, besides what flat parts may cost
_BLOCK = 256  # pixels that a flat part may have for each zero byte


def damage(content: bytes, kind: str | None, pixels: int) -> str:
    """Return what is wrong with an image file, or nothing.

    Args:
        content: All of its bytes.
        kind: Its format, as Pillow calls it.
        pixels: Width times height.
    """
    if kind == "PNG":
        return _png(content)
    if kind in ("JPEG", "MPO"):
        return _jpeg(content)
    if kind == "WEBP" and len(content) < 8 + struct.unpack_from("<I", content, 4)[0]:
        return f"{len(content)} bytes, expected {8 + struct.unpack_from('<I', content, 4)[0]}"
    return _zeros(content, pixels)


def chunks(content: bytes) -> Iterator[tuple[str, int, int]]:
    """Yield kind, start and size of the data of each of a PNG file's chunks, as far as they go."""
    at = _PNG_HEAD
    while at + 8 <= len(content):
        size, kind = struct.unpack_from(">I4s", content, at)
        yield kind.decode("latin-1"), at + 8, size
        at += 12 + size


def segments(content: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield marker, start and size of the data of each of a JPEG file's segments, up to its end marker.

    The data of a scan's marker is its header; the entropy-coded data follows.
    """
    at = 2
    while 0 <= at < len(content) - 1:
        if content[at] != 0xFF or content[at + 1] == 0xFF:
            at += 1
            continue
        marker = content[at + 1]
        if marker == _EOI:
            yield marker, at + 2, 0
            return
        if marker in _STANDALONE or marker == 0:
            at += 2
            continue
        size = struct.unpack_from(">H", content, at + 2)[0] if at + 4 <= len(content) else 2
        yield marker, at + 4, size - 2
        at += 2 + max(size, 2)
        if marker == _SOS:
            at = _scan_end(content, at)


def _png(content: bytes) -> str:
    for kind, start, size in chunks(content):
        end = start + size
        if end + 4 > len(content):
            return f"it ends within chunk {kind}"
        if zlib.crc32(memoryview(content)[start - 4 : end]) != int.from_bytes(content[end : end + 4], "big"):
            return f"chunk {kind} at byte {start - 8} has a wrong checksum"
        if kind == "IEND":
            return ""
    return "it has no end (IEND)"


def _jpeg(content: bytes) -> str:
    scans = []
    marker = 0
    for marker, start, size in segments(content):
        if marker == _SOS:
            scans.append(start + size)
    if marker != _EOI:
        return "it has no end marker (EOI)"
    if not _decodes_alike(content, _filled(content, scans)):
        return "a scan ends before the picture is complete"
    return ""


def _filled(content: bytes, scans: list[int]) -> bytes:
    """Return a JPEG with more data at every end of entropy-coded data: decoders pass over it, unless they lack some."""
    parts, at = [], 0
    for start in scans:
        end = _marker(content, start)
        while end < len(content):
            parts += [content[at:end], _FILLER]
            at = end
            if (after := _restart(content, end)) is None:
                break
            end = _marker(content, after)
    return b"".join([*parts, content[at:]])


def _restart(content: bytes, at: int) -> int | None:
    """Return where data goes on after the marker at some place, if it is a restart; else None."""
    while content[at + 1] == 0xFF:
        at += 1
    return at + 2 if content[at + 1] in _RESTARTS else None


def _scan_end(content: bytes, at: int) -> int:
    """Return where the marker stands that ends the scan at some place; the file's length if none does."""
    at = _marker(content, at)
    while at < len(content) and (after := _restart(content, at)) is not None:
        at = _marker(content, after)
    return at


def _marker(content: bytes, at: int) -> int:
    """Return the next place of a marker, its fill bytes included; the file's length if there is none."""
    while (at := content.find(b"\xff", at)) >= 0:
        code = at + 1
        while content[code : code + 1] == b"\xff":
            code += 1
        if code < len(content) and content[code] != 0:
            return at
        at = code + 1
    return len(content)


def _decodes_alike(content: bytes, other: bytes) -> bool:
    with Image.open(BytesIO(content), formats=("JPEG",)) as one, Image.open(BytesIO(other), formats=("JPEG",)) as two:
        try:
            return one.tobytes() == two.tobytes()
        except OSError:  # what was filled in is no code: it was needed
            return False


def _zeros(content: bytes, pixels: int) -> str:
    zeros = len(content) - len(content.rstrip(b"\0"))
    if zeros <= _ZEROS + pixels // _BLOCK:
        return ""
    return (
        f"its last {zeros} of {len(content)} bytes are zeros, as an unfinished download leaves them; if it is black "
        "there, save it as PNG, which has checksums"
    )
