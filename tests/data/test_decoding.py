import struct
import zlib
from io import BytesIO
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageCms
from PIL.PngImagePlugin import PngInfo

from gfp_bench.data.decoding import View, make_view, open_image, pixels
from gfp_bench.errors import DatasetError, UsageError

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (6, 8, 3), dtype=np.uint8)


def encoded(image: Image.Image, kind: str = "PNG", **settings: Any) -> bytes:
    buffer = BytesIO()
    image.save(buffer, kind, **settings)
    return buffer.getvalue()


def decoded(content: bytes, **view: Any) -> NDArray[np.uint8]:
    return pixels(open_image(content, "a.png"), "a.png", View(**view))


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF"])
def test_lossless_rgb_comes_back_to_the_bit(kind: str) -> None:
    image = decoded(encoded(Image.fromarray(RGB), kind))
    np.testing.assert_array_equal(image, RGB.transpose(2, 0, 1))
    assert image.dtype == np.uint8
    assert image.flags["C_CONTIGUOUS"]


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
def test_lossy_formats_decode_as_in_pillow(kind: str) -> None:
    content = encoded(Image.fromarray(RGB), kind, quality=70)
    np.testing.assert_array_equal(decoded(content), np.asarray(Image.open(BytesIO(content))).transpose(2, 0, 1))


def test_exif_rotation_is_not_applied() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate by 90 degrees to show
    content = encoded(Image.fromarray(RGB), "PNG", exif=exif)
    assert Image.open(BytesIO(content)).getexif()[0x0112] == 6
    np.testing.assert_array_equal(decoded(content), RGB.transpose(2, 0, 1))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", [1, 2, 3, 5, 6, 8])
def test_no_format_s_orientation_is_applied(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = Image.fromarray(RGB)
    turned, plain = encoded(image, kind, exif=exif), encoded(image, kind)
    assert Image.open(BytesIO(turned)).getexif().get(0x0112) == orientation
    np.testing.assert_array_equal(decoded(turned), decoded(plain))


@pytest.mark.parametrize("options", [{}, {"compression": "tiff_lzw"}, {"big_tiff": True}], ids=["plain", "lzw", "big"])
@pytest.mark.parametrize("tag", [{274: 6}, {274: 3}, {700: b'<x tiff:Orientation="6"/>'}], ids=str)
def test_no_tiff_is_turned_as_its_tag_or_its_xmp_says(options: dict[str, Any], tag: dict[int, Any]) -> None:
    content = encoded(Image.fromarray(RGB), "TIFF", tiffinfo=tag, **options)
    assert not np.array_equal(np.asarray(Image.open(BytesIO(content))), RGB), "Pillow turns it"
    np.testing.assert_array_equal(decoded(content), RGB.transpose(2, 0, 1))


def test_a_colour_profile_changes_no_pixel() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    content = encoded(Image.fromarray(RGB), "PNG", icc_profile=profile)
    np.testing.assert_array_equal(decoded(content), RGB.transpose(2, 0, 1))


def test_the_first_picture_of_an_mpo_counts() -> None:
    first = Image.fromarray(RGB)
    content = encoded(first, "MPO", save_all=True, append_images=[Image.fromarray(255 - RGB)])
    assert open_image(content, "a.jpg").format == "MPO"
    np.testing.assert_array_equal(decoded(content), decoded(encoded(first, "JPEG")))


@pytest.mark.parametrize("zipped", [True, False])
def test_long_texts_are_no_reason_to_refuse_a_png(zipped: bool) -> None:
    texts = PngInfo()
    texts.add_text("workflow", "a" * 3_000_000, zip=zipped)
    texts.add_itxt("parameters", "b" * 3_000_000, zip=zipped)
    np.testing.assert_array_equal(decoded(encoded(Image.fromarray(RGB), pnginfo=texts)), RGB.transpose(2, 0, 1))


def planar_tiff(values: NDArray[np.uint16]) -> bytes:
    """Return an uncompressed TIFF with (h, w, 3) values in three separate planes."""
    height, width, _ = values.shape
    planes = [values[..., channel].astype("<u2").tobytes() for channel in range(3)]
    size, start = len(planes[0]), 8 + 3 * len(planes[0])
    lists = [[16] * 3, [8 + number * size for number in range(3)], [size] * 3]
    packed = [struct.pack("<3H", *lists[0]), struct.pack("<3I", *lists[1]), struct.pack("<3I", *lists[2])]
    places = np.cumsum([start, *map(len, packed)]).tolist()
    entries = [
        (256, 4, 1, width), (257, 4, 1, height), (258, 3, 3, places[0]), (259, 3, 1, 1), (262, 3, 1, 2),
        (273, 4, 3, places[1]), (277, 3, 1, 3), (278, 4, 1, height), (279, 4, 3, places[2]), (284, 3, 1, 2),
    ]  # fmt: skip
    directory = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return b"II*\0" + struct.pack("<I", places[3]) + b"".join([*planes, *packed]) + directory + bytes(4)


@pytest.mark.parametrize("convert", [False, True])
def test_sixteen_bits_in_planes_are_refused(convert: bool) -> None:
    content = planar_tiff(RGB.astype(np.uint16) * 257)
    assert Image.open(BytesIO(content)).mode == "RGB", "Pillow takes them for eight"
    with pytest.raises(DatasetError, match=r"a.png: 16-bit RGB in separate planes"):
        decoded(content, convert=convert)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (encoded(Image.fromarray(RGB), "GIF"), "a GIF, whose palette is made per file; save it as PNG and convert"),
        (b"\0\0\0\x1cftypavif", "an AVIF"),
        (b"\0\0\0\x1cftypheic", "a HEIC"),
        (b"\xff\x0a\0\0", "a JPEG XL"),
        (b"\0\0\0\x0cjP  \r\n", "a JPEG 2000"),
        (b"PK\x03\x04", "a zip archive, which is read only where a source's folder may stand"),
    ],
)
def test_other_formats_are_refused_by_name(content: bytes, message: str) -> None:
    with pytest.raises(DatasetError, match=rf"a.png: no image \({message}"):
        open_image(content, "a.png")


