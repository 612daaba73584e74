"""Raster files written by hand, for what Pillow reads but does not write. See also `phantoms`."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

# PNG

_ADAM7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2),
          (1, 0, 2, 1))  # fmt: skip
_PNG_COLOURS = {1: 0, 2: 4, 3: 2, 4: 6}


def png_chunk(kind: bytes, body: bytes) -> bytes:
    """A chunk with its length and checksum."""
    sum_ = struct.pack(">I", zlib.crc32(kind + body))
    return struct.pack(">I", len(body)) + kind + body + sum_


def png_of(
    samples: Array,
    bits: int = 8,
    *,
    palette: Array | None = None,
    interlaced: bool = False,
    chunks: Sequence[tuple[bytes, bytes]] = (),
) -> bytes:
    """A PNG of h x w or h x w x 1..4 samples of `bits` each; `palette` is entries x 3."""
    stack = samples.reshape(*samples.shape[:2], -1)
    height, width, count = stack.shape
    colour = 3 if palette is not None else _PNG_COLOURS[count]
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, int(interlaced))
    passes = _ADAM7 if interlaced else ((0, 0, 1, 1),)
    data = b"".join(_png_rows(stack[y::dy, x::dx], bits) for y, x, dy, dx in passes)
    tables = [(b"PLTE", palette.astype(np.uint8).tobytes())] if palette is not None else []
    parts = [(b"IHDR", header), *chunks, *tables, (b"IDAT", zlib.compress(data)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*part) for part in parts)


def _png_rows(stack: Array, bits: int) -> bytes:
    if not stack.size:
        return b""
    return b"".join(b"\0" + _packed(row.reshape(-1), bits, ">") for row in stack)


def _packed(values: Array, bits: int, order: str) -> bytes:
    """One row of samples, filled up to whole bytes."""
    if bits >= 8:
        return values.astype(f"{order}u{bits // 8}").tobytes()
    places = np.unpackbits(values.astype(np.uint8)[:, None], axis=1)[:, -bits:]
    return np.packbits(places.reshape(-1)).tobytes()


# BMP


def bmp_of(
    values: Array,
    bits: int = 24,
    *,
    header: int = 40,
    top_down: bool = False,
    palette: Array | None = None,
    compression: int = 0,
    masks: Sequence[int] = (),
) -> bytes:
    """A bitmap: h x w indices with a `palette` (entries x 3), h x w words of 16 or 32 bits, or
    h x w x 3 (RGB, for 24 bits). `compression` 1 and 2 are RLE8 and RLE4, 3 bit fields."""
    height, width = values.shape[:2]
    rows = values if top_down else values[::-1]
    if compression in (1, 2):
        data = b"".join(_rle_row(row, compression) for row in rows) + b"\0\1"
    else:
        data = b"".join(_bmp_row(row, bits) for row in rows)
    # Size, planes, bits and compression; size of data, resolution twice, colours used, important.
    info = struct.pack(
        "<iiHHIIiiII", width, -height if top_down else height, 1, bits, compression,
        len(data), 2835, 2835, 0 if palette is None else len(palette), 0,
    )  # fmt: skip
    if header == 12:
        info = struct.pack("<HHHH", width, height, 1, bits)
    fields = b"".join(mask.to_bytes(4, "little") for mask in masks)
    head = (struct.pack("<I", header) + info + fields).ljust(header, b"\0")
    table = b""
    if palette is not None:
        entry = b"" if header == 12 else b"\0"
        table = b"".join(bytes(colour[::-1]) + entry for colour in palette.astype(np.uint8))
    offset = 14 + len(head) + len(table)
    start = b"BM" + struct.pack("<IHHI", offset + len(data), 0, 0, offset)
    return start + head + table + data


def _bmp_row(row: Array, bits: int) -> bytes:
    data = row[:, ::-1].astype(np.uint8).tobytes() if bits == 24 else _packed(row, bits, "<")
    return data + b"\0" * (-len(data) % 4)


def _rle_row(row: Array, compression: int) -> bytes:
    out = b""
    for value, run in groupby(row.tolist()):
        left = len(list(run))
        packed = value if compression == 1 else value << 4 | value
        while left:
            out += bytes((min(left, 255), packed))
            left -= min(left, 255)
    return out + b"\0\0"


# TIFF


@dataclass(frozen=True)
class TiffPage:
    """A page to write: `samples` are h x w or h x w x n, of uint8, uint16, int16 or float32."""

    samples: Array
    photometric: int = 1
    bits: int = 0
    deflate: bool = False
    tile: int = 0
    planes: bool = False
    rows_per_strip: int = 0
    palette: Array | None = None
    tags: dict[int, int] = field(default_factory=dict)


def tiff_of(*pages: TiffPage, order: str = "<", big: bool = False) -> bytes:
    """A TIFF or BigTIFF (`big`) of these pages, in little ("<") or big endian (">")."""
    mark = b"II" if order == "<" else b"MM"
    wide = "Q" if big else "I"
    head = mark + (struct.pack(order + "HHH", 43, 8, 0) if big else struct.pack(order + "H", 42))
    out = bytearray(head + struct.pack(order + wide, 0))
    link = len(head)
    for page in pages:
        blocks, entries = _tiff_page(page, order)
        starts = []
        for block in blocks:
            starts.append(len(out))
            out += block + b"\0" * (len(block) % 2)
        tiled = bool(page.tile)
        entries[324 if tiled else 273] = starts
        entries[325 if tiled else 279] = [len(block) for block in blocks]
        directory = _tiff_directory(out, entries, order, wide)
        out[link : link + struct.calcsize(wide)] = struct.pack(order + wide, len(out))
        out += directory
        link = len(out) - struct.calcsize(wide)
    return bytes(out)


def _tiff_page(page: TiffPage, order: str) -> tuple[list[bytes], dict[int, list[int]]]:
    stack = page.samples.reshape(*page.samples.shape[:2], -1)
    height, width, count = stack.shape
    bits = page.bits or 8 * stack.dtype.itemsize
    layers = [stack[:, :, i : i + 1] for i in range(count)] if page.planes else [stack]
    blocks = [block for layer in layers for block in _tiff_blocks(page, layer)]
    data = [_tiff_data(block, bits, order) for block in blocks]
    kind = {"u": 1, "i": 2, "f": 3}[stack.dtype.kind]
    entries = {
        256: [width], 257: [height], 258: [bits] * count, 259: [8 if page.deflate else 1],
        262: [page.photometric], 277: [count], 284: [2 if page.planes else 1], 339: [kind] * count,
    }  # fmt: skip
    if page.tile:
        entries |= {322: [page.tile], 323: [page.tile]}
    else:
        entries[278] = [page.rows_per_strip or height]
    if page.palette is not None:
        table = np.zeros((1 << bits, 3), int)
        table[: len(page.palette)] = page.palette.astype(int) * 257
        entries[320] = table.T.reshape(-1).tolist()
    entries |= {tag: [value] for tag, value in page.tags.items()}
    packed = [zlib.compress(block) for block in data] if page.deflate else data
    return packed, entries


def _tiff_blocks(page: TiffPage, layer: Array) -> list[Array]:
    height, width = layer.shape[:2]
    side = page.tile
    if not side:
        step = page.rows_per_strip or height
        return [layer[y : y + step] for y in range(0, height, step)]
    padded = np.pad(layer, ((0, -height % side), (0, -width % side), (0, 0)))
    return [
        padded[y : y + side, x : x + side]
        for y in range(0, height, side)
        for x in range(0, width, side)
    ]


def _tiff_data(block: Array, bits: int, order: str) -> bytes:
    if block.dtype.kind == "f" or block.dtype.kind == "i":
        return block.astype(block.dtype.newbyteorder(order)).tobytes()  # type: ignore[arg-type]
    return b"".join(_packed(row.reshape(-1), bits, order) for row in block)


def _tiff_directory(out: bytearray, entries: dict[int, list[int]], order: str, wide: str) -> bytes:
    """The directory; values that do not fit into it are put at the end of `out` first."""
    room = struct.calcsize(wide)
    parts = b""
    for tag, values in sorted(entries.items()):
        kind, letter = (3, "H") if max(values) < 65536 and tag not in (273, 324) else (4, "I")
        body = struct.pack(f"{order}{len(values)}{letter}", *values)
        if len(body) > room:
            place = len(out)
            out += body + b"\0" * (len(body) % 2)
            body = struct.pack(order + wide, place)
        parts += struct.pack(f"{order}HH{wide}", tag, kind, len(values)) + body.ljust(room, b"\0")
    count = struct.pack(order + ("Q" if wide == "Q" else "H"), len(entries))
    return count + parts + struct.pack(order + wide, 0)
