"""From the bytes of an image file to (3, h, w) uint8: refuses whatever is not 8-bit RGB unless the view says how.

The content decides the format, not the file's name. No orientation is applied, EXIF's and TIFF's included; colour
profiles are not; nothing is resampled unasked. Of an MPO file, a JPEG with more pictures behind it, the first counts.
"""

import struct
from io import BytesIO
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, features
from PIL.TiffImagePlugin import TiffImageFile
from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from gfp_bench.data.soundness import chunks, damage
from gfp_bench.errors import DatasetError, UsageError

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF")
MAX_PIXELS = 2**26  # 8192 x 8192: more is an accident or an attack, refused before any memory is taken

_OTHERS = {  # what else people have, by what stands at some byte, and why it is not read
    (0, b"GIF8"): "a GIF, whose palette is made per file; save it as PNG and convert",
    (4, b"ftypavi"): "an AVIF, whose decoders differ in their bits; save it as PNG",
    (4, b"ftyp"): "a HEIC or another ISO media file, whose decoders differ in their bits; save it as PNG",
    (0, b"\xff\x0a"): "a JPEG XL; save it as PNG",
    (4, b"JXL "): "a JPEG XL; save it as PNG",
    (4, b"jP  "): "a JPEG 2000; save it as PNG",
    (0, b"PK\x03\x04"): "a zip archive, which is read only where a source's folder may stand; move or unpack it",
    (0, b"\x1f\x8b"): "a gzip file, as tar.gz; unpack it",
}
_TIFFS = {b"II*\0": ("<", 4, 2), b"MM\0*": (">", 4, 2), b"II+\0": ("<", 8, 8), b"MM\0+": (">", 8, 8)}
_ORIENTATION, _BITS = 274, 258  # TIFF tags
_TEXTS = ("tEXt", "zTXt", "iTXt")
_LONG_TEXT = 1000  # bytes of a compressed chunk: Pillow refuses what unpacks to more than 2**20, 1032 times as many

_MODES = {
    "1": "black and white",
    "CMYK": "CMYK",
    "L": "grey",
    "LA": "grey with alpha",
    "P": "a palette",
    "PA": "a palette with alpha",
    "RGBA": "RGB with alpha",
}


class View(BaseModel):
    """How files that are not 8-bit RGB of one size are brought there: convert, then crop, then resize.

    Attributes:
        convert: Take other modes too: grey is repeated, alpha is dropped, palettes are looked up, CMYK goes by
            Pillow's formula, 16-bit values keep their upper byte.
        crop: ``center:SIDE``, the square of SIDE pixels in the middle (the upper left one of two).
        resize: ``SIDE:FILTER`` resamples a square image with one of Pillow's filters.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    convert: bool = False
    crop: Annotated[str, StringConstraints(pattern=r"^center:[1-9][0-9]*$")] | None = None
    resize: (
        Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]*:(bicubic|bilinear|lanczos|box|nearest)$")] | None
    ) = None

    @property
    def side(self) -> int | None:
        """The side of the images that come out, in pixels; None where the files' own size stays."""
        if self.resize is not None:
            return int(self.resize.partition(":")[0])
        return None if self.crop is None else int(self.crop.partition(":")[2])


def make_view(*, convert: bool = False, crop: str | None = None, resize: str | None = None) -> View:
    """Return the view of some settings, as a command line has them.

    Raises:
        UsageError: If a setting cannot be read.
    """
    try:
        return View(convert=convert, crop=crop, resize=resize)
    except ValidationError as error:
        raise UsageError(
            f"view has crop = {crop!r} and resize = {resize!r}, expected forms as 'center:128' and '64:lanczos' "
            "(or bicubic, bilinear, box, nearest); change them"
        ) from error


