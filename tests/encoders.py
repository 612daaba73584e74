"""DICOM files in every compression: phantoms transcoded with the libraries at hand, or by hand."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import numpy.typing as npt
from openjpeg.utils import encode_array
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, encapsulate_extended
from pydicom.uid import UID

from tests import phantoms
from tests.jpeg_writers import lossless_jpeg, sequential_jpeg

Array = npt.NDArray[Any]

JPEG_EXTENDED = "1.2.840.10008.1.2.4.51"
JPEG_LOSSLESS = "1.2.840.10008.1.2.4.57"
JPEG_LOSSLESS_FIRST = "1.2.840.10008.1.2.4.70"
JPEG_LS_NEAR = "1.2.840.10008.1.2.4.81"
JPEG_2000_LOSSY = "1.2.840.10008.1.2.4.91"


def written(dataset: Dataset) -> bytes:
    """The file of a data set."""
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def encoded(samples: Array, syntax: str, **options: Any) -> bytes:
    """A file of one frame whose stored samples are exactly `samples`, compressed by `syntax`.

    Options are those of `dicom_dataset`, and `predictor` (lossless JPEG), `near` (largest error of
    JPEG-LS) and `ratio` (of JPEG 2000).
    """
    predictor, near = options.pop("predictor", 1), options.pop("near", 0)
    ratio = options.pop("ratio", 4)
    if syntax == phantoms.JPEG_2000 and options.get("photometric") == "YBR_FULL":
        dataset = phantoms.dicom_dataset(samples, **options)
        put(dataset, syntax, encode_array(samples, 8))  # without a colour transform of its own
        return written(dataset)
    if syntax not in (
        JPEG_EXTENDED,
        JPEG_LOSSLESS,
        JPEG_LOSSLESS_FIRST,
        JPEG_LS_NEAR,
        JPEG_2000_LOSSY,
    ):
        return phantoms.dicom_bytes(samples, transfer_syntax=syntax, **options)
    bits = options.get("bits", 8)
    dataset = phantoms.dicom_dataset(samples, **options)
    if syntax == JPEG_LS_NEAR:
        dataset.compress(UID(syntax), jls_error=near, generate_instance_uid=False)
    elif syntax == JPEG_2000_LOSSY:
        dataset.compress(UID(syntax), j2k_cr=[ratio], generate_instance_uid=False)
    elif syntax == JPEG_EXTENDED:
        put(dataset, syntax, sequential_jpeg(samples, bits))
    else:
        # The stream knows no sign: the sender stores the bits as they are.
        plain = samples.astype(int) & ((1 << bits) - 1)
        put(dataset, syntax, lossless_jpeg(plain, bits, predictor))
    return written(dataset)


def put(dataset: Dataset, syntax: str, *frames: bytes, extended: bool = False, **how: Any) -> None:
    """Give `dataset` these encoded frames, with a basic or an `extended` offset table."""
    dataset.file_meta.TransferSyntaxUID = UID(syntax)
    if extended:
        data, offsets, lengths = encapsulate_extended(list(frames))
        dataset.ExtendedOffsetTable = offsets
        dataset.ExtendedOffsetTableLengths = lengths
        dataset.PixelData = data
    else:
        dataset.PixelData = encapsulate(list(frames), **how)
    dataset["PixelData"].VR = "OB"
    if dataset.SamplesPerPixel == 3:
        dataset.PlanarConfiguration = 0


def deep(picture: npt.NDArray[np.uint8], bits: int, *, signed: bool = False) -> Array:
    """`picture` spread over `bits`, so that it is shown as it was: 255 is the largest value."""
    wide = np.rint(picture / 255 * ((1 << bits) - 1)).astype(int)
    if signed:
        wide -= 1 << (bits - 1)
    return wide.astype(("i" if signed else "u") + str(1 if bits <= 8 else 2))
