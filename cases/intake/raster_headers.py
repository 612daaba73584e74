"""The headers of JPEG, PNG, BMP and WebP files, checked before a decoder sees them.

Decoders are lenient, take memory for whatever size is announced, and blame every fault on damage.
Sizes, wholeness and kinds that are not read are told from the header here. TIFF has a file of its
own (`tiff.py`). Decoder child only.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

from cases.errors import (
    ImageAnimated,
    ImageCorrupt,
    ImageTooManyPixels,
    ImageTooSmall,
    ImageUnsupported,
)
from cases.intake.checked import Limits
from cases.intake.codestream import Bytes, scan_jpeg
from cases.intake.formats import BMP_HEADERS, PNG_START

SEND_ORDINARY = "Send an ordinary JPEG, PNG or DICOM."
# What libjpeg-turbo decodes: baseline, extended, progressive, and both with arithmetic coding.
_JPEG_KINDS = (0xC0, 0xC1, 0xC2, 0xC9, 0xCA)
# BMP: bits per pixel by compression, and the layouts of the bit fields.
_BMP_BITS = {0: (1, 4, 8, 16, 24, 32), 1: (8,), 2: (4,), 3: (16, 32)}
_BMP_FIELDS = {
    16: ((0xF800, 0x7E0, 0x1F), (0x7C00, 0x3E0, 0x1F)),
    32: ((0xFF0000, 0xFF00, 0xFF), (0xFF, 0xFF00, 0xFF0000), (0xFF000000, 0xFF0000, 0xFF00)),
}
_WEBP_IMAGES = (b"VP8 ", b"VP8L")
_MAX_CHUNKS = 20_000


@dataclass(frozen=True, slots=True)
class Header:
    """What a file says of itself that its decoder does not hand on."""

    bits: int
    """Bits per sample as stored."""
    orientation: int = 1
    """As EXIF counts, where the decoder turns the picture itself (TIFF)."""
    inverted: bool = False
    """Zero is white, and the decoder does not care."""
    page: int = 0


def check_size(width: int, height: int, limits: Limits) -> None:
    """Refuse a frame of `width` x `height` pixels outside the limits."""
    if width * height > limits.max_pixels:
        raise ImageTooManyPixels(
            f"The image has {width:,} x {height:,} pixels. This service accepts up to "
            f"{limits.max_pixels / 1e6:,.0f} million pixels in one image."
        )
    if min(width, height) < limits.min_side_px:
        raise ImageTooSmall(
            f"The image has only {width} x {height} pixels. Its shorter side must have at least "
            f"{limits.min_side_px}. Send the image at its original size."
        )


def cut_off(name: str) -> ImageCorrupt:
    """The refusal of a file that ends before its picture does."""
    return ImageCorrupt(f"The {name} image is cut off: its end is missing. Export it again.")


def check_jpeg(data: Bytes, limits: Limits) -> Header:
    """Refuse what Pillow would read leniently or not at all."""
    head = scan_jpeg(data, header_only=True)
    if head.sof and head.sof not in _JPEG_KINDS:
        name = {0xC3: "lossless JPEG", 0xF7: "JPEG-LS"}.get(head.sof, "hierarchical JPEG")
        raise ImageUnsupported(f"This kind of JPEG ({name}) is not read here. {SEND_ORDINARY}")
    if head.sof and head.precision != 8:
        raise ImageUnsupported(f"A JPEG of {head.precision} bits is not read here. {SEND_ORDINARY}")
    if len(head.component_ids) == 4 and head.adobe_transform is None:
        # Adobe's files hold negatives of the inks, others need not: a guess may show a negative.
        raise ImageUnsupported(
            f"A CMYK JPEG without Adobe's marker is not read here. {SEND_ORDINARY}"
        )
    if not head.sof or not head.width or not head.height:
        raise ImageCorrupt
    check_size(head.width, head.height, limits)
    if not scan_jpeg(data).complete:
        raise cut_off("JPEG")
    return Header(8)


def check_png(data: Bytes, limits: Limits) -> Header:
    """Walk the chunks with their checksums (PNG specification, section 5)."""
    if data[12:16] != b"IHDR" or len(data) < 33:
        raise ImageCorrupt
    width, height = (int.from_bytes(data[i : i + 4], "big") for i in (16, 20))
    bits = data[24]
    if width == 0 or height == 0:
        raise ImageCorrupt
    check_size(width, height, limits)
    position = len(PNG_START)
    view = memoryview(data)
    try:
        while True:
            length = int.from_bytes(view[position : position + 4], "big")
            kind = bytes(view[position + 4 : position + 8])
            end = position + 12 + length
            if end > len(data):
                raise cut_off("PNG")
            if zlib.crc32(view[position + 4 : end - 4]) != int.from_bytes(
                view[end - 4 : end], "big"
            ):
                raise ImageCorrupt
            if kind == b"acTL":
                raise ImageAnimated
            if kind == b"IEND":
                return Header(bits)
            position = end
    finally:
        view.release()


def check_bmp(data: Bytes, limits: Limits) -> Header:
    """The bitmap header: OS/2 1.x, Windows 3 to 5, both directions of rows."""

    def number(at: int, size: int, *, signed: bool = False) -> int:
        return int.from_bytes(data[at : at + size], "little", signed=signed)

    if len(data) < 26:
        raise cut_off("BMP")
    size = number(14, 4)
    compression = 0
    if size == 12:
        width, height, bits = number(18, 2), number(20, 2), number(24, 2)
    elif size in BMP_HEADERS and len(data) >= 14 + size:
        width, height = number(18, 4, signed=True), number(22, 4, signed=True)
        bits, compression = number(28, 2), number(30, 4)
    else:
        raise ImageCorrupt
    if width <= 0 or height == 0:
        raise ImageCorrupt
    check_size(width, abs(height), limits)
    fields = tuple(number(54 + 4 * i, 4) for i in range(3))
    known = bits in _BMP_BITS.get(compression, ())
    if not known or (compression == 3 and fields not in _BMP_FIELDS[bits]):
        raise ImageUnsupported(f"This kind of BMP is not read here. {SEND_ORDINARY}")
    stride = (width * bits + 31) // 32 * 4
    if compression in (0, 3) and number(10, 4) + stride * abs(height) > len(data):
        raise cut_off("BMP")
    return Header(bits if bits <= 8 else 5 if bits == 16 else 8)


def check_webp(data: Bytes, limits: Limits) -> Header:
    """Walk the chunks (RFC 9649): one still picture, whole, of a size within the limits."""
    position, end = 12, 8 + int.from_bytes(data[4:8], "little")
    if end > len(data) + 1:
        raise cut_off("WebP")
    pictures = 0
    for _ in range(_MAX_CHUNKS):
        if position + 8 > min(end, len(data)):
            break
        kind = bytes(data[position : position + 4])
        length = int.from_bytes(data[position + 4 : position + 8], "little")
        body = bytes(data[position + 8 : position + 8 + min(length, 16)])
        if position + 8 + length > len(data):
            raise cut_off("WebP")
        if kind in (b"ANIM", b"ANMF") or (kind == b"VP8X" and body[:1] and body[0] & 0x02):
            raise ImageAnimated
        size = _webp_size(kind, body)
        if size is not None:
            check_size(*size, limits)
        pictures += kind in _WEBP_IMAGES
        position += 8 + length + length % 2
    if not pictures:
        raise ImageCorrupt
    return Header(8)


def _webp_size(kind: bytes, body: bytes) -> tuple[int, int] | None:
    """Width and height that a chunk states; None where it states none."""
    if kind not in (b"VP8X", *_WEBP_IMAGES):
        return None
    if kind == b"VP8X" and len(body) >= 10:
        width, height = (int.from_bytes(body[i : i + 3], "little") + 1 for i in (4, 7))
        return width, height
    if kind == b"VP8 " and body[3:6] == b"\x9d\x01\x2a" and len(body) >= 10:
        width, height = (int.from_bytes(body[i : i + 2], "little") & 0x3FFF for i in (6, 8))
        return width, height
    if kind == b"VP8L" and body[:1] == b"\x2f" and len(body) >= 5:
        packed = int.from_bytes(body[1:5], "little")
        return (packed & 0x3FFF) + 1, (packed >> 14 & 0x3FFF) + 1
    raise ImageCorrupt
