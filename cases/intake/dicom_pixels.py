"""DICOM pixel data: where each frame lies, and decoding one frame at a time.

Nothing larger than one frame is held. Decoder child only. PS3.3 C.7.6.3, PS3.5 section 8 and
annex A.
"""

from __future__ import annotations

import io
from typing import Any

import gdcm
import numpy as np
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import UID

from cases.errors import (
    DicomFrameMismatch,
    DicomInvalid,
    DicomTransferSyntax,
    ImageCorrupt,
    UserFacingError,
)
from cases.intake.codestream import J2K_START, JPEG_START, read_j2k, scan_jpeg
from cases.intake.dicom_file import EXPLICIT_BIG, NATIVE, UNDEFINED, DicomFile
from cases.intake.dicom_layout import Array, Layout

Span = tuple[int, int]

RLE = "1.2.840.10008.1.2.5"
JPEG_BASELINE = "1.2.840.10008.1.2.4.50"
JPEG_EXTENDED = "1.2.840.10008.1.2.4.51"
_JPEG_LOSSLESS = ("1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70")
_JPEG_LS = ("1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81")
_JPEG_2000 = ("1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91")
_HTJ2K = tuple(f"1.2.840.10008.1.2.4.{n}" for n in (201, 202, 203))
_JPEG_2000_FAMILY = (*_JPEG_2000, *_HTJ2K)
# One decoder per encoding: the strictest of those installed.
_PLUGIN = {
    RLE: "pydicom",
    **dict.fromkeys(_JPEG_LOSSLESS, "gdcm"),
    **dict.fromkeys(_JPEG_LS, "pyjpegls"),
    **dict.fromkeys(_JPEG_2000_FAMILY, "pylibjpeg"),
}
READABLE = frozenset((*NATIVE, JPEG_BASELINE, JPEG_EXTENDED, *_PLUGIN))
_START_OF_FRAME = {
    **dict.fromkeys((JPEG_BASELINE, JPEG_EXTENDED, *_JPEG_LOSSLESS, *_JPEG_LS), JPEG_START),
    **dict.fromkeys(_JPEG_2000_FAMILY, J2K_START),
}
_SUBSAMPLED = ("YBR_FULL_422", "YBR_PARTIAL_422")
_ITEM, _END_OF_ITEMS = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0"

_CUT = "The DICOM image is cut off: its pixel data is not complete. Export it again."


