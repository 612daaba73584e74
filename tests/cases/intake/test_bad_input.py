"""The bad-input table of the file codes: each refusal beside a good neighbour that passes."""

from __future__ import annotations

import gzip
import io
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cases.errors import ERRORS, FILE_ERROR_CODES, UserFacingError
from cases.intake import Limits
from tests import phantoms
from tests.cases.intake.conftest import Check
from tests.phantoms import bmode_phantom, dicom_bytes, jpeg_bytes, png_bytes

# pydicom warns while the phantoms are written wrong on purpose.
pytestmark = pytest.mark.filterwarnings("ignore:The value length:UserWarning")
SMALL = (96, 128)
PICTURE = bmode_phantom(0, SMALL)
JPEG, PNG = jpeg_bytes(PICTURE), png_bytes(PICTURE)
Build = Callable[[], bytes]


def png_header_only(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    data = zlib.compress(b"\0" * 1000)
    start = b"\x89PNG\r\n\x1a\n"
    return start + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def jpeg_claiming(width: int, height: int) -> bytes:
    at = JPEG.index(b"\xff\xc0") + 5
    return JPEG[:at] + struct.pack(">HH", height, width) + JPEG[at + 4 :]


def saved(kind: str, frames: int = 1, **options: Any) -> bytes:
    images = [Image.fromarray(np.roll(PICTURE, i)) for i in range(frames)]
    buffer = io.BytesIO()
    if frames > 1:
        options |= {"save_all": True, "append_images": images[1:]}
    images[0].save(buffer, kind, **options)
    return buffer.getvalue()


def dicom(**options: Any) -> Build:
    return lambda: dicom_bytes(**options)


def without_pixels() -> bytes:
    dataset = phantoms.dicom_dataset()
    del dataset.PixelData
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def encapsulated_pdf(modality: str) -> bytes:
    dataset = phantoms.dicom_dataset(modality=modality, sop_class=phantoms.ENCAPSULATED_PDF)
    del dataset.PixelData
    dataset.EncapsulatedDocument = b"%PDF-1.4 "
    dataset.MIMETypeOfEncapsulatedDocument = "application/pdf"
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def cut(data: bytes, left: float) -> bytes:
    return data[: int(len(data) * left)]


def in_header(data: bytes) -> bytes:
    """Cut in the middle of the manufacturer's name."""
    return data[: data.index(b"Phantom Works") + 5]


def replaced(data: bytes, old: bytes, new: bytes) -> bytes:
    assert old in data
    return data.replace(old, new, 1)


def palette_without_colours() -> bytes:
    """The data of the red palette moved to an attribute that nobody reads."""
    data = dicom_bytes(photometric="PALETTE COLOR")
    return replaced(data, b"(\x00\x01\x12OW", b"(\x00\x09\x12OW")


@dataclass(frozen=True)
class Row:
    name: str
    bad: Build
    code: str
    good: Build = lambda: PNG
    says: str = ""


ROWS = [
    Row("empty", lambda: b"", "file_empty"),
    Row("text renamed .png", lambda: b"Dear colleague,\r\nplease find", "image_unsupported"),
    Row("JPEG without its end", lambda: JPEG[:-2], "image_corrupt", lambda: JPEG),
    Row("JPEG cut in half", lambda: cut(JPEG, 0.5), "image_corrupt", lambda: JPEG),
    Row("JPEG cut in its header", lambda: JPEG[:40], "image_corrupt", lambda: JPEG),
    Row("JPEG ending in zeros", lambda: cut(JPEG, 0.6) + b"\0" * 900, "image_corrupt"),
    Row(
        "progressive JPEG cut in half",
        lambda: cut(jpeg_bytes(PICTURE, progressive=True), 0.5),
        "image_corrupt",
        lambda: jpeg_bytes(PICTURE, progressive=True),
    ),
    Row("PNG cut in half", lambda: cut(PNG, 0.5), "image_corrupt"),
    Row("PNG without its end", lambda: PNG[:-12], "image_corrupt"),
    Row("PNG with a changed byte", lambda: PNG[:400] + b"\x5a\xa5" + PNG[402:], "image_corrupt"),
    Row("PNG with too little data", lambda: png_header_only(100, 100), "image_corrupt"),
    Row("PNG bomb", lambda: png_header_only(60_000, 60_000), "image_too_many_pixels"),
    Row("JPEG bomb", lambda: jpeg_claiming(60_000, 60_000), "image_too_many_pixels", lambda: JPEG),
    Row(
        "DICOM bomb",
        dicom(extra={"Rows": 60_000, "Columns": 60_000}),
        "image_too_many_pixels",
        dicom(),
        says="60,000 x 60,000",
    ),
    Row(
        "shorter side of 47",
        lambda: png_bytes(bmode_phantom(0, (47, 300))),
        "image_too_small",
        lambda: png_bytes(bmode_phantom(0, (48, 300))),
        says="300 x 47",
    ),
    Row(
        "DICOM with a side of 47",
        lambda: dicom_bytes(bmode_phantom(0, (300, 47))),
        "image_too_small",
        lambda: dicom_bytes(bmode_phantom(0, (300, 48))),
    ),
    Row("animated PNG", lambda: saved("PNG", 3), "image_animated"),
    Row("animated GIF", lambda: saved("GIF", 3), "image_animated", says="GIF"),
    Row("animated WebP", lambda: saved("WEBP", 3), "image_animated"),
    Row("GIF", lambda: saved("GIF"), "image_unsupported", says="GIF"),
    Row(
        "BMP cut in half",
        lambda: cut(saved("BMP"), 0.5),
        "image_corrupt",
        lambda: saved("BMP"),
        says="BMP",
    ),
    Row("two letters of a BMP", lambda: b"BM" + b"\x01" * 300, "image_unsupported"),
    Row(
        "TIFF cut in half",
        lambda: cut(saved("TIFF"), 0.5),
        "image_corrupt",
        lambda: saved("TIFF"),
    ),
    Row("TIFF of three pages", lambda: saved("TIFF", 3), "image_animated", says="3 pages"),
    Row(
        "WebP cut in half",
        lambda: cut(saved("WEBP"), 0.5),
        "image_corrupt",
        lambda: saved("WEBP"),
        says="WebP",
    ),
    Row("WebP without a picture", lambda: saved("WEBP")[:12] + b"\0" * 99, "image_corrupt"),
    Row("JPEG 2000 file", lambda: saved("JPEG2000"), "image_unsupported", says="JPEG 2000"),
    Row("PDF", lambda: b"%PDF-1.7\n" + b"x" * 300, "image_unsupported", says="PDF"),
    Row("ZIP", lambda: b"PK\x03\x04" + b"\0" * 300, "image_unsupported", says="ZIP"),
    Row("gzip", lambda: gzip.compress(PNG), "image_unsupported", says="gzip"),
    Row("HEIC", lambda: b"\0\0\0\x18ftypheic" + b"\0" * 99, "image_unsupported", says="HEIC"),
    Row("video", lambda: b"\0\0\0\x18ftypisom" + b"\0" * 99, "image_unsupported", says="video"),
    Row("web page", lambda: b"<!DOCTYPE html><html></html>", "image_unsupported", says="HTML"),
    Row("noise", lambda: bytes(range(1, 256)) * 9, "image_unsupported", says="unknown"),
    Row("DICOM cut in its header", lambda: in_header(dicom_bytes()), "dicom_invalid", dicom()),
    Row("DICOM cut in its pixels", lambda: cut(dicom_bytes(), 0.7), "image_corrupt", dicom()),
    Row(
        "RLE DICOM cut in its pixels",
        lambda: cut(dicom_bytes(transfer_syntax=phantoms.RLE), 0.7),
        "image_corrupt",
        dicom(transfer_syntax=phantoms.RLE),
    ),
    Row(
        "JPEG DICOM whose frame was cut before it was stored",
        lambda: replaced(dicom_bytes(transfer_syntax=phantoms.JPEG_BASELINE), b"\xff\xd9", b"\0\0"),
        "image_corrupt",
        dicom(transfer_syntax=phantoms.JPEG_BASELINE),
    ),
    Row(
        "deflated DICOM cut in its pixels",
        lambda: cut(dicom_bytes(transfer_syntax=phantoms.DEFLATED), 0.7),
        "image_corrupt",
        dicom(transfer_syntax=phantoms.DEFLATED),
    ),
    Row("only a DICOM preamble", lambda: b"\0" * 128 + b"DICM", "dicom_invalid", dicom()),
    Row("DICOM that is a program too", lambda: b"MZ" + dicom_bytes()[2:], "dicom_invalid", dicom()),
    Row("DICOM of noise", lambda: b"\0" * 128 + b"DICM" + PNG * 3, "dicom_invalid", dicom()),
    Row("DICOM without pixels", without_pixels, "dicom_no_pixels", dicom()),
    Row("MR", dicom(modality="MR"), "dicom_modality", dicom(), says="MR"),
    Row("mammogram", dicom(modality="MG"), "dicom_modality", dicom(), says="MG"),
    Row("intravascular", dicom(modality="IVUS"), "dicom_modality", dicom(), says="IVUS"),
    Row(
        "secondary capture of unknown modality",
        dicom(modality="", sop_class=phantoms.SECONDARY_CAPTURE),
        "dicom_modality",
        dicom(sop_class=phantoms.SECONDARY_CAPTURE),
    ),
    Row(
        "ultrasound volume",
        dicom(sop_class="1.2.840.10008.5.1.4.1.1.6.2"),
        "dicom_modality",
        dicom(sop_class="1.2.840.10008.5.1.4.1.1.6"),
        says="Volume",
    ),
    Row("PDF in DICOM", lambda: encapsulated_pdf("DOC"), "dicom_encapsulated_document", dicom()),
    Row("PDF called US", lambda: encapsulated_pdf("US"), "dicom_encapsulated_document", dicom()),
    Row(
        "MPEG-4 in DICOM",
        dicom(transfer_syntax=phantoms.MPEG4, frames=3),
        "dicom_transfer_syntax",
        dicom(transfer_syntax=phantoms.JPEG_BASELINE, frames=3),
        says="MPEG-4",
    ),
    Row(
        "private transfer syntax",
        dicom(transfer_syntax="1.2.840.113619.5.2"),
        "dicom_transfer_syntax",
        dicom(),
    ),
    Row(
        "five frames announced, two there",
        dicom(frames=2, number_of_frames=5),
        "dicom_frame_mismatch",
        dicom(frames=2),
        says="announces 5 frames, its pixel data holds 2",
    ),
    Row(
        "one frame announced, two there",
        dicom(frames=2, number_of_frames=1),
        "dicom_frame_mismatch",
        dicom(frames=2),
    ),
    Row(
        "compressed, five frames announced, two there",
        dicom(frames=2, number_of_frames=5, transfer_syntax=phantoms.JPEG_BASELINE),
        "dicom_frame_mismatch",
        dicom(frames=2, transfer_syntax=phantoms.JPEG_BASELINE),
    ),
    Row(
        "compressed, one frame announced, two there",
        dicom(frames=2, number_of_frames=1, transfer_syntax=phantoms.RLE),
        "dicom_frame_mismatch",
        dicom(frames=2, transfer_syntax=phantoms.RLE),
    ),
    Row("no frames announced", dicom(number_of_frames=0), "dicom_frame_mismatch", dicom()),
    Row(
        "compressed image of another size than the header says",
        dicom(transfer_syntax=phantoms.JPEG_BASELINE, extra={"Rows": 100}),
        "image_corrupt",
        dicom(transfer_syntax=phantoms.JPEG_BASELINE),
    ),
    Row(
        "three samples of grey",
        dicom(extra={"SamplesPerPixel": 3}),
        "dicom_invalid",
        dicom(photometric="RGB"),
    ),
    Row("no rows", dicom(extra={"Rows": None}), "dicom_invalid", dicom(), says="Rows"),
    Row(
        "palette without its colours",
        palette_without_colours,
        "dicom_invalid",
        dicom(photometric="PALETTE COLOR"),
    ),
    Row(
        "patient id beyond the standard's length",
        dicom(patient_id="7" * 65),
        "dicom_invalid",
        dicom(patient_id="7" * 64),
        says="PatientID",
    ),
    Row("two patient ids", dicom(patient_id="A\\B"), "dicom_invalid", dicom(), says="PatientID"),
]
STATUS = {"file_too_large": 413, "image_unsupported": 415, "dicom_transfer_syntax": 415}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_bad_file_is_refused_by_its_code_and_its_good_neighbour_passes(
    row: Row, check: Check
) -> None:
    with pytest.raises(UserFacingError) as refusal:
        check(row.bad(), name="../upload.png")
    error = refusal.value
    assert error.code == row.code, error.detail
    assert error.status == STATUS.get(row.code, 422)
    assert error.file == "upload.png"
    assert row.says in error.detail
    assert error.detail.endswith(".")
    assert check(row.good()).frames >= 1


def test_file_over_the_limit_is_refused_with_the_limit_in_words(check: Check) -> None:
    limits = Limits(max_bytes=len(PNG) - 1)
    with pytest.raises(UserFacingError) as refusal:
        check(PNG, limits)
    assert (refusal.value.code, refusal.value.status) == ("file_too_large", 413)
    assert check(PNG, Limits(max_bytes=len(PNG))).format == "PNG"


def test_loop_over_the_frame_limit_is_refused(check: Check) -> None:
    with pytest.raises(UserFacingError, match="up to 3") as refusal:
        check(dicom_bytes(frames=4), Limits(max_frames=3))
    assert refusal.value.code == "image_too_many_pixels"
    assert check(dicom_bytes(frames=3), Limits(max_frames=3)).frames == 3


@pytest.mark.parametrize("bomb", [png_header_only(60_000, 60_000), jpeg_claiming(60_000, 60_000)])
def test_decompression_bomb_is_refused_before_memory_is_taken(bomb: bytes, check: Check) -> None:
    with pytest.raises(UserFacingError) as refusal:
        check(bomb, Limits(memory_bytes=16 * 2**20))
    assert refusal.value.code == "image_too_many_pixels"


def test_every_file_code_is_reached_by_a_row() -> None:
    assert {row.code for row in ROWS} | {"file_too_large"} == FILE_ERROR_CODES


def test_every_code_of_the_contract_has_a_class() -> None:
    assert set(ERRORS) == FILE_ERROR_CODES | {
        "field_invalid",
        "identity_mismatch",
        "accession_conflict",
        "duplicate_of_other_patient",
        "erased",
        "idempotency_conflict",
        "not_found",
        "not_authenticated",
        "permission_denied",
        "throttled",
        "state_conflict",
        "overloaded",
    }


@pytest.mark.parametrize("name", ["scan.dcm", "scan.txt", "", "scan.pdf"])
def test_format_is_told_by_content_and_not_by_name(name: str, check: Check) -> None:
    assert check(JPEG, name=name).media_type == "image/jpeg"
    assert check(dicom_bytes(), name=name).media_type == "application/dicom"
