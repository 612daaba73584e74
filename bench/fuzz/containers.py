"""Mutations of raster files that keep to their structure, so that decoders get further."""

from __future__ import annotations

import struct
import zlib
from functools import cache

from bench.fuzz.bits import NUMBERS, Mutation, Rng, noise, pick, replaced
from tests.rasters import png_chunk

_PNG_HEAD = 8
_SMALL = tuple(n for n in NUMBERS if n < 65536)


def _chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    found, place = [], _PNG_HEAD
    while place + 12 <= len(data):
        length = int.from_bytes(data[place : place + 4], "big")
        found.append((data[place + 4 : place + 8], data[place + 8 : place + 8 + length]))
        place += 12 + length
    return found


def png_chunks(rng: Rng, data: bytes) -> bytes:
    """Chunks removed, doubled, reordered or filled with something else, with right checksums."""
    chunks = _chunks(data)
    for _ in range(int(rng.integers(1, 4))):
        if not chunks:
            break
        place = int(rng.integers(0, len(chunks)))
        kind, body = chunks[place]
        how = int(rng.integers(0, 6))
        if how == 0:
            del chunks[place]
        elif how == 1:
            chunks.insert(place, (kind, body))
        elif how == 2:
            chunks[place] = (
                pick(rng, (b"tRNS", b"PLTE", b"iCCP", b"zTXt", b"gAMA", b"eXIf")),
                body,
            )
        elif how == 3:
            chunks[place] = (kind, noise(rng, 2 * len(body) + 4))
        elif how == 4 and body:
            spot = int(rng.integers(0, len(body)))
            chunks[place] = (kind, replaced(body, spot, noise(rng, 2))[: len(body)])
        else:
            chunks.insert(place, (pick(rng, (b"tRNS", b"tEXt", b"fcTL", b"sBIT")), noise(rng, 64)))
    return data[:_PNG_HEAD] + b"".join(png_chunk(*chunk) for chunk in chunks)


def png_header(rng: Rng, data: bytes) -> bytes:
    """Other sizes, depths, colours and methods in the header, with a right checksum."""
    fields = list(struct.unpack(">IIBBBBB", data[16:29]))
    for _ in range(int(rng.integers(1, 3))):
        place = int(rng.integers(0, 7))
        fields[place] = pick(rng, NUMBERS) if place < 2 else pick(rng, (0, 1, 2, 3, 4, 6, 8, 16))
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", *fields))
    return data[:_PNG_HEAD] + header + data[33:]


@cache
def _bomb() -> bytes:
    return zlib.compress(bytes(100 * 2**20), 1)


def png_bomb(rng: Rng, data: bytes) -> bytes:
    """A hundred megabytes of zeros where a few rows belong: as pixels, a profile or a text."""
    bomb = _bomb()
    kind = pick(rng, (b"IDAT", b"iCCP", b"zTXt"))
    body = bomb if kind == b"IDAT" else b"x\0\0" + bomb
    chunks = [(k, b) for k, b in _chunks(data) if k != kind]
    place = 1 if kind != b"IDAT" else max(1, len(chunks) - 1)
    chunks.insert(place, (kind, body))
    return data[:_PNG_HEAD] + b"".join(png_chunk(*chunk) for chunk in chunks)


def _segments(data: bytes) -> list[int]:
    """Where the marker segments of a JPEG begin, up to its first scan."""
    found, place = [], 2
    while place + 4 <= len(data) and data[place] == 0xFF:
        found.append(place)
        if data[place + 1] == 0xDA:
            break
        place += 2 + int.from_bytes(data[place + 2 : place + 4], "big")
    return found


def jpeg_segments(rng: Rng, data: bytes) -> bytes:
    """Marker segments removed, doubled, renamed, of another length or with other contents."""
    for _ in range(int(rng.integers(1, 4))):
        places = _segments(data)
        if not places:
            break
        place = pick(rng, places)
        length = int.from_bytes(data[place + 2 : place + 4], "big")
        end = place + 2 + length
        how = int(rng.integers(0, 5))
        if how == 0:
            data = data[:place] + data[end:]
        elif how == 1:
            data = data[:end] + data[place:end] * int(rng.integers(1, 40)) + data[end:]
        elif how == 2:
            data = replaced(data, place + 1, bytes([int(rng.integers(0xC0, 0xFF))]))
        elif how == 3:
            data = replaced(data, place + 2, pick(rng, _SMALL).to_bytes(2, "big"))
        else:
            spot = place + 4 + int(rng.integers(0, max(1, length - 2)))
            data = replaced(data, spot, noise(rng, 3))
    return data