class Frames:
    """The frames of an open file, found and counted; decoded one by one on demand."""

    def __init__(self, file: DicomFile, layout: Layout) -> None:
        """Finds every frame. Raises `DicomTransferSyntax`, `DicomFrameMismatch` (a whole other
        number of frames than announced), `ImageCorrupt` (cut off) or `DicomInvalid`."""
        if file.pixels is None:
            raise DicomInvalid
        self.file = file
        self.layout = layout
        self.syntax = file.transfer_syntax
        if self.syntax not in READABLE:
            raise DicomTransferSyntax(unreadable(self.syntax))
        encapsulated = self.syntax not in NATIVE
        if encapsulated != (file.pixels.length == UNDEFINED):
            raise DicomInvalid("The DICOM header and its pixel data disagree about compression.")
        if layout.photometric in ("YBR_RCT", "YBR_ICT") and self.syntax not in _JPEG_2000_FAMILY:
            raise DicomInvalid(
                f"The DICOM header states a colour model ({layout.photometric}) that exists in "
                "JPEG 2000 only, and its pixels are stored otherwise."
            )
        self.spans = self._encapsulated() if encapsulated else self._native()

    def __len__(self) -> int:
        return len(self.spans)

    @property
    def compressed(self) -> bool:
        """Whether decoding can fail frame by frame (native pixels are only counted)."""
        return self.syntax not in NATIVE

    def decode(self, index: int) -> tuple[Array, str]:
        """Frame `index` as rows x columns (x 3), uint8, uint16 or int16, with its colour model.

        Raises `ImageCorrupt` when it cannot be decoded whole.
        """
        try:
            if not self.compressed:
                return self._decode_native(index)
            data = self._read(self.spans[index])
            if self.syntax in (JPEG_BASELINE, JPEG_EXTENDED):
                return self._decode_jpeg(data)
            return self._decode_other(data)
        except (UserFacingError, MemoryError):
            raise
        except Exception as error:
            raise ImageCorrupt from error

    # Finding frames

    def _native(self) -> list[list[Span]]:
        pixels, layout = self._pixels, self.layout
        if pixels.start + pixels.length > self.file.size:
            raise ImageCorrupt(_CUT)
        length = self._native_length()
        held = pixels.length // length
        # One frame's worth of surplus would be a frame; less is padding.
        if held != layout.frames:
            if held == 0:
                raise ImageCorrupt(_CUT)
            raise _mismatch(layout.frames, held)
        return [[(pixels.start + i * length, length)] for i in range(layout.frames)]

    def _native_length(self) -> int:
        """Bytes of one frame."""
        layout = self.layout
        whole = layout.pixels * layout.samples * layout.allocated // 8
        if layout.photometric not in _SUBSAMPLED:
            return whole
        # Some writers say 4:2:2 and store all samples.
        return whole if self._pixels.length >= whole * layout.frames else whole // 3 * 2

    def _encapsulated(self) -> list[list[Span]]:
        """Fragments put together to frames (PS3.5 A.4)."""
        fragments, offsets, ended = self._fragments()
        frames = self.layout.frames
        groups = _by_offsets(fragments, offsets, frames) or self._by_content(fragments)
        if groups is None or len(groups) != frames:
            if not ended:
                raise ImageCorrupt(_CUT)
            raise _mismatch(frames, len(fragments) if groups is None else len(groups))
        return groups

    def _by_content(self, fragments: list[Span]) -> list[list[Span]] | None:
        """By the marker that every frame begins with; one fragment per frame for RLE."""
        marker = _START_OF_FRAME.get(self.syntax)
        if marker is None:
            return [[span] for span in fragments]
        groups: list[list[Span]] = []
        for start, length in fragments:
            self.file.stream.seek(start)
            if self.file.stream.read(len(marker)) == marker:
                groups.append([])
            if not groups:
                return None
            groups[-1].append((start, length))
        return groups

    def _fragments(self) -> tuple[list[Span], list[int], bool]:
        """All fragments, the offset table, and whether the end of the sequence was there."""
        stream, size = self.file.stream, self.file.size
        position = self._pixels.start
        fragments: list[Span] = []
        most = 64 * self.layout.frames + 4096
        while position + 8 <= size:
            stream.seek(position)
            head = stream.read(8)
            if head[:4] == _END_OF_ITEMS:
                return fragments[1:], self._offset_table(fragments), True
            length = int.from_bytes(head[4:], "little")
            if head[:4] != _ITEM or len(fragments) > most:
                raise ImageCorrupt
            if position + 8 + length > size:
                raise ImageCorrupt(_CUT)
            fragments.append((position + 8, length))
            position += 8 + length
        return fragments[1:], self._offset_table(fragments), False

    def _offset_table(self, items: list[Span]) -> list[int]:
        """The basic offset table, or the extended one of large files in its place."""
        if not items or items[0][1] > 4 * self.layout.frames:
            return []
        extended = self.file.header.get("ExtendedOffsetTable")
        if not items[0][1] and isinstance(extended, bytes):
            whole = extended[: min(len(extended), 8 * self.layout.frames) // 8 * 8]
            return [int(v) for v in np.frombuffer(whole, dtype="<u8")]
        data = self._read(items[:1])
        return [int(v) for v in np.frombuffer(data[: len(data) // 4 * 4], dtype="<u4")]

    def _read(self, spans: list[Span]) -> bytes:
        parts = []
        for start, length in spans:
            self.file.stream.seek(start)
            parts.append(self.file.stream.read(length))
        return b"".join(parts)

    @property
    def _pixels(self) -> Any:
        return self.file.pixels

    # Decoding

    def _decode_native(self, index: int) -> tuple[Array, str]:
        layout, big = self.layout, self.syntax == EXPLICIT_BIG
        start, length = self.spans[index][0]
        if layout.allocated == 8 and big and self._pixels.vr == "OW":
            # Bytes stand in swapped pairs (PS3.5 annex A.3), counted from the first frame.
            odd = (start - self._pixels.start) % 2
            data = self._read([(start - odd, length + odd + (length + odd) % 2)])
            values: Array = np.frombuffer(data, "u2").byteswap().view("u1")[odd : odd + length]
        else:
            kind = "i" if layout.signed else "u"
            order = ">" if big else "<"
            dtype = f"{order}{kind}{layout.allocated // 8}"
            values = np.frombuffer(self._read(self.spans[index]), dtype)
            values = values.astype(values.dtype.newbyteorder("="), copy=False)
        if layout.photometric in _SUBSAMPLED and values.size < layout.pixels * 3:
            return self._expand_422(values), layout.photometric
        return self._unused_bits(self._shape(values)), layout.photometric

    def _shape(self, values: Array) -> Array:
        layout = self.layout
        if layout.samples == 1:
            return values.reshape(layout.rows, layout.columns)
        if layout.planar == 0:
            return values.reshape(layout.rows, layout.columns, 3)
        return values.reshape(3, layout.rows, layout.columns).transpose(1, 2, 0)

    def _expand_422(self, values: Array) -> Array:
        """Y1 Y2 CB CR -> Y1 CB CR, Y2 CB CR (PS3.3 C.7.6.3.1.2)."""
        layout = self.layout
        quads = values.reshape(-1, 4)
        out = np.empty((quads.shape[0], 2, 3), values.dtype)
        out[:, :, 0] = quads[:, :2]
        out[:, :, 1:] = quads[:, None, 2:]
        return out.reshape(layout.rows, layout.columns, 3)

    def _unused_bits(self, values: Array) -> Array:
        """Only the stored bits, right-justified, sign kept: the others may hold anything."""
        layout = self.layout
        if layout.stored == layout.allocated:
            return values
        up = layout.allocated - 1 - layout.high_bit
        return (values << up) >> (layout.allocated - layout.stored)

    def _decode_jpeg(self, data: bytes) -> tuple[Array, str]:
        """8-bit JPEG through libjpeg; its colour model by the stream, then by the header."""
        layout = self.layout
        scan = scan_jpeg(data)
        deep = scan.precision == 12 and self.syntax == JPEG_EXTENDED and layout.samples == 1
        if scan.precision not in (0, 8) and not deep:
            raise DicomTransferSyntax(
                f"The DICOM image is a JPEG of {scan.precision} bits, which is not read here. "
                "Export it uncompressed."
            )
        self._same_size(scan.width, scan.height, len(scan.component_ids), complete=scan.complete)
        if deep:
            return self._decode_twelve_bits(data), layout.photometric
        with Image.open(io.BytesIO(data), formats=["JPEG"]) as image:
            if layout.samples == 1:
                image.load()
                return np.asarray(image), layout.photometric
            if scan.is_ycc is None and layout.photometric == "RGB":
                # Nothing in the stream says so, but the header does: the samples are RGB as they
                # are. libjpeg would guess YCbCr; asked for YCbCr it leaves them alone.
                image.draft("YCbCr", image.size)
            image.load()
            return np.asarray(image), "RGB"

    def _decode_twelve_bits(self, data: bytes) -> Array:
        """Extended JPEG of 12 bits through gdcm, which pydicom does not let do it."""
        layout = self.layout
        if layout.allocated != 16 or layout.stored < 12:
            raise DicomInvalid("The DICOM header and the image in it disagree about its bits.")
        fragment = gdcm.Fragment()
        fragment.SetByteStringValue(data)
        fragments = gdcm.SequenceOfFragments.New()
        fragments.AddFragment(fragment)
        element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
        element.SetValue(fragments.__ref__())
        image = gdcm.Image()
        image.SetNumberOfDimensions(2)
        image.SetDimensions((layout.columns, layout.rows, 1))
        image.SetDataElement(element)
        grey = gdcm.PhotometricInterpretation.GetPIType("MONOCHROME2")
        image.SetPhotometricInterpretation(gdcm.PhotometricInterpretation(grey))
        syntax = gdcm.TransferSyntax.GetTSType(JPEG_EXTENDED)
        image.SetTransferSyntax(gdcm.TransferSyntax(syntax))
        image.SetPixelFormat(gdcm.PixelFormat(1, 16, 12, 11, 0))
        # gdcm hands bytes out as text.
        samples = image.GetBuffer().encode("utf-8", "surrogateescape")
        return np.frombuffer(samples, "<u2").reshape(layout.rows, layout.columns)

    def _decode_other(self, data: bytes) -> tuple[Array, str]:
        layout = self.layout
        if self.syntax in _JPEG_2000_FAMILY:
            found = read_j2k(data)
            if found is None:
                raise ImageCorrupt
            self._same_size(found.width, found.height, found.components, complete=found.complete)
        elif self.syntax != RLE:
            scan = scan_jpeg(data)
            parts = len(scan.component_ids)
            self._same_size(scan.width, scan.height, parts, complete=scan.complete)
        # gdcm ends the process where bytes are to hold fewer than eight bits.
        whole = self.syntax in _JPEG_LOSSLESS and layout.allocated == 8
        options: dict[str, Any] = {
            "decoding_plugin": _PLUGIN[self.syntax],
            "rows": layout.rows,
            "columns": layout.columns,
            "number_of_frames": 1,
            "samples_per_pixel": layout.samples,
            "bits_allocated": layout.allocated,
            "bits_stored": 8 if whole else layout.stored,
            "photometric_interpretation": layout.photometric,
            "pixel_representation": int(layout.signed),
            "planar_configuration": layout.planar,
            "pixel_keyword": "PixelData",
        }
        array, properties = get_decoder(UID(self.syntax)).as_array(
            encapsulate([data], has_bot=False), index=0, raw=True, **options
        )
        return array, str(properties["photometric_interpretation"])

    def _same_size(self, width: int, height: int, samples: int, *, complete: bool) -> None:
        layout = self.layout
        if not complete:
            raise ImageCorrupt(_CUT)
        if (width, height, samples) != (layout.columns, layout.rows, layout.samples):
            raise ImageCorrupt("The DICOM header and the image in it disagree about its size.")


def _by_offsets(fragments: list[Span], offsets: list[int], frames: int) -> list[list[Span]] | None:
    """Fragments grouped by an offset table; None when it does not fit them."""
    if len(offsets) != frames or not fragments or offsets[0] != 0:
        return None
    first = fragments[0][0] - 8
    at = {start - 8 - first: i for i, (start, _) in enumerate(fragments)}
    begins = [at.get(offset) for offset in offsets]
    if None in begins or begins != sorted(set(begins), key=lambda i: i or 0):
        return None
    ends = [*begins[1:], len(fragments)]
    return [fragments[begin:end] for begin, end in zip(begins, ends, strict=True)]


def _mismatch(announced: int, held: int) -> DicomFrameMismatch:
    return DicomFrameMismatch(
        f"The DICOM header announces {announced:,} frame{'s' * (announced != 1)}, "
        f"its pixel data holds {held:,}."
    )


def unreadable(syntax: str) -> str:
    """The sentence that names a transfer syntax which is not read here."""
    uid = UID(syntax)
    known = uid.type == "Transfer Syntax"
    how = f"as {uid.name}, which is not read here" if known else "in a way not known here"
    return (
        f"The DICOM file is compressed {how}. "
        "Export it uncompressed, or as JPEG, JPEG-LS, JPEG 2000 or RLE."
    )