def test_moving_webp_is_refused() -> None:
    frames = [Image.fromarray(RGB), Image.fromarray(255 - RGB)]
    with pytest.raises(DatasetError, match=r"a.png: several frames, expected a single image; save the frame you want"):
        open_image(encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:]), "a.png")


def sixteen_bit_rgb() -> tuple[bytes, NDArray[np.uint16]]:
    values = RNG.integers(0, 2**16, (6, 8, 3), dtype=np.uint16)
    return cv2.imencode(".png", values[..., ::-1])[1].tobytes(), values  # Pillow writes no 16-bit RGB


GREY, ALPHA = RGB[..., 0], RGB[..., 1]
PALETTE = Image.fromarray(RGB).quantize(7)
DEEP = RNG.integers(0, 2**16, (6, 8), dtype=np.uint16)
DEEP_RGB, DEEP_VALUES = sixteen_bit_rgb()
OTHER_MODES = [
    (encoded(Image.fromarray(GREY)), "grey", np.stack([GREY] * 3)),
    (encoded(Image.fromarray(np.dstack([GREY, ALPHA]), "LA")), "grey with alpha", np.stack([GREY] * 3)),
    (encoded(Image.fromarray(np.dstack([RGB, ALPHA]))), "RGB with alpha", RGB.transpose(2, 0, 1)),
    (encoded(PALETTE), "a palette", np.asarray(PALETTE.convert("RGB")).transpose(2, 0, 1)),
    (
        encoded(PALETTE, transparency=bytes([0, 128, 255])),
        "a palette",
        np.asarray(PALETTE.convert("RGB")).transpose(2, 0, 1),
    ),
    (
        encoded(Image.fromarray(RGB).convert("CMYK"), "TIFF"),
        "CMYK",
        np.asarray(Image.fromarray(RGB).convert("CMYK").convert("RGB")).transpose(2, 0, 1),
    ),
    (encoded(Image.fromarray(GREY > 99)), "black and white", np.stack([(GREY > 99) * np.uint8(255)] * 3)),
    (encoded(Image.fromarray(DEEP)), "16-bit grey", np.stack([(DEEP // 256).astype(np.uint8)] * 3)),
    (DEEP_RGB, "16-bit RGB", (DEEP_VALUES // 256).astype(np.uint8).transpose(2, 0, 1)),
]


@pytest.mark.parametrize(("content", "found", "expected"), OTHER_MODES)
def test_other_modes_are_refused_until_the_view_converts(
    content: bytes, found: str, expected: NDArray[np.uint8]
) -> None:
    with pytest.raises(DatasetError, match=f"^a.png: {found}, expected 8-bit RGB; convert it, or set convert = true"):
        decoded(content)
    np.testing.assert_array_equal(decoded(content, convert=True), expected)


def test_floating_point_values_are_refused_even_with_convert() -> None:
    content = encoded(Image.fromarray(np.ones((6, 8), np.float32)), "TIFF")
    with pytest.raises(DatasetError, match="values in mode F have no range to convert from"):
        decoded(content, convert=True)


@given(height=st.integers(4, 12), width=st.integers(4, 12), side=st.integers(1, 12))
@settings(max_examples=40)
def test_crop_takes_the_middle_or_refuses(height: int, width: int, side: int) -> None:
    values = np.random.default_rng(height * width).integers(0, 256, (height, width, 3), dtype=np.uint8)
    content = encoded(Image.fromarray(values), "BMP")
    if side > min(height, width):
        with pytest.raises(DatasetError, match=f"{width} x {height} pixels, expected at least {side} x {side}"):
            decoded(content, crop=f"center:{side}")
        return
    top, left = (height - side) // 2, (width - side) // 2
    expected = values[top : top + side, left : left + side].transpose(2, 0, 1)
    np.testing.assert_array_equal(decoded(content, crop=f"center:{side}"), expected)


@pytest.mark.parametrize("resampling", ["bicubic", "bilinear", "lanczos", "box", "nearest"])
def test_resize_uses_the_filter_it_names_after_the_crop(resampling: str) -> None:
    image = Image.fromarray(RGB)
    expected = image.crop((1, 0, 7, 6)).resize((3, 3), getattr(Image.Resampling, resampling.upper()))
    result = decoded(encoded(image), crop="center:6", resize=f"3:{resampling}")
    np.testing.assert_array_equal(result, np.asarray(expected).transpose(2, 0, 1))


def test_resize_never_changes_proportions() -> None:
    with pytest.raises(DatasetError, match=r"8 x 6 pixels, expected a square for resize = '3:box'; add a crop"):
        decoded(encoded(Image.fromarray(RGB)), resize="3:box")


@pytest.mark.parametrize("view", [{"crop": "top:8"}, {"resize": "64"}, {"resize": "0:box"}, {"crop": "center:8\n"}])
def test_view_that_cannot_be_read_is_refused(view: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="expected forms as 'center:128' and '64:lanczos'"):
        make_view(**view)


def header_only(side: int) -> bytes:
    """Return a PNG that claims to be large and holds no pixels."""
    content = bytearray(encoded(Image.new("RGB", (1, 1))))
    content[16:24] = side.to_bytes(4, "big") * 2
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    return bytes(content)


@pytest.mark.parametrize("side", [80_000, 10_000, 8_193])  # Pillow: an error, a warning, neither
def test_huge_image_is_refused_from_its_header(side: int) -> None:
    with pytest.raises(DatasetError, match=r"^a.png: .* expected at most 67108864"):
        open_image(header_only(side), "a.png")


@pytest.mark.parametrize("content", [b"", b"just text\n", b"\x89PNG\r\n\x1a\n"])
def test_file_that_is_no_image_is_refused(content: bytes) -> None:
    with pytest.raises(DatasetError, match=r"^a.png: no image \(.*\), expected PNG, JPEG, WEBP, BMP or TIFF"):
        open_image(content, "a.png")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "TIFF"])
@pytest.mark.parametrize("part", [0.3, 0.6, 0.9])
def test_truncated_image_is_refused(kind: str, part: float) -> None:
    noise = RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8)
    content = encoded(Image.fromarray(noise), kind)
    with pytest.raises(DatasetError, match=r"^a.png: (truncated or damaged|no image)"):
        decoded(content[: int(part * len(content))])


def test_animation_is_refused() -> None:
    frames = [Image.fromarray(RGB), Image.fromarray(255 - RGB)]
    with pytest.raises(DatasetError, match=r"a.png: several frames, expected a single image"):
        open_image(encoded(frames[0], save_all=True, append_images=frames[1:]), "a.png")
