"""Synthetic breast ultrasounds made by code: the only pictures in this repository.

Deterministic by seed, different bytes for different seeds, and nothing of any patient.
"""

from __future__ import annotations

import hashlib
import io
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import UID

Grey = npt.NDArray[np.uint8]
Map = npt.NDArray[Any]
Lesion = Literal["benign", "malignant", "normal"]

IMPLICIT_LITTLE = "1.2.840.10008.1.2"
EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"
DEFLATED = "1.2.840.10008.1.2.1.99"
EXPLICIT_BIG = "1.2.840.10008.1.2.2"
JPEG_BASELINE = "1.2.840.10008.1.2.4.50"
JPEG_LS = "1.2.840.10008.1.2.4.80"
JPEG_2000 = "1.2.840.10008.1.2.4.90"
RLE = "1.2.840.10008.1.2.5"
MPEG4 = "1.2.840.10008.1.2.4.102"
US_IMAGE = "1.2.840.10008.5.1.4.1.1.6.1"
US_MULTIFRAME = "1.2.840.10008.5.1.4.1.1.3.1"
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
ENCAPSULATED_PDF = "1.2.840.10008.5.1.4.1.1.104.1"
_NATIVE = (IMPLICIT_LITTLE, EXPLICIT_LITTLE, DEFLATED, EXPLICIT_BIG)


# Pictures