def open_image(content: bytes, name: str) -> ImageFile.ImageFile:
    """Return the image of which only the header is read so far; errors call it ``name``.

    Raises:
        DatasetError: If the bytes are no image of a known format, have too many pixels or several frames.
    """
    try:
        image = Image.open(BytesIO(_plain(content)), formats=FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DatasetError(f"{name}: {error}; expected at most {MAX_PIXELS} pixels; remove or cut it") from error
    except Exception as error:  # Pillow's readers raise what they happen to stumble over
        kinds = f"{', '.join(FORMATS[:-1])} or {FORMATS[-1]}"
        raise DatasetError(f"{name}: no image ({_kind(content)}), expected {kinds}; remove or replace it") from error
    if image.width * image.height > MAX_PIXELS:
        raise DatasetError(
            f"{name}: {image.width} x {image.height} pixels, expected at most {MAX_PIXELS} in all; remove or cut it"
        )
    if getattr(image, "n_frames", 1) != 1 and image.format != "MPO":
        raise DatasetError(f"{name}: several frames, expected a single image; save the frame you want as PNG")
    return image


def decoders() -> str:
    """Return the versions of what decodes, as a part of a file's name: other ones may give other pixels."""
    libraries = {"pillow": "pil", "jpeg": "libjpeg_turbo", "webp": "webp", "tiff": "libtiff"}
    return "-".join(f"{short}{features.version(name) or features.version('jpg')}" for short, name in libraries.items())


def expect_sound(content: bytes, image: ImageFile.ImageFile, name: str) -> None:
    """Refuse a file that its decoder takes although a part is missing or damaged, see `gfp_bench.data.soundness`.

    Raises:
        DatasetError: If so; the message calls the file ``name``.
    """
    if found := damage(content, image.format, image.width * image.height):
        raise DatasetError(f"{name}: truncated or damaged ({found}); restore or remove it")


def _plain(content: bytes) -> bytes:
    """Return a file without what bears on no pixel but makes Pillow refuse or turn the image."""
    if content[:4] in _TIFFS:
        return _upright(content)
    if content.startswith(b"\x89PNG") and (b"zTXt" in content or b"iTXt" in content or len(content) > 2**25):
        texts = [(start - 8, start + size + 4) for kind, start, size in chunks(content) if kind in _TEXTS]
        if any(end - start > _LONG_TEXT for start, end in texts):
            starts, ends = zip(*texts, strict=True)
            return b"".join(content[a:b] for a, b in zip((0, *ends), (*starts, len(content)), strict=True))
    return content


def _upright(content: bytes) -> bytes:
    """Return a TIFF whose first image says that it is upright, which Pillow would otherwise turn."""
    order, wide, counts = _TIFFS[content[:4]]
    entry = 12 if wide == 4 else 20
    try:
        (at,) = struct.unpack_from(order + "IQ"[wide == 8], content, 4 if wide == 4 else 8)
        (count,) = struct.unpack_from(order + "HQ"[counts == 8], content, at)
        for place in range(at + counts, at + counts + min(count, len(content)) * entry, entry):
            if struct.unpack_from(order + "H", content, place)[0] == _ORIENTATION:
                value = place + 4 + wide
                return content[:value] + struct.pack(order + "H", 1) + content[value + 2 :]
    except struct.error:  # not a whole directory: for Pillow to say
        pass
    return content


def _kind(content: bytes) -> str:
    if not content:
        return "the file is empty"
    told = [text for (at, start), text in _OTHERS.items() if content[at : at + len(start)] == start]
    return told[0] if told else f"{len(content)} bytes that begin with {content[:8]!r}"


def pixels(image: ImageFile.ImageFile, name: str, view: View) -> NDArray[np.uint8]:
    """Return an opened image as (3, h, w) RGB; errors call it ``name``.

    Raises:
        DatasetError: If the image is truncated, is not 8-bit RGB though the view does not convert, or does not fit
            the view's crop or resizing.
    """
    found = _depth_and_mode(image)
    if isinstance(image, TiffImageFile) and found == "8-bit RGB" and max(image.tag_v2.get(_BITS, (8,))) > 8:
        raise DatasetError(f"{name}: 16-bit RGB in separate planes, which no reader here takes; save it as 8-bit RGB")
    if found != "8-bit RGB" and not view.convert:
        raise DatasetError(f"{name}: {found}, expected 8-bit RGB; convert it, or set convert = true in the view")
    try:
        if image.format == "TIFF":
            image.info.pop("xmp", None)  # Pillow would turn the image as it says
        image.load()
    except Exception as error:  # as in `open_image`
        raise DatasetError(f"{name}: truncated or damaged ({error}); restore or remove it") from error
    viewed = _resized(_cropped(_rgb(image, name), name, view), name, view)
    return np.ascontiguousarray(np.asarray(viewed).transpose(2, 0, 1))


def _depth_and_mode(image: ImageFile.ImageFile) -> str:
    deep = any(";16" in str(tile[3]) for tile in image.tile)  # 16-bit RGB, which Pillow would cut to 8 in silence
    if deep or image.mode.startswith("I;16"):
        return f"16-bit {image.mode.partition(';')[0]}".replace("16-bit I", "16-bit grey")
    return "8-bit RGB" if image.mode == "RGB" else _MODES.get(image.mode, f"mode {image.mode}")


def _rgb(image: Image.Image, name: str) -> Image.Image:
    if image.mode.startswith("I;16"):
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise DatasetError(f"{name}: values in mode {image.mode} have no range to convert from; save it as 8-bit RGB")
    if "transparency" in image.info:
        image = image.convert("RGBA")  # Pillow warns when it has to drop a palette's alpha itself
    return image.convert("RGB")


def _cropped(image: Image.Image, name: str, view: View) -> Image.Image:
    if view.crop is None:
        return image
    side = int(view.crop.partition(":")[2])
    if min(image.size) < side:
        raise DatasetError(
            f"{name}: {image.width} x {image.height} pixels, expected at least {side} x {side} for crop = "
            f"{view.crop!r}; crop less or remove it"
        )
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return image.crop((left, top, left + side, top + side))


def _resized(image: Image.Image, name: str, view: View) -> Image.Image:
    if view.resize is None:
        return image
    side, _, resampling = view.resize.partition(":")
    if image.width != image.height:
        raise DatasetError(
            f"{name}: {image.width} x {image.height} pixels, expected a square for resize = {view.resize!r}; "
            "add a crop to the view"
        )
    return image.resize((int(side), int(side)), Image.Resampling[resampling.upper()])
