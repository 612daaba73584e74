"""Opening a DICOM file: file meta information, transfer syntax, header, place of the pixels.

The pixel data is not read here, only found. Decoder child only.
"""

from __future__ import annotations

import io
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import pydicom.config
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.tag import BaseTag
from pydicom.uid import UID

from cases.errors import DicomInvalid, DicomTransferSyntax, ImageCorrupt
from cases.intake.privacy import READ

IMPLICIT_LITTLE = "1.2.840.10008.1.2"
EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"
DEFLATED = "1.2.840.10008.1.2.1.99"
EXPLICIT_BIG = "1.2.840.10008.1.2.2"
NATIVE = (IMPLICIT_LITTLE, EXPLICIT_LITTLE, DEFLATED, EXPLICIT_BIG)
UNDEFINED = 0xFFFFFFFF

_TAGS: list[BaseTag | int] = [BaseTag(tag) for tag in map(tag_for_keyword, READ) if tag is not None]
_PIXELS = {0x7FE00008: "float", 0x7FE00009: "double", 0x7FE00010: "integer"}
_PROGRAMS = (b"MZ", b"\x7fELF", b"#!", b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe")
_MAX_INFLATED = 1 << 29

# Values are checked where they are used, with words for people; pydicom need not.
pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE


@dataclass(frozen=True, slots=True)
class PixelElement:
    """Where the pixel data stands in the stream. `length` is `UNDEFINED` when encapsulated."""

    kind: str
    vr: str
    start: int
    length: int


@dataclass(frozen=True, slots=True)
class DicomFile:
    """An open DICOM file with its header read. `stream` is the data set, inflated if need be."""

    stream: BinaryIO
    size: int
    header: Dataset
    transfer_syntax: str
    little_endian: bool
    pixels: PixelElement | None


class _Watched(io.RawIOBase):
    """A stream that notes when more was asked of it than it holds.

    pydicom takes the end of a file for the end of the data set, even in the middle of a value.
    """

    def __init__(self, stream: BinaryIO, size: int) -> None:
        super().__init__()
        self._stream = stream
        self._size = size
        self.cut = False
        self._ended = False

    def read(self, size: int = -1) -> bytes:
        # A damaged length may ask for gigabytes: never more than there is.
        left = max(0, self._size - self._stream.tell())
        data = self._stream.read(min(size, left) if size >= 0 else left)
        if self._ended or 0 < len(data) < size:
            self.cut = True
        # One empty read of an element header is the proper end; anything after it is not.
        self._ended = size > 0 and not data
        self.cut |= self._ended and size != 8
        return data

    def seek(self, offset: int, whence: int = 0) -> int:
        position = self._stream.seek(offset, whence)
        self.cut |= position > self._size
        return position

    def tell(self) -> int:
        return self._stream.tell()


def open_dicom(path: Path) -> DicomFile:
    """Read the header of the file at `path` up to its pixel data.

    Raises `DicomInvalid` when the header cannot be read or is cut off, `DicomTransferSyntax` for
    encodings outside the standard, `ImageCorrupt` when deflated data is damaged. The caller
    closes `stream`.
    """
    stream = cast(BinaryIO, path.open("rb"))
    try:
        return _open(stream, path.stat().st_size)
    except (DicomInvalid, DicomTransferSyntax, ImageCorrupt, MemoryError):
        stream.close()
        raise
    except Exception as error:
        stream.close()
        raise DicomInvalid from error


def _open(stream: BinaryIO, size: int) -> DicomFile:
    start = _data_set_start(stream)
    syntax, start = _file_meta(stream, size, start)
    if syntax is not None and not _is_standard(syntax):
        raise DicomTransferSyntax(
            "The DICOM file uses an encoding outside the standard (private transfer syntax). "
            "Export it in a standard one."
        )
    if syntax == DEFLATED:
        stream.seek(start)
        inflated = _inflate(stream)
        stream.close()
        stream, size, start = inflated, len(inflated.getbuffer()), 0
    implicit, little = _encoding(stream, start, syntax)
    stream.seek(start)
    watched = _Watched(stream, size)
    header = read_dataset(
        cast(BinaryIO, watched),
        implicit,
        little,
        stop_when=lambda tag, vr, length: int(tag) in _PIXELS,
        specific_tags=_TAGS,
    )
    pixels = None
    if not watched.cut:
        pixels = _pixel_element(stream, size, implicit=implicit, little=little)
    if watched.cut or (pixels is None and stream.tell() < size):
        raise DicomInvalid("The DICOM file is cut off or damaged in its header. Export it again.")
    if syntax is None:
        syntax = IMPLICIT_LITTLE if implicit else EXPLICIT_LITTLE if little else EXPLICIT_BIG
    return DicomFile(stream, size, header, syntax, little, pixels)


def _data_set_start(stream: BinaryIO) -> int:
    head = stream.read(132)
    if head[128:] != b"DICM":
        return 0
    # The 128 free bytes can make one file both a DICOM image and a program (CVE-2019-11687).
    if head.startswith(_PROGRAMS):
        raise DicomInvalid("The DICOM file begins like a program and is not taken in.")
    return 132


def _file_meta(stream: BinaryIO, size: int, start: int) -> tuple[str | None, int]:
    """Transfer syntax (None when not stated) and where the data set begins (PS3.10 7.1)."""
    stream.seek(start)
    meta = read_dataset(
        cast(BinaryIO, _Watched(stream, size)),
        is_implicit_VR=False,
        is_little_endian=True,
        stop_when=lambda tag, vr, length: int(tag) >> 16 != 2,
    )
    after = stream.tell()
    syntax = str(meta.get("TransferSyntaxUID", "") or "").strip(" \x00")
    length = meta.get("FileMetaInformationGroupLength")
    # Deflated bytes look like anything, so there the stated length counts; elsewhere it is
    # wrong more often than the elements are.
    if syntax == DEFLATED and isinstance(length, int) and start + 12 + length <= size:
        after = start + 12 + length
    return syntax or None, after


def _is_standard(syntax: str) -> bool:
    """Whether the standard gives this transfer syntax out, be it later than our dictionary."""
    return syntax.startswith(IMPLICIT_LITTLE) and not UID(syntax).is_private


def _encoding(stream: BinaryIO, start: int, syntax: str | None) -> tuple[bool, bool]:
    """(implicit VR, little endian) by the transfer syntax, or by the first element."""
    if syntax is not None:
        return syntax == IMPLICIT_LITTLE, syntax != EXPLICIT_BIG
    stream.seek(start)
    first = stream.read(6)
    if len(first) < 6:
        raise DicomInvalid("The DICOM file is cut off or damaged in its header. Export it again.")
    if not (first[4:6].isalpha() and first[4:6].isupper()):
        return True, True
    return False, int.from_bytes(first[:2], "little") < 0x0400


def _pixel_element(
    stream: BinaryIO, size: int, *, implicit: bool, little: bool
) -> PixelElement | None:
    """The header of the pixel data element that the stream stands at; None at its end."""
    order: Any = "little" if little else "big"
    head = stream.read(12)
    if len(head) < 8:
        return None
    tag = int.from_bytes(head[:2], order) << 16 | int.from_bytes(head[2:4], order)
    if tag not in _PIXELS:
        return None
    if implicit:
        vr, at, length = "OW", 8, int.from_bytes(head[4:8], order)
    else:
        vr, at, length = head[4:6].decode("latin-1"), 12, int.from_bytes(head[8:12], order)
    start = stream.tell() - len(head) + at
    return PixelElement(_PIXELS[tag], vr, min(start, size), length)


def _inflate(stream: BinaryIO) -> io.BytesIO:
    """The deflated data set (PS3.5 A.5), up to a size that no honest image needs."""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    out = io.BytesIO()
    try:
        while not inflater.eof and (chunk := stream.read(1 << 16)):
            out.write(inflater.decompress(chunk, _MAX_INFLATED - out.tell() + 1))
            if out.tell() > _MAX_INFLATED:
                raise ImageCorrupt("The compressed DICOM file unfolds to an absurd size.")
    except zlib.error as error:
        raise ImageCorrupt from error
    if not inflater.eof:
        raise ImageCorrupt("The DICOM file is cut off in its pixel data. Export it again.")
    return out
