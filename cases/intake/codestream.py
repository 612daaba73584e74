"""Reading the structure of JPEG and JPEG 2000 streams without decoding them.

Pillow and the DICOM decoders are lenient: they fill what is missing with grey and say nothing.
Whether a stream is whole, how large it is and which colours it holds is therefore read here, from
the markers (ISO/IEC 10918-1 Annex B, 14495-1 Annex C, 15444-1 Annex A).
"""

from __future__ import annotations

import mmap
import re
from dataclasses import dataclass, field

Bytes = bytes | memoryview | mmap.mmap

JPEG_START = b"\xff\xd8\xff"
J2K_START = b"\xff\x4f\xff\x51"

# A marker inside entropy-coded data: not a stuffed zero, not a restart, not fill. JPEG-LS stuffs
# a bit instead of a byte, so there only 0x80 and above ends a scan; that holds for JPEG as well.
_NEXT_MARKER = re.compile(rb"\xff+[\x80-\xcf\xd8-\xfe]")
_STANDALONE = frozenset((0x01, *range(0xD0, 0xD9)))
# SOF0 to SOF15 without DHT (C4), JPG (C8) and DAC (CC), and JPEG-LS.
_SOF = frozenset({*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC})
_EOI, _SOS, _APP0, _APP14 = 0xD9, 0xDA, 0xE0, 0xEE
_MAX_SEGMENTS = 20_000


@dataclass(slots=True)
class JpegScan:
    """What the markers of a JPEG or JPEG-LS stream say."""

    sof: int = 0
    """Frame marker: 0xC0 baseline, 0xC1 extended, 0xC2 progressive, 0xC3 lossless, 0xF7 JPEG-LS;
    0 when there is none."""
    width: int = 0
    height: int = 0
    precision: int = 0
    """Bits per sample."""
    component_ids: tuple[int, ...] = field(default=())
    subsampled: bool = False
    """Not all components have the same sampling: then the colours are YCbCr, whoever says what."""
    jfif: bool = False
    adobe_transform: int | None = None
    """0 none, 1 YCbCr, 2 YCCK; None without the marker."""
    complete: bool = False
    """The end marker was reached after at least one scan."""

    @property
    def is_ycc(self) -> bool | None:
        """Whether three components are YCbCr; None when the stream itself does not tell."""
        if self.jfif or (self.subsampled and len(self.component_ids) == 3):
            return True
        if self.adobe_transform is not None:
            return self.adobe_transform == 1
        if self.component_ids in ((0x52, 0x47, 0x42), (0x72, 0x67, 0x62)):
            return False
        return None


def scan_jpeg(data: Bytes, *, header_only: bool = False) -> JpegScan:
    """Walk the markers of `data` up to its end marker (or its first scan with `header_only`).

    Never raises: what cannot be read leaves `complete` False. Bytes after the end marker are
    ignored, as devices append their own.
    """
    scan = JpegScan()
    end = len(data)
    position = 2
    scans = 0
    for _ in range(_MAX_SEGMENTS):
        found = _NEXT_MARKER.search(data, position) if scans else None
        if scans and found is None:
            return scan
        marker_at = found.end() - 1 if found else _marker_at(data, position)
        if marker_at is None:
            return scan
        marker = data[marker_at]
        position = marker_at + 1
        if marker == _EOI:
            scan.complete = scans > 0
            return scan
        if marker in _STANDALONE:
            continue
        length = int.from_bytes(data[position : position + 2], "big")
        if length < 2 or position + length > end:
            return scan
        _read_segment(scan, marker, bytes(data[position + 2 : position + min(length, 64)]))
        position += length
        if marker == _SOS:
            if header_only:
                return scan
            scans += 1
    return scan


def _marker_at(data: Bytes, position: int) -> int | None:
    """The index of the marker code at `position`, past fill bytes; None when there is none."""
    if position >= len(data) or data[position] != 0xFF:
        return None
    while position < len(data) and data[position] == 0xFF:
        position += 1
    return position if position < len(data) else None


def _read_segment(scan: JpegScan, marker: int, body: bytes) -> None:
    if marker in _SOF and len(body) >= 6:
        scan.sof = marker
        scan.precision = body[0]
        scan.height = int.from_bytes(body[1:3], "big")
        scan.width = int.from_bytes(body[3:5], "big")
        scan.component_ids = tuple(body[6 : 6 + 3 * body[5] : 3])
        scan.subsampled = len(set(body[7 : 6 + 3 * body[5] : 3])) > 1
    elif marker == _APP0 and body.startswith(b"JFIF\x00"):
        scan.jfif = True
    elif marker == _APP14 and body.startswith(b"Adobe") and len(body) >= 12:
        scan.adobe_transform = body[11]


@dataclass(frozen=True, slots=True)
class J2kHeader:
    """The image size of a JPEG 2000 codestream and whether its end marker is there."""

    width: int
    height: int
    components: int
    complete: bool


def read_j2k(data: bytes) -> J2kHeader | None:
    """The SIZ marker segment of a JPEG 2000 codestream; None when it does not begin with one."""
    if not data.startswith(J2K_START) or len(data) < 42:
        return None
    x1, y1, x0, y0 = (int.from_bytes(data[8 + 4 * i : 12 + 4 * i], "big") for i in range(4))
    components = int.from_bytes(data[40:42], "big")
    # Frames are padded to an even length, with whatever; packets never hold the end marker.
    complete = b"\xff\xd9" in data[-64:]
    return J2kHeader(x1 - x0, y1 - y0, components, complete)
