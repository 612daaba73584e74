"""Valid small files of every format and encoding that is read: what mutations begin with."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from tests import encoders, phantoms
from tests.encoders import deep, encoded
from tests.rasters import TiffPage, bmp_of, png_of, tiff_of

SIDE = (56, 64)


@dataclass(frozen=True)
class Seed:
    """A valid file and what it is, which decides how it may be mutated."""

    name: str
    kind: str
    data: bytes


@cache
def seeds() -> tuple[Seed, ...]:
    """All of them, in a fixed order: the numbers of a run depend on it."""
    return tuple(
        Seed(name, name.partition(" ")[0], make()) for name, make in (*_rasters(), *_dicom())
    )


_Make = tuple[str, Callable[[], bytes]]


def _rasters() -> list[_Make]:
    grey = phantoms.bmode_phantom(3, SIDE)
    rgb = np.stack([grey, np.roll(grey, 5, axis=1), 255 - grey], axis=-1)
    warm = np.stack([np.arange(256), np.arange(256) // 2, 255 - np.arange(256)], -1)
    words = (rgb.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32)).astype(np.uint32)
    return [
        ("jpeg grey", partial(phantoms.jpeg_bytes, grey)),
        ("jpeg rgb", partial(phantoms.jpeg_bytes, rgb, exif_orientation=6)),
        ("jpeg progressive", partial(phantoms.jpeg_bytes, rgb, progressive=True)),
        ("jpeg cmyk", partial(phantoms.jpeg_bytes, rgb, mode="CMYK")),
        ("png grey", partial(png_of, grey)),
        ("png deep", partial(png_of, rgb.astype(int) * 257, 16)),
        ("png palette", partial(png_of, grey >> 4, 4, palette=warm[::16], interlaced=True)),
        ("png alpha", partial(phantoms.png_bytes, rgb, "RGBA")),
        ("bmp rgb", partial(bmp_of, rgb)),
        ("bmp palette", partial(bmp_of, grey, 8, palette=warm)),
        ("bmp runs", partial(bmp_of, grey >> 4 << 4, 8, palette=warm, compression=1)),
        ("bmp fields", partial(bmp_of, words, 32, compression=3, header=124, masks=_BGRA)),
        ("tiff grey", partial(tiff_of, TiffPage(grey, rows_per_strip=8))),
        ("tiff deep", partial(tiff_of, TiffPage(grey.astype(np.uint16) * 257), order=">")),
        ("tiff tiles", partial(tiff_of, TiffPage(rgb, 2, tile=32, deflate=True))),
        ("tiff palette", partial(tiff_of, TiffPage(grey, 3, palette=warm), big=True)),
        ("tiff lzw", partial(_saved, rgb, "TIFF", compression="tiff_lzw")),
        ("tiff jpeg", partial(_saved, rgb, "TIFF", compression="jpeg")),
        ("tiff fax", partial(_saved, grey > 90, "TIFF", compression="group4")),
        ("webp lossy", partial(_saved, rgb, "WEBP")),
        ("webp lossless", partial(_saved, rgb, "WEBP", lossless=True)),
        ("webp extended", partial(_saved, rgb, "WEBP", icc_profile=b"x" * 40)),
    ]


_BGRA = (0xFF0000, 0xFF00, 0xFF, 0xFF000000)


def _saved(picture: Any, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, kind, **options)
    return buffer.getvalue()


def _dicom() -> list[_Make]:
    grey = phantoms.bmode_phantom(4, SIDE)
    loop = np.stack([np.roll(grey, 4 * i, axis=1) for i in range(3)])
    rgb = np.stack([grey, np.roll(grey, 5, axis=1), 255 - grey], axis=-1)
    twelve = deep(grey, 12)
    dicom = phantoms.dicom_bytes
    ybr: dict[str, Any] = {"photometric": "YBR_FULL_422"}
    return [
        ("dicom explicit", partial(dicom, grey, regions=[phantoms.region((0, 0, 63, 55))])),
        ("dicom implicit", partial(dicom, loop, transfer_syntax=phantoms.IMPLICIT_LITTLE)),
        ("dicom big", partial(dicom, twelve, bits=12, transfer_syntax=phantoms.EXPLICIT_BIG)),
        ("dicom deflated", partial(dicom, loop, transfer_syntax=phantoms.DEFLATED)),
        ("dicom bare", partial(dicom, grey, preamble=False)),
        ("dicom rgb", partial(dicom, rgb, photometric="RGB", planar=1)),
        ("dicom ybr", partial(dicom, rgb, **ybr)),
        ("dicom palette", partial(dicom, grey, photometric="PALETTE COLOR")),
        ("dicom segments", _segmented),
        ("dicom tables", _tables),
        ("dicom rle", partial(dicom, loop, transfer_syntax=phantoms.RLE)),
        ("dicom rle rgb", partial(dicom, rgb, photometric="RGB", transfer_syntax=phantoms.RLE)),
        ("dicom jpeg", partial(dicom, loop, transfer_syntax=phantoms.JPEG_BASELINE)),
        ("dicom jpeg ybr", partial(dicom, rgb, transfer_syntax=phantoms.JPEG_BASELINE, **ybr)),
        ("dicom extended", partial(encoded, twelve, encoders.JPEG_EXTENDED, bits=12)),
        ("dicom lossless", partial(encoded, twelve, encoders.JPEG_LOSSLESS, bits=12, predictor=4)),
        ("dicom sv1", partial(encoded, grey, encoders.JPEG_LOSSLESS_FIRST)),
        ("dicom ls", partial(dicom, loop, transfer_syntax=phantoms.JPEG_LS)),
        ("dicom ls rgb", partial(dicom, rgb, photometric="RGB", transfer_syntax=phantoms.JPEG_LS)),
        ("dicom near", partial(encoded, twelve, encoders.JPEG_LS_NEAR, bits=12, near=3)),
        ("dicom j2k", partial(dicom, loop, transfer_syntax=phantoms.JPEG_2000)),
        ("dicom j2k rgb", partial(dicom, rgb, photometric="RGB", transfer_syntax=_J2K)),
        ("dicom j2k lossy", partial(encoded, twelve, encoders.JPEG_2000_LOSSY, bits=12, ratio=4)),
    ]


_J2K = phantoms.JPEG_2000


def _segmented() -> bytes:
    dataset = phantoms.dicom_dataset(phantoms.bmode_phantom(4, SIDE), photometric="PALETTE COLOR")
    words = np.array([0, 2, 0, 257, 1, 200, 51000, 0, 1, 600, 1, 53, 65535], "<u2").tobytes()
    for colour in ("Red", "Green", "Blue"):
        delattr(dataset, f"{colour}PaletteColorLookupTableData")
        setattr(dataset, f"Segmented{colour}PaletteColorLookupTableData", words)
    return encoders.written(dataset)


def _tables() -> bytes:
    item = Dataset()
    item.LUTDescriptor = [256, 0, 16]
    item.LUTData = (np.arange(256) * 257).astype("<u2").tobytes()
    item["LUTData"].VR = "OW"
    dataset = phantoms.dicom_dataset(phantoms.bmode_phantom(4, SIDE))
    dataset.ModalityLUTSequence = Sequence([item])
    dataset.WindowCenter, dataset.WindowWidth = ["30000", "100"], ["60000", "50"]
    dataset.AnatomicRegionSequence = Sequence([phantoms.coded("76752008", "SCT", "Breast")])
    return encoders.written(dataset)
