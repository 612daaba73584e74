"""What a file is, by its content. The name and the declared type are never asked.

`sniff` answers with one of the accepted formats or with the name of a known other one, so that
the refusal can say what was sent. Runs in the decoder child.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from cases.intake.codestream import JPEG_START, Bytes

PNG_START = b"\x89PNG\r\n\x1a\n"
_HEAD_BYTES = 4096
MEDIA_TYPES = {
    "JPEG": "image/jpeg",
    "PNG": "image/png",
    "BMP": "image/bmp",
    "TIFF": "image/tiff",
    "WEBP": "image/webp",
    "DICOM": "application/dicom",
}
"""The accepted formats by the names that the rest of the service knows them under."""
AS_SENT = frozenset(("JPEG", "PNG"))
"""Formats whose bytes the model reads as they were sent; of all others it reads a picture drawn at
intake."""
SEND = "Send JPEG, PNG, BMP, TIFF, WebP or DICOM."


@dataclass(frozen=True, slots=True)
class Sniffed:
    """`accepted` is a key of `MEDIA_TYPES` or ""; `name` is what to call the file in a sentence."""

    accepted: str
    name: str
    animated: bool = False


# Beginnings of formats that people send by mistake. Order matters: the first match names it.
_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"\x00\x00\x00\x0cjP  \r\n\x87\n", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"\x00\x00\x00\x0cJXL ", "JPEG XL"),
    (b"\xff\x0a", "JPEG XL"),
    (b"8BPS", "Photoshop"),
    (b"%PDF-", "PDF"),
    (b"%!PS", "PostScript"),
    (b"{\\rtf", "RTF"),
    (b"PK\x03\x04", "ZIP or Office"),
    (b"PK\x05\x06", "ZIP"),
    (b"Rar!\x1a\x07", "RAR"),
    (b"7z\xbc\xaf\x27\x1c", "7-Zip"),
    (b"\x1f\x8b", "gzip"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"(\xb5/\xfd", "Zstandard"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "old Office"),
    (b"\x1aE\xdf\xa3", "Matroska or WebM video"),
    (b"\x00\x00\x01\xba", "MPEG video"),
    (b"\x00\x00\x01\xb3", "MPEG video"),
    (b"OggS", "Ogg"),
    (b"NRRD", "NRRD"),
    (b"\x89HDF\r\n\x1a\n", "HDF5"),
    (b"\x93NUMPY", "NumPy"),
    (b"\x7fELF", "a program"),
    (b"\x00\x00\x01\x00", "icon"),
)
_TIFF = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")
BMP_HEADERS = (12, 40, 52, 56, 64, 108, 124)
_RIFF = {b"AVI ": "AVI video", b"WAVE": "WAV sound"}
_HEIF = (b"heic", b"heix", b"heim", b"heis", b"mif1", b"hevc", b"hevx", b"msf1")
_TEXT = re.compile(rb"[\t\n\r\x20-\x7e\x80-\xff]*\Z")
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


def sniff(data: Bytes) -> Sniffed:
    """Name the format of a file from its bytes, mostly the first few. Never raises."""
    head = bytes(data[:_HEAD_BYTES])
    if head[128:132] == b"DICM":
        return Sniffed("DICOM", "DICOM")
    if head.startswith(JPEG_START):
        return Sniffed("JPEG", "JPEG")
    if head.startswith(PNG_START):
        return Sniffed("PNG", "PNG")
    if head.startswith(b"GIF8"):
        return Sniffed("", "GIF", animated=_is_animated_gif(data))
    other = _container(head) or _magic(head) or _text(head)
    if other is not None:
        return other
    if looks_like_bare_dicom(head):
        return Sniffed("DICOM", "DICOM without preamble")
    return Sniffed("", "")


def looks_like_bare_dicom(head: bytes) -> bool:
    """Whether `head` can only be a DICOM data set without preamble (PS3.10 section 7.1).

    Certain enough: the first element is of group 0002 or 0008 in one of the three encodings, with
    a plausible length. The reader then asks for a known SOP class.
    """
    if len(head) < 12:
        return False
    for order in ("little", "big"):
        group, element = (int.from_bytes(head[i : i + 2], order) for i in (0, 2))
        if group not in (0x0002, 0x0008) or element > 0x0070:
            continue
        if re.match(rb"[A-Z]{2}", head[4:6]):
            return head[4:6] in (b"UL", b"OB", b"CS", b"UI", b"SH", b"DA", b"TM", b"LO", b"PN")
        if order == "little" and int.from_bytes(head[4:8], "little") <= 256:
            return True
    return False


def _magic(head: bytes) -> Sniffed | None:
    if head.startswith(_TIFF):
        return Sniffed("TIFF", "TIFF")
    for start, name in _MAGIC:
        if head.startswith(start):
            return Sniffed("", name)
    # Two letters are little: the size of the second header must be one there is.
    if head.startswith(b"BM") and int.from_bytes(head[14:18], "little") in BMP_HEADERS:
        return Sniffed("BMP", "BMP")
    if head.startswith(b"MZ") and not _TEXT.match(head):
        return Sniffed("", "a program")
    if head[344:348] in (b"n+1\x00", b"ni1\x00"):
        return Sniffed("", "NIfTI")
    if head[257:262] == b"ustar":
        return Sniffed("", "tar")
    return None


def _container(head: bytes) -> Sniffed | None:
    """RIFF and ISO base media files, which tell their kind at byte 8."""
    if head.startswith(b"RIFF") and len(head) >= 12:
        if head[8:12] == b"WEBP":
            return Sniffed("WEBP", "WebP")
        return Sniffed("", _RIFF.get(head[8:12], "RIFF"))
    if head[4:8] == b"ftyp":
        brand = head[8:12]
        if brand in _HEIF:
            return Sniffed("", "HEIC", animated=brand in (b"hevc", b"hevx", b"msf1"))
        if brand in (b"avif", b"avis"):
            return Sniffed("", "AVIF", animated=brand == b"avis")
        return Sniffed("", "MP4 or QuickTime video")
    return None


def _text(head: bytes) -> Sniffed | None:
    """Names for text; None for anything with control characters."""
    if head.startswith(_UTF16):
        return Sniffed("", "text")
    if not _TEXT.match(head):
        return None
    start = head.lstrip(b"\xef\xbb\xbf\t\n\r ")[:256].lower()
    if start.startswith((b"<!doctype html", b"<html")):
        return Sniffed("", "HTML")
    if b"<svg" in start:
        return Sniffed("", "SVG")
    if start.startswith(b"<?xml"):
        return Sniffed("", "XML")
    return Sniffed("", "text")


def _is_animated_gif(data: Bytes) -> bool:
    """Whether a second image descriptor follows the first (GIF 89a specification, section 20)."""
    if len(data) < 13:
        return False
    position = 13 + _colour_table(data[10])
    images = 0
    while position + 10 <= len(data) and images < 2:
        if data[position] == 0x2C:
            images += 1
            position += 11 + _colour_table(data[position + 9])
        elif data[position] == 0x21:
            position += 2
        else:
            break
        while position < len(data) and data[position]:
            position += data[position] + 1
        position += 1
    return images > 1


def _colour_table(flags: int) -> int:
    """Bytes of the colour table that `flags` announce."""
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0
