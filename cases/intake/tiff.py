"""TIFF and BigTIFF: the directories of a file, checked before a decoder sees them.

A TIFF may hold anything: several pages, floating point, a directory that leads back to itself.
What is read here is one picture of the kinds that people export: grey, RGB, palette, CMYK and
JPEG's YCbCr, in strips or tiles, in the usual compressions (TIFF 6.0; its supplements for Deflate
and JPEG). Decoder child only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from cases.errors import ImageAnimated, ImageCorrupt, ImageUnsupported
from cases.intake.checked import Limits
from cases.intake.codestream import Bytes
from cases.intake.raster_headers import SEND_ORDINARY, Header, check_size, cut_off

Order = Literal["little", "big"]
Numbers = np.ndarray[Any, Any]

_MAX_PAGES = 200
_MAX_ENTRIES = 4_096
_MAX_VALUES = 1_000_000
# Field types that hold whole numbers, with their sizes (TIFF 6.0 section 2, BigTIFF).
_WHOLE = {1: 1, 3: 2, 4: 4, 13: 4, 16: 8, 18: 8}
_NEW_SUBFILE, _SUBFILE, _WIDTH, _LENGTH, _BITS, _COMPRESSION = 254, 255, 256, 257, 258, 259
_PHOTOMETRIC, _STRIPS, _ORIENTATION, _SAMPLES, _ROWS, _STRIP_BYTES = 262, 273, 274, 277, 278, 279
_PLANAR, _TILE_WIDTH, _TILE_LENGTH, _TILES, _TILE_BYTES = 284, 322, 323, 324, 325
_SAMPLE_FORMAT = 339
_WANTED = frozenset({
    _NEW_SUBFILE, _SUBFILE, _WIDTH, _LENGTH, _BITS, _COMPRESSION, _PHOTOMETRIC, _STRIPS,
    _ORIENTATION, _SAMPLES, _ROWS, _STRIP_BYTES, _PLANAR, _TILE_WIDTH, _TILE_LENGTH, _TILES,
    _TILE_BYTES, _SAMPLE_FORMAT,
})  # fmt: skip
_JPEG = 7
_COMPRESSIONS = {
    1: "none", 2: "CCITT", 3: "CCITT", 4: "CCITT", 5: "LZW", _JPEG: "JPEG", 8: "Deflate",
    32773: "PackBits", 32946: "Deflate", 34925: "LZMA", 50000: "Zstandard",
}  # fmt: skip
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _CMYK, _YCBCR = 0, 1, 2, 3, 5, 6
# Colour model -> bits per sample, samples per pixel.
_KINDS = {
    _WHITE_IS_ZERO: ((1, 2, 4, 8, 16), 1),
    _BLACK_IS_ZERO: ((1, 2, 4, 8, 16), 1),
    _RGB: ((8, 16), 3),
    _PALETTE: ((1, 2, 4, 8), 1),
    _CMYK: ((8, 16), 4),
    _YCBCR: ((8,), 3),
}


@dataclass(frozen=True, slots=True)
class _Page:
    """The wanted fields of one directory."""

    fields: dict[int, Numbers]

    def number(self, tag: int, default: int | None = None) -> int:
        """The first value of a field; `ImageCorrupt` when it must be there and is not."""
        values = self.fields.get(tag)
        if values is None or not len(values):
            if default is None:
                raise ImageCorrupt
            return default
        return int(values[0])

    @property
    def beside(self) -> bool:
        """A thumbnail or a mask of another page, by either of the two fields that say so."""
        return bool(self.number(_NEW_SUBFILE, 0) & 0b101) or self.number(_SUBFILE, 1) == 2


def check_tiff(data: Bytes, limits: Limits) -> Header:
    """Find the one picture of the file; refuse several, and kinds that are not read."""
    pages = _pages(data)
    whole = [i for i, page in enumerate(pages) if not page.beside] or [0]
    if len(whole) > 1:
        many = "many" if len(pages) >= _MAX_PAGES else str(len(whole))
        raise ImageAnimated(
            f"The TIFF file holds {many} pages. Send each picture as a file of its own, or the "
            "cine loop as DICOM."
        )
    page = pages[whole[0]]
    width, height = page.number(_WIDTH), page.number(_LENGTH)
    if not width or not height:
        raise ImageCorrupt
    check_size(width, height, limits)
    bits = _check_kind(page)
    _check_place(page, len(data), width, height, limits)
    orientation = page.number(_ORIENTATION, 1)
    return Header(
        bits=bits,
        orientation=orientation if 1 <= orientation <= 8 else 1,
        inverted=bits == 16 and page.number(_PHOTOMETRIC, 0) == _WHITE_IS_ZERO,
        page=whole[0],
    )


def _check_kind(page: _Page) -> int:
    """Refuse what is no picture of a kind read here; the bits per sample."""
    compression = page.number(_COMPRESSION, 1)
    photometric = page.number(_PHOTOMETRIC, 0)
    samples = page.number(_SAMPLES, 1)
    planes = page.number(_PLANAR, 1)
    depths = np.unique(page.fields.get(_BITS, np.ones(1, np.int64))).tolist()
    formats = np.unique(page.fields.get(_SAMPLE_FORMAT, np.ones(1, np.int64))).tolist()
    allowed, colours = _KINDS.get(photometric, ((), 0))
    bits = int(depths[0]) if len(depths) == 1 else 0
    extra = samples - colours
    read = (
        compression in _COMPRESSIONS
        and bits in allowed
        and formats == [1]
        and (extra == 0 or (extra == 1 and photometric in (_BLACK_IS_ZERO, _RGB) and bits >= 8))
        # Uncompressed YCbCr shares its chroma among pixels in ways of its own.
        and (photometric != _YCBCR or compression == _JPEG)
        # Planes one after the other: of bytes, and nothing else among them.
        and (planes == 1 or samples == 1 or (planes == 2 and bits == 8 and not extra))
    )
    if not read:
        raise unsupported()
    return bits


def unsupported() -> ImageUnsupported:
    """The refusal of a TIFF that holds a picture of a kind not read here."""
    return ImageUnsupported(
        "This kind of TIFF is not read here: grey, RGB, palette or CMYK of 8 or 16 bits is. "
        f"{SEND_ORDINARY}"
    )


def _check_place(page: _Page, size: int, width: int, height: int, limits: Limits) -> None:
    """Whether all strips or tiles that the picture needs lie within the file."""
    tiled = _TILES in page.fields
    starts = page.fields.get(_TILES if tiled else _STRIPS)
    lengths = page.fields.get(_TILE_BYTES if tiled else _STRIP_BYTES)
    if starts is None or lengths is None or len(starts) != len(lengths):
        raise ImageCorrupt
    if tiled:
        across, down = page.number(_TILE_WIDTH), page.number(_TILE_LENGTH)
        if not across or not down or across * down > limits.max_pixels:
            raise ImageCorrupt
        needed = -(-width // across) * -(-height // down)
    else:
        needed = -(-height // max(1, min(page.number(_ROWS, height), height)))
    if page.number(_PLANAR, 1) == 2:
        needed *= page.number(_SAMPLES, 1)
    if len(starts) < needed:
        raise ImageCorrupt
    ends = starts.astype(np.float64) + lengths.astype(np.float64)
    if ends.max() > size:
        raise cut_off("TIFF")


def _pages(data: Bytes) -> list[_Page]:
    """The directories of the file, in order; `ImageCorrupt` when one cannot be read."""
    order: Order = "little" if data[:2] == b"II" else "big"
    big = int.from_bytes(data[2:4], order) == 43
    wide = 8 if big else 4
    if big and order == "big":
        raise unsupported()  # Pillow takes it for a small one
    if big and data[4:8] != b"\x08\0\0\0":
        raise ImageCorrupt
    at = int.from_bytes(data[wide : 2 * wide], order)
    pages: list[_Page] = []
    seen: set[int] = set()
    while at and len(pages) < _MAX_PAGES:
        if at in seen or at + 2 > len(data):
            raise ImageCorrupt
        seen.add(at)
        page, at = _page(data, at, order, wide)
        pages.append(page)
    if not pages:
        raise ImageCorrupt
    return pages


def _page(data: Bytes, at: int, order: Order, wide: int) -> tuple[_Page, int]:
    """The directory at `at`, and where the next one is (0: none)."""
    counted = 2 if wide == 4 else 8
    entries = int.from_bytes(data[at : at + counted], order)
    entry = 4 + 2 * wide
    after = at + counted + entries * entry
    if not 0 < entries <= _MAX_ENTRIES or after + wide > len(data):
        raise cut_off("TIFF")
    fields: dict[int, Numbers] = {}
    for start in range(at + counted, after, entry):
        tag, kind = (int.from_bytes(data[i : i + 2], order) for i in (start, start + 2))
        if tag not in _WANTED or kind not in _WHOLE:
            continue
        count = int.from_bytes(data[start + 4 : start + 4 + wide], order)
        length = count * _WHOLE[kind]
        if not 0 < count <= _MAX_VALUES:
            raise ImageCorrupt
        place = start + 4 + wide
        if length > wide:
            place = int.from_bytes(data[place : place + wide], order)
        if place + length > len(data):
            raise cut_off("TIFF")
        unit = f"{'<' if order == 'little' else '>'}u{_WHOLE[kind]}"
        fields[tag] = np.frombuffer(bytes(data[place : place + length]), unit)
    return _Page(fields), int.from_bytes(data[after : after + wide], order)