def jpeg_scans(rng: Rng, data: bytes) -> bytes:
    """The scan again and again: each costs a whole pass over the picture."""
    places = _segments(data)
    if not places or data[places[-1] + 1] != 0xDA:
        return data
    scan, end = data[places[-1] : -2], data[-2:]
    times = min(int(rng.integers(2, 1001)), 4 * 2**20 // max(1, len(scan)))
    return data[: places[-1]] + scan * times + end


def tiff_entries(rng: Rng, data: bytes) -> bytes:
    """Fields of the first directory with other types, counts and values."""
    order = "<" if data[:2] == b"II" else ">"
    big = struct.unpack(order + "H", data[2:4])[0] == 43
    wide, entry = ("Q", 20) if big else ("I", 12)
    size = struct.calcsize(wide)
    start = struct.unpack(order + wide, data[size : 2 * size])[0]
    counted = "Q" if big else "H"
    base = start + struct.calcsize(counted)
    if base > len(data):
        return data
    entries = struct.unpack(order + counted, data[start:base])[0]
    after = base + entries * entry
    for _ in range(int(rng.integers(1, 4))):
        place = base + entry * int(rng.integers(0, max(1, entries)))
        how = int(rng.integers(0, 5))
        number = pick(rng, NUMBERS)
        if how == 0:
            data = replaced(data, place + 2, struct.pack(order + "H", int(rng.integers(0, 20))))
        elif how == 1:
            data = replaced(data, place + 4, struct.pack(order + wide, number))
        elif how == 2:
            data = replaced(data, place + 4 + size, struct.pack(order + wide, number))
        elif how == 3:
            data = replaced(data, place + 4 + size, struct.pack(order + "H", number % 65536))
        else:  # the next directory: this one, the middle of it, or beyond the end
            target = pick(rng, (start, base, place, len(data), len(data) - 4))
            data = replaced(data, after, struct.pack(order + wide, target))
    return data


def bmp_header(rng: Rng, data: bytes) -> bytes:
    """Sizes, depths, compressions, offsets and masks of a bitmap."""
    for _ in range(int(rng.integers(1, 4))):
        place = pick(rng, (2, 10, 14, 18, 22, 26, 28, 30, 34, 46, 54, 58, 62, 66))
        size = 2 if place in (26, 28) else 4
        number = pick(rng, (*NUMBERS, 12, 24, 32, 40, 108, 124)) % (1 << 8 * size)
        data = replaced(data, place, number.to_bytes(size, "little"))
    return data


def webp_chunks(rng: Rng, data: bytes) -> bytes:
    """Chunk names, lengths and headers of a WebP; its own length put right again."""
    for _ in range(int(rng.integers(1, 4))):
        place = pick(rng, (12, 16, 20, 24, 26, 30, 38))
        kind = pick(rng, (b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF", b"ICCP", b"EXIF"))
        if rng.random() < 0.3:
            data = replaced(data, place, kind)
        elif rng.random() < 0.5:
            data = replaced(data, place, pick(rng, NUMBERS).to_bytes(4, "little"))
        else:
            body = noise(rng, 64)
            data = data[:12] + kind + len(body).to_bytes(4, "little") + body + data[12:]
    return replaced(data, 4, max(0, len(data) - 8).to_bytes(4, "little"))


BY_KIND: dict[str, tuple[Mutation, ...]] = {
    "png": (png_chunks, png_chunks, png_chunks, png_header, png_header, png_bomb),
    "jpeg": (jpeg_segments, jpeg_segments, jpeg_segments, jpeg_scans),
    "tiff": (tiff_entries,),
    "bmp": (bmp_header,),
    "webp": (webp_chunks,),
}