def bmode_phantom(
    seed: int = 0, size: tuple[int, int] = (470, 500), lesion: Lesion = "benign"
) -> Grey:
    """A plausible linear-array B-mode picture: uint8, `size` = (height, width).

    Skin, fat lobules, gland with strands and muscle under wavy borders, speckle, depth-dependent
    gain, a black margin with depth marks. `benign`: a smooth dark oval lying flat, bright behind.
    `malignant`: a ragged dark mass standing upright, with a halo and a shadow. `normal`: none.
    """
    rng = np.random.default_rng([seed, 20260101])
    height, width = size
    margin_y, margin_x = max(2, height // 24), max(4, width // 12)
    rows, columns = height - 2 * margin_y, width - 2 * margin_x
    depth, across = np.mgrid[0 : 1 : rows * 1j, 0 : 1 : columns * 1j]
    level = _tissue(rng, depth, across)
    if lesion != "normal":
        level = _add_lesion(rng, level, depth, across, malignant=lesion == "malignant")
    speckle = np.abs(_field(rng, rows, columns, 0.22, 0.11))
    level = level + 20 * np.log10(speckle + 1e-2)
    level += 5 * np.cos(np.pi * (depth - rng.uniform(0.3, 0.5))) - 2
    inner = np.clip((level + 50) / 56 * 255, 0, 255)
    picture = np.zeros(size, np.uint8)
    picture[margin_y : margin_y + rows, margin_x : margin_x + columns] = inner.astype(np.uint8)
    for mark in range(margin_y, margin_y + rows, max(4, rows // 8)):
        picture[mark : mark + 2, margin_x // 3 : margin_x // 2] = 200
    return picture


def _field(rng: np.random.Generator, rows: int, columns: int, fine_y: float, fine_x: float) -> Map:
    """Complex Gaussian noise of mean power 1, band-limited to cycles per pixel along y and x."""
    fy, fx = np.fft.fftfreq(rows)[:, None], np.fft.fftfreq(columns)[None, :]
    noise = rng.standard_normal((2, rows, columns), np.float32)
    spectrum = (noise[0] + 1j * noise[1]) * np.exp(-((fy / fine_y) ** 2 + (fx / fine_x) ** 2))
    field: Map = np.fft.ifft2(spectrum)
    field /= np.sqrt(np.mean(np.abs(field) ** 2))
    return field


def _waves(rng: np.random.Generator, across: Map) -> Map:
    """A wavy border line over the width (1 x columns), about -0.03 to 0.03."""
    across = across[:1]  # all rows are the same
    line: Map = np.zeros_like(across)
    for k in (0.7, 1.6, 3.1):
        line += rng.uniform(0.003, 0.012) * np.sin(2 * np.pi * (k * across + rng.uniform()))
    return line


def _step(distance: Map, softness: float) -> Map:
    """From 0 to 1 where `distance` passes zero."""
    return np.asarray(0.5 + 0.5 * np.tanh(distance / softness))


def _tissue(rng: np.random.Generator, depth: Map, across: Map) -> Map:
    """Mean echo level in dB of the layers of a breast."""
    rows, columns = depth.shape
    borders = np.cumsum([rng.uniform(0.03, 0.05), rng.uniform(0.15, 0.22), rng.uniform(0.38, 0.45)])
    texture = _field(rng, rows, columns, 6 / rows, 3.5 / columns)
    cloud, ridge = texture.real, np.exp(-((texture.imag / 0.12) ** 2))
    fat = -27 + 2 * cloud + 10 * ridge
    gland = -17 + 5 * cloud + 4 * ridge
    stripes = np.sin(2 * np.pi * (depth * rng.uniform(26, 32) + 4 * _waves(rng, across)))
    muscle = -25 + 2 * cloud + 4 * stripes
    level: Map = np.full(depth.shape, -7.0)
    for border, layer in zip(borders, (fat, gland, muscle), strict=True):
        below = depth - border - _waves(rng, across)
        part = _step(below, 0.006)
        level = level * (1 - part) + layer * part + 8 * np.exp(-((below / 0.008) ** 2))
    return level


def _add_lesion(
    rng: np.random.Generator, level: Map, depth: Map, across: Map, *, malignant: bool
) -> Map:
    """Put a mass with what it does to the sound behind it into the gland."""
    aspect = level.shape[1] / level.shape[0]
    cx, cy = rng.uniform(0.35, 0.65), rng.uniform(0.38, 0.48)
    rx, ry = (0.085, 0.12) if malignant else (0.16, 0.085)
    rx, ry = rx * rng.uniform(0.85, 1.2) / aspect, ry * rng.uniform(0.85, 1.2)
    dx, dy = (across - cx) / rx, (depth - cy) / ry
    angle = np.arctan2(dy, dx)
    edge: Map = np.ones_like(dx)
    for k in (3, 5, 7, 11) if malignant else (2, 3):
        edge += rng.uniform(0.04, 0.1) * np.sin(k * angle + rng.uniform(0, 6.3))
    outside = np.hypot(dx, dy) - edge
    behind = _step(0.85 - np.abs(dx) + 0.05 * dy, 0.12) * _step(dy - 0.4, 0.3)
    behind *= np.exp(-np.clip(dy, 0, None) / 6)
    out = level + (-15.0 if malignant else 7.0) * behind
    rim = np.exp(-((outside / (0.25 if malignant else 0.08)) ** 2))
    out = out + (4.0 if malignant else 6.0) * rim
    inside = _step(-outside, 0.10 if malignant else 0.04)
    return np.asarray(out * (1 - inside) + (-41.0 if malignant else -37.0) * inside)


# Raster files


def jpeg_bytes(
    array: npt.NDArray[Any],
    quality: int = 90,
    exif_orientation: int | None = None,
    mode: str | None = None,
    **save: Any,
) -> bytes:
    """A JPEG of a grey (h x w) or RGB (h x w x 3) array; `mode` converts first (L, RGB, CMYK)."""
    image = Image.fromarray(array)
    if mode is not None:
        image = image.convert(mode)
    if exif_orientation is not None:
        exif = Image.Exif()
        exif[0x0112] = exif_orientation
        save["exif"] = exif.tobytes()
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality, **save)
    return buffer.getvalue()


def png_bytes(array: npt.NDArray[Any], mode: str | None = None, **save: Any) -> bytes:
    """A PNG; `mode` converts first (1, L, LA, P, RGB, RGBA, I;16)."""
    image = Image.fromarray(array)
    if mode == "I;16":
        image = Image.fromarray(array.astype(np.uint16) * 257)
    elif mode is not None and mode != image.mode:
        image = image.convert(mode)
    buffer = io.BytesIO()
    image.save(buffer, "PNG", **save)
    return buffer.getvalue()


# DICOM files


def uid_of(*parts: object) -> str:
    """A valid UID that depends on `parts` only (PS3.5 B.2)."""
    digest = hashlib.sha256(repr(parts).encode()).digest()
    return f"2.25.{int.from_bytes(digest[:15], 'big')}"


def dicom_bytes(array: npt.NDArray[Any] | None = None, **options: Any) -> bytes:
    """A valid Part 10 ultrasound file; see `dicom_dataset` for the options.

    Further: `preamble=False` leaves out preamble and file meta information.
    """
    preamble = options.pop("preamble", True)
    dataset = dicom_dataset(array, **options)
    buffer = io.BytesIO()
    syntax = dataset.file_meta.TransferSyntaxUID
    how = {"implicit_vr": syntax == IMPLICIT_LITTLE, "little_endian": syntax != EXPLICIT_BIG}
    if preamble:
        dataset.save_as(buffer, enforce_file_format=True, **(how if syntax.is_private else {}))
    else:
        del dataset.file_meta
        dataset.save_as(buffer, **how)
    return buffer.getvalue()


def dicom_dataset(
    array: npt.NDArray[Any] | None = None,
    *,
    seed: int = 0,
    patient_id: str = "PHANTOM-1",
    issuer: str = "",
    name: str = "Phantom^Anna",
    birth_date: str = "19700102",
    sex: str = "F",
    accession: str = "ACC-1",
    accession_issuer: str = "",
    study_uid: str | None = None,
    series_uid: str | None = None,
    sop_uid: str | None = None,
    sop_class: str | None = None,
    modality: str = "US",
    frames: int = 1,
    number_of_frames: int | str | None = None,
    representative_frame: int | None = None,
    photometric: str = "MONOCHROME2",
    planar: int = 0,
    bits: int = 8,
    transfer_syntax: str = EXPLICIT_LITTLE,
    palette: npt.NDArray[Any] | None = None,
    laterality: str = "",
    image_laterality: str = "",
    regions: list[dict[str, Any]] | None = None,
    extra: dict[str, Any] | None = None,
) -> Dataset:
    """An ultrasound data set of `array`: h x w, h x w x 3, or those with a frame axis in front.

    Without an array: a phantom of 96 x 128 pixels by `seed`; `frames` > 1 makes a loop of it in
    which every frame differs. `array` holds samples in the colour model `photometric` as they are
    to be stored (PALETTE COLOR: indices; YBR: Y, CB, CR). `bits` > 8 stores 16-bit words.
    `number_of_frames` overrides what is announced, `extra` sets further attributes by keyword.
    """
    stack = _stack(array, seed, frames, photometric)
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = UID(transfer_syntax)
    dataset.SpecificCharacterSet = "ISO_IR 192"
    loop = len(stack) > 1
    dataset.SOPClassUID = UID(sop_class or (US_MULTIFRAME if loop else US_IMAGE))
    key = (seed, patient_id, accession, frames, photometric, transfer_syntax)
    dataset.SOPInstanceUID = UID(sop_uid or uid_of("sop", *key, stack.tobytes()))
    dataset.StudyInstanceUID = UID(study_uid or uid_of("study", seed, patient_id, accession))
    dataset.SeriesInstanceUID = UID(series_uid or uid_of("series", seed, patient_id, accession))
    dataset.Modality = modality
    dataset.Manufacturer = "Phantom Works"
    dataset.ManufacturerModelName = "Echo 1"
    _identify(dataset, patient_id, issuer, name, birth_date, sex, accession, accession_issuer)
    if laterality:
        dataset.Laterality = laterality
    if image_laterality:
        dataset.ImageLaterality = image_laterality
    if regions is not None:
        dataset.SequenceOfUltrasoundRegions = Sequence([_item(region) for region in regions])
    if loop:
        dataset.NumberOfFrames = len(stack)
        dataset.FrameTime = "40"
    if representative_frame is not None:
        dataset.RepresentativeFrameNumber = representative_frame
    _describe(dataset, stack, photometric, planar, bits, palette)
    _store(dataset, stack, planar, transfer_syntax)
    if number_of_frames is not None:
        dataset.NumberOfFrames = number_of_frames
    for keyword, value in (extra or {}).items():
        setattr(dataset, keyword, value)
    return dataset


def region(
    box: tuple[int, int, int, int], mm_per_pixel: float = 0.1, units: int = 3, **more: Any
) -> dict[str, Any]:
    """An item for `regions`: a 2-D tissue region calibrated in cm (PS3.3 C.8.5.5)."""
    x0, y0, x1, y1 = box
    return {
        "RegionSpatialFormat": 1,
        "RegionDataType": 1,
        "RegionFlags": 2,
        "RegionLocationMinX0": x0,
        "RegionLocationMinY0": y0,
        "RegionLocationMaxX1": x1,
        "RegionLocationMaxY1": y1,
        "PhysicalUnitsXDirection": units,
        "PhysicalUnitsYDirection": units,
        "PhysicalDeltaX": mm_per_pixel / 10,
        "PhysicalDeltaY": mm_per_pixel / 10,
        **more,
    }


def coded(value: str, scheme: str, meaning: str, **more: Any) -> Dataset:
    """A code sequence item (PS3.3 section 8)."""
    return _item(
        {"CodeValue": value, "CodingSchemeDesignator": scheme, "CodeMeaning": meaning, **more}
    )


def _stack(
    array: npt.NDArray[Any] | None, seed: int, frames: int, photometric: str
) -> npt.NDArray[Any]:
    """frames x h x w (x 3)."""
    coloured = not photometric.startswith(("MONO", "PALETTE"))
    if array is None:
        base = bmode_phantom(seed, (96, 128))
        array = np.stack([np.roll(base, 3 * i, axis=1) for i in range(frames)])
        array[:, :2, :8] = np.arange(frames, dtype=np.uint8)[:, None, None] % 251
        if coloured:
            neutral = np.full_like(array, 128) if photometric.startswith("YBR_") else array
            array = np.stack([array, neutral, neutral], axis=-1)
        return array
    if array.ndim == (3 if coloured else 2):
        array = array[None]
        if frames > 1:
            array = np.stack([np.roll(array[0], 3 * i, axis=1) for i in range(frames)])
    return array


def _identify(
    dataset: Dataset,
    patient_id: str,
    issuer: str,
    name: str,
    birth_date: str,
    sex: str,
    accession: str,
    accession_issuer: str,
) -> None:
    dataset.PatientID, dataset.PatientName = patient_id, name
    dataset.PatientBirthDate, dataset.PatientSex = birth_date, sex
    dataset.AccessionNumber = accession
    if issuer:
        dataset.IssuerOfPatientID = issuer
    if accession_issuer:
        item = _item({"LocalNamespaceEntityID": accession_issuer})
        dataset.IssuerOfAccessionNumberSequence = Sequence([item])


def _item(values: dict[str, Any]) -> Dataset:
    item = Dataset()
    for keyword, value in values.items():
        setattr(item, keyword, value)
    return item


def _describe(
    dataset: Dataset,
    stack: npt.NDArray[Any],
    photometric: str,
    planar: int,
    bits: int,
    palette: npt.NDArray[Any] | None,
) -> None:
    samples = 3 if stack.ndim == 4 else 1
    dataset.Rows, dataset.Columns = stack.shape[1:3]
    dataset.SamplesPerPixel = samples
    dataset.PhotometricInterpretation = photometric
    if samples == 3:
        dataset.PlanarConfiguration = planar
    dataset.BitsAllocated = 8 if bits <= 8 else 16
    dataset.BitsStored, dataset.HighBit = bits, bits - 1
    dataset.PixelRepresentation = 1 if stack.dtype.kind == "i" else 0
    if photometric == "PALETTE COLOR":
        # `palette`: entries x 3, uint8 or uint16; by default a warm scale.
        ramp = np.arange(256)
        table = np.stack([ramp, ramp // 2, 255 - ramp], axis=-1).astype(np.uint8)
        table = table if palette is None else palette
        wide = table.astype(np.uint16) * (257 if table.dtype == np.uint8 else 1)
        big = dataset.file_meta.TransferSyntaxUID == EXPLICIT_BIG
        for index, colour in enumerate(("Red", "Green", "Blue")):
            words = wide[:, index].astype(">u2" if big else "<u2").tobytes()
            prefix = f"{colour}PaletteColorLookupTable"
            setattr(dataset, prefix + "Descriptor", [len(table) % 65536, 0, 16])
            setattr(dataset, prefix + "Data", words)


def _store(dataset: Dataset, stack: npt.NDArray[Any], planar: int, syntax: str) -> None:
    """Put the pixels in, natively or compressed."""
    wide = dataset.BitsAllocated == 16
    if syntax == JPEG_BASELINE:
        fragments = [_dicom_jpeg(frame, dataset.PhotometricInterpretation) for frame in stack]
        dataset.PixelData = encapsulate(fragments)
        dataset["PixelData"].VR = "OB"
        dataset.LossyImageCompression = "01"
        return
    if syntax not in _NATIVE and syntax not in (RLE, JPEG_2000, JPEG_LS):
        dataset.PixelData = encapsulate([frame.tobytes() for frame in stack])
        dataset["PixelData"].VR = "OB"
        return
    order = ">" if syntax == EXPLICIT_BIG else "<"
    kind = "i" if stack.dtype.kind == "i" else "u"
    words = stack.astype(f"{order}{kind}{2 if wide else 1}")
    if stack.ndim == 4 and dataset.PhotometricInterpretation == "YBR_FULL_422":
        pairs = words.reshape(*words.shape[:2], -1, 2, 3)
        words = np.concatenate([pairs[..., 0], pairs[..., 0, 1:]], axis=-1)
    elif stack.ndim == 4 and planar == 1 and syntax in _NATIVE:
        words = words.transpose(0, 3, 1, 2)
    data = words.tobytes()
    dataset.PixelData = data + b"\x00" * (len(data) % 2)
    dataset["PixelData"].VR = "OW" if wide or syntax == IMPLICIT_LITTLE else "OB"
    if syntax not in _NATIVE:
        dataset.file_meta.TransferSyntaxUID = UID(EXPLICIT_LITTLE)
        if stack.ndim == 4:
            dataset.PlanarConfiguration = 0
        dataset.compress(UID(syntax), generate_instance_uid=False)


def _dicom_jpeg(frame: npt.NDArray[Any], photometric: str) -> bytes:
    """One JPEG frame whose stream agrees with `photometric`."""
    buffer = io.BytesIO()
    if frame.ndim == 2:
        Image.fromarray(frame).save(buffer, "JPEG", quality=95)
    elif photometric == "RGB":
        Image.fromarray(frame).save(buffer, "JPEG", quality=95, keep_rgb=True)
    else:
        image = Image.fromarray(frame, "YCbCr")
        subsampling = "4:2:2" if photometric == "YBR_FULL_422" else "4:4:4"
        image.save(buffer, "JPEG", quality=95, subsampling=subsampling)
    return buffer.getvalue()
