"""Mutations of DICOM files that keep to their structure (PS3.5 section 7, PS3.10)."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from functools import cache

from bench.fuzz.bits import ANY, NUMBERS, Mutation, Rng, noise, pick, replaced
from cases.intake.dicom_pixels import READABLE

_LONG = (b"OB", b"OW", b"OF", b"OD", b"OL", b"OV", b"SQ", b"UT", b"UN", b"UC", b"UR", b"SV", b"UV")
_VRS = (b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FL", b"FD", b"IS", b"LO", b"LT", b"PN",
        b"SH", b"SL", b"SS", b"ST", b"TM", b"UI", b"UL", b"US", *_LONG, b"ZZ", b"\0\0")  # fmt: skip
_DEFLATED = b"1.2.840.10008.1.2.1.99"
_PIXELS = 0x7FE00010
_UNDEFINED = 0xFFFFFFFF
# A file of zeros is a million empty elements: enough is enough for a mutation.
_MOST_ELEMENTS = 3000
# Numbers that decide how much is read: rows, columns, samples, planes, bits, sign, frames.
_LAYOUT = {0x00280002: "H", 0x00280006: "H", 0x00280010: "H", 0x00280011: "H", 0x00280100: "H",
           0x00280101: "H", 0x00280102: "H", 0x00280103: "H"}  # fmt: skip
_COLOURS = (b"MONOCHROME1", b"MONOCHROME2", b"RGB", b"YBR_FULL", b"YBR_FULL_422", b"YBR_RCT",
            b"YBR_ICT", b"YBR_PARTIAL_422", b"PALETTE COLOR", b"HSV", b"")  # fmt: skip
_STRINGS = (b"", b"-1", b"0", b"1e308", b"nan", b"99999999999999999999", b"1\\2\\3", b"\xff\xfe",
            b"\x1b$B", b"A" * 70_000)  # fmt: skip


@dataclass(frozen=True)
class Element:
    """An element of the data set: where its header, its length field and its value are."""

    tag: int
    vr: bytes
    start: int
    length_at: int
    length_size: int
    value: int
    end: int


@dataclass(frozen=True)
class Parsed:
    """A data set: what stands before it, its bytes, its encoding and its elements."""

    head: bytes
    body: bytes
    order: str
    implicit: bool
    deflated: bool
    elements: tuple[Element, ...]

    def put(self, body: bytes) -> bytes:
        """The file with another data set."""
        if not self.deflated:
            return self.head + body
        packer = zlib.compressobj(wbits=-15)
        return self.head + packer.compress(body) + packer.flush()

    def find(self, tag: int) -> Element | None:
        return next((element for element in self.elements if element.tag == tag), None)


def parse(data: bytes) -> Parsed:
    """The elements of a file that is still valid; as far as it goes otherwise."""
    start, syntax = 0, b""
    if data[128:132] == b"DICM":
        meta = _elements(data, 132, "<", implicit=False, group=2)
        start = meta[-1].end if meta else 132
        stated = next((e for e in meta if e.tag == 0x00020010), None)
        syntax = data[stated.value : stated.end].strip(b"\0 ") if stated else b""
    head, body = data[:start], data[start:]
    deflated = syntax == _DEFLATED
    if deflated:
        try:
            body = zlib.decompressobj(wbits=-15).decompress(body, 2**22)
        except zlib.error:
            deflated = False
    order = ">" if syntax == b"1.2.840.10008.1.2.2" else "<"
    implicit = syntax == b"1.2.840.10008.1.2"
    elements = _elements(body, 0, order, implicit=implicit)
    return Parsed(head, body, order, implicit, deflated, tuple(elements))


def _elements(
    data: bytes, place: int, order: str, *, implicit: bool, group: int | None = None
) -> list[Element]:
    found: list[Element] = []
    while place + 8 <= len(data) and len(found) < _MOST_ELEMENTS:
        high, low = struct.unpack(order + "HH", data[place : place + 4])
        if group is not None and high != group:
            break
        vr = b"" if implicit else data[place + 4 : place + 6]
        long = implicit or vr in _LONG
        at, size = (place + 4, 4) if implicit else (place + 8, 4) if long else (place + 6, 2)
        if at + size > len(data):
            break
        length = struct.unpack(order + ("I" if size == 4 else "H"), data[at : at + size])[0]
        value = at + size
        end = len(data) if length == _UNDEFINED else min(len(data), value + length)
        found.append(Element(high << 16 | low, vr, place, at, size, value, end))
        place = end
    return found


def _set(parsed: Parsed, element: Element, value: bytes) -> bytes:
    """The data set with another value of `element`, and its length put right."""
    value += b" " * (len(value) % 2)
    length = len(value) % (1 << 8 * element.length_size)
    kind = "I" if element.length_size == 4 else "H"
    field = struct.pack(parsed.order + kind, length)
    body = parsed.body
    return body[: element.length_at] + field + value + body[element.end :]


def layout(rng: Rng, data: bytes) -> bytes:
    """Rows, columns, samples, bits and sign as they are not."""
    parsed = parse(data)
    element = parsed.find(pick(rng, tuple(_LAYOUT)))
    if element is None:
        return data
    number = pick(rng, (*NUMBERS[:15], 3, 12, 55, 57, 65, 32, 24)) % 65536
    return parsed.put(_set(parsed, element, struct.pack(parsed.order + "H", number)))


def frames(rng: Rng, data: bytes) -> bytes:
    """Another number of frames, or a text in its place."""
    parsed = parse(data)
    element = parsed.find(0x00280008) or parsed.find(0x00080060)
    if element is None:
        return data
    value = pick(rng, (*_STRINGS, *(str(n).encode() for n in (0, 2, 4, 1999, 2001, 2**31, -5))))
    return parsed.put(_set(parsed, element, value))


def colours(rng: Rng, data: bytes) -> bytes:
    """Another colour model."""
    parsed = parse(data)
    element = parsed.find(0x00280004)
    return parsed.put(_set(parsed, element, pick(rng, _COLOURS))) if element else data


def syntax(rng: Rng, data: bytes) -> bytes:
    """Another transfer syntax for the same bytes."""
    at = data.find(b"1.2.840.10008.1.2", 132)
    if data[128:132] != b"DICM" or at < 0:
        return data
    length = int.from_bytes(data[at - 2 : at], "little")
    new = pick(rng, sorted(READABLE)).encode().ljust(length, b"\0")[:length]
    return replaced(data, at, new)


def value_type(rng: Rng, data: bytes) -> bytes:
    """Another VR for an element."""
    parsed = parse(data)
    if not parsed.elements or parsed.implicit:
        return data
    element = pick(rng, parsed.elements)
    return parsed.put(replaced(parsed.body, element.start + 4, pick(rng, _VRS)))


def length(rng: Rng, data: bytes) -> bytes:
    """Another length of an element."""
    parsed = parse(data)
    if not parsed.elements:
        return data
    element = pick(rng, parsed.elements)
    number = pick(rng, NUMBERS) % (1 << 8 * element.length_size)
    kind = "I" if element.length_size == 4 else "H"
    field = struct.pack(parsed.order + kind, number)
    return parsed.put(replaced(parsed.body, element.length_at, field))


def value(rng: Rng, data: bytes) -> bytes:
    """Another value of an element, of a right length."""
    parsed = parse(data)
    if not parsed.elements:
        return data
    element = pick(rng, parsed.elements[:-1] or parsed.elements)
    new = pick(rng, _STRINGS) if rng.random() < 0.5 else noise(rng, 300)
    return parsed.put(_set(parsed, element, new))


def order(rng: Rng, data: bytes) -> bytes:
    """An element removed, doubled many times or moved."""
    parsed = parse(data)
    if not parsed.elements:
        return data
    element, other = pick(rng, parsed.elements), pick(rng, parsed.elements)
    body = parsed.body
    part = body[element.start : element.end]
    how = int(rng.integers(0, 3))
    if how == 0:
        return parsed.put(body[: element.start] + body[element.end :])
    times = min(int(rng.integers(1, 20_000)), 4 * 2**20 // max(1, len(part))) if how == 1 else 1
    return parsed.put(body[: other.start] + part * times + body[other.start :])


def nested(rng: Rng, data: bytes) -> bytes:
    """A sequence within a sequence within a sequence, with or without lengths."""
    parsed = parse(data)
    if not parsed.elements:
        return data
    place = pick(rng, parsed.elements).start
    depth = pick(rng, (3, 50, 400, 3000, 50_000))
    tag = pick(rng, ((0x0018, 0x6011), (0x0008, 0x2218), (0x0028, 0x3000), (0x0040, 0xA730)))
    o = parsed.order
    long = b"" if parsed.implicit else b"SQ\0\0"
    begin = struct.pack(o + "HH", *tag) + long + struct.pack(o + "I", _UNDEFINED)
    begin += struct.pack(o + "HHI", 0xFFFE, 0xE000, _UNDEFINED)
    end = struct.pack(o + "HHI", 0xFFFE, 0xE00D, 0) + struct.pack(o + "HHI", 0xFFFE, 0xE0DD, 0)
    tail = end * depth if rng.random() < 0.7 else b""
    return parsed.put(parsed.body[:place] + begin * depth + tail + parsed.body[place:])


def fragments(rng: Rng, data: bytes) -> bytes:
    """Offset table, item tags and item lengths of encapsulated pixels."""
    parsed = parse(data)
    pixels = parsed.find(_PIXELS)
    if pixels is None:
        return data
    body, place = parsed.body, pixels.value
    places: list[int] = []
    while place + 8 <= len(body) and len(places) < 64:
        places.append(place)
        size = int.from_bytes(body[place + 4 : place + 8], "little")
        place += 8 + size
    for _ in range(int(rng.integers(1, 4))):
        place = pick(rng, places) if places else pixels.value
        size = int.from_bytes(body[place + 4 : place + 8], "little")
        how = int(rng.integers(0, 6))
        if how == 0:
            body = replaced(body, place + 4, pick(rng, NUMBERS).to_bytes(4, "little"))
        elif how == 1:
            body = replaced(body, place, pick(rng, (b"\xfe\xff\xdd\xe0", b"\xfe\xff\x0d\xe0")))
        elif how == 2:
            body = replaced(body, place + 8, noise(rng, 8))
        elif how == 3:
            part = body[place : place + 8 + size]
            most = 4 * 2**20 // max(1, len(part))
            times = min(int(rng.integers(1, 5000)), most)
            body = body[:place] + part * times + body[place:]
        elif how == 4:
            body = body[:place] + b"\xfe\xff\x00\xe0" + noise(rng, 64) + body[place:]
        else:
            body = body[:place] + body[place + 8 + size :]
    return parsed.put(body)


def stream(rng: Rng, data: bytes) -> bytes:
    """Bytes within the pixel data only, so that its decoder is what meets them."""
    parsed = parse(data)
    pixels = parsed.find(_PIXELS)
    if pixels is None or pixels.end - pixels.value < 40:
        return data
    body = parsed.body
    inside = body[pixels.value + 16 : pixels.end]
    changed = pick(rng, ANY)(rng, inside)
    return parsed.put(body[: pixels.value + 16] + changed + body[pixels.end :])


@cache
def _zeros() -> bytes:
    packer, piece = zlib.compressobj(1, wbits=-15), bytes(2**20)
    return b"".join(packer.compress(piece) for _ in range(1024)) + packer.flush()


def bomb(rng: Rng, data: bytes) -> bytes:
    """A gigabyte of zeros, deflated to a megabyte, as the data set or at its end."""
    parsed = parse(data)
    if not parsed.deflated:
        return stream(rng, data)
    if rng.random() < 0.5:
        return parsed.head + _zeros()
    packer = zlib.compressobj(wbits=-15)
    begun = packer.compress(parsed.body) + packer.flush(zlib.Z_FULL_FLUSH)
    return parsed.head + begun + _zeros()


DICOM: tuple[Mutation, ...] = (
    layout, layout, frames, colours, syntax, value_type, length, length, value, value, order,
    nested, fragments, fragments, fragments, stream, stream, stream, stream, bomb,
)  # fmt: skip
