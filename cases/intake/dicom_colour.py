"""From stored DICOM samples to the picture as it is meant to be seen: 8-bit grey or RGB.

PS3.3 C.7.6.3.1.2 (colour models), C.7.9 (palettes), C.11.1 and C.11.2 (modality and VOI LUT).
Decoder child only.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from PIL import Image
from pydicom.dataset import Dataset

from cases.errors import DicomInvalid
from cases.intake.dicom_layout import Array, Layout
from cases.intake.raster import grey_if_grey

_ROWS_AT_ONCE = 256
_COLOURS = ("Red", "Green", "Blue")
_DESCRIPTOR = "RedPaletteColorLookupTableDescriptor"


def displayed(
    values: Array, photometric: str, layout: Layout, header: Dataset, *, little_endian: bool
) -> Image.Image:
    """`values` (rows x columns, or x 3) as a picture of mode L or RGB.

    Raises `DicomInvalid` when the header lacks what its colour model needs.
    """
    if photometric == "PALETTE COLOR":
        return grey_if_grey(Image.fromarray(_palette(values, header, little_endian=little_endian)))
    if photometric in ("MONOCHROME1", "MONOCHROME2"):
        return Image.fromarray(_monochrome(values, photometric, layout, header, little_endian))
    eight = values if values.dtype == np.uint8 else _top_bits(values, layout.stored)
    if photometric.startswith(("YBR_FULL", "YBR_PARTIAL")):
        eight = _ybr_to_rgb(eight, partial=photometric.startswith("YBR_PARTIAL"))
    return grey_if_grey(Image.fromarray(np.ascontiguousarray(eight)))


def _top_bits(values: Array, stored: int) -> Array:
    shift = stored - 8
    shifted = values >> shift if shift >= 0 else values << -shift
    return np.asarray(shifted, dtype=np.uint8)


def _ybr_to_rgb(values: Array, *, partial: bool) -> Array:
    """The inverse of the matrices of PS3.3 C.7.6.3.1.2, rounded, in strips to spare memory."""
    out = np.empty(values.shape, np.uint8)
    gain, chroma, black = (255 / 219, 255 / 224, 16) if partial else (1.0, 1.0, 0)
    for top in range(0, values.shape[0], _ROWS_AT_ONCE):
        strip = values[top : top + _ROWS_AT_ONCE].astype(np.float32)
        y = (strip[..., 0] - black) * gain
        cb = (strip[..., 1] - 128) * chroma
        cr = (strip[..., 2] - 128) * chroma
        rgb = np.stack((y + 1.402 * cr, y - 0.344136 * cb - 0.714136 * cr, y + 1.772 * cb), -1)
        out[top : top + _ROWS_AT_ONCE] = np.clip(np.rint(rgb), 0, 255)
    return out


# Palettes


def _palette(values: Array, header: Dataset, *, little_endian: bool) -> Array:
    table, first = _colours(header, little_endian=little_endian)
    index = np.clip(values.astype(np.int32) - first, 0, len(table) - 1)
    return np.asarray(table[index])


def _colours(header: Dataset, *, little_endian: bool) -> tuple[Array, int]:
    """The palette as entries x 3, uint8, and the stored value of its first entry."""
    tables = []
    first = 0
    for colour in _COLOURS:
        descriptor = header.get(f"{colour}PaletteColorLookupTableDescriptor")
        if descriptor is None or len(descriptor) != 3:
            raise DicomInvalid("The DICOM image has a colour palette that is missing or damaged.")
        entries, first, bits = (int(v) for v in descriptor)
        entries = entries % 65536 or 65536
        tables.append(_table(header, colour, entries, bits, little_endian=little_endian))
    table = np.stack(tables, axis=-1)
    # 16-bit entries count from 0 to 65535, yet some writers put 8-bit values there.
    if table.dtype == np.uint16:
        table = table >> 8 if int(table.max()) > 255 else table
    return table.astype(np.uint8), first


def _table(header: Dataset, colour: str, entries: int, bits: int, *, little_endian: bool) -> Array:
    """One channel of the palette: uint8 or uint16, `entries` long."""
    order = "<" if little_endian else ">"
    data = header.get(f"{colour}PaletteColorLookupTableData")
    if data:
        if len(data) >= 2 * entries:
            return _words(data, order)[:entries]
        if bits == 8 and len(data) >= entries:
            return _bytes(data, swapped=not little_endian)[:entries]
    segments = header.get(f"Segmented{colour}PaletteColorLookupTableData")
    if segments:
        wide = bits > 8
        words = _words(segments, order) if wide else _bytes(segments, swapped=not little_endian)
        expanded = _expand([int(v) for v in words], entries, wide=wide)
        if len(expanded) == entries:
            return np.array(expanded, np.uint16 if wide else np.uint8)
    raise DicomInvalid("The DICOM image has a colour palette that is missing or damaged.")


def _words(data: bytes, order: str) -> Array:
    return np.frombuffer(data[: len(data) // 2 * 2], f"{order}u2").astype(np.uint16)


def _bytes(data: bytes, *, swapped: bool) -> Array:
    if not swapped:
        return np.frombuffer(data, np.uint8)
    return np.frombuffer(data[: len(data) // 2 * 2], np.uint16).byteswap().view(np.uint8)


def _expand(words: list[int], entries: int, *, wide: bool) -> list[int]:
    """Segmented palette data (PS3.3 C.7.9.2), at most `entries` values."""
    out: list[int] = []
    # (position, segments still to read or None); indirect segments push, never deeper than one.
    stack: list[tuple[int, int | None]] = [(0, None)]
    while stack and len(out) < entries:
        position, left = stack.pop()
        if left == 0 or position + 1 >= len(words):
            continue
        opcode, length = words[position], words[position + 1]
        following = None if left is None else left - 1
        if opcode == 0:
            out += words[position + 2 : position + 2 + length]
            stack.append((position + 2 + length, following))
        elif opcode == 1 and out and length and position + 2 < len(words):
            last, goal = out[-1], words[position + 2]
            steps = range(1, min(length, entries - len(out)) + 1)
            out += [round(last + (goal - last) * step / length) for step in steps]
            stack.append((position + 3, following))
        elif opcode == 2 and not (stack or left is not None):
            size = 2 if wide else 4
            parts = words[position + 2 : position + 2 + size]
            low_first = sum(v << (16 if wide else 8) * i for i, v in enumerate(parts))
            stack += [(position + 2 + size, None), (low_first // (2 if wide else 1), length)]
        else:
            break
    return out[:entries]


# Grey


def _monochrome(
    values: Array, photometric: str, layout: Layout, header: Dataset, little: bool
) -> Array:
    """Grey, and in colour where the header says that high values are of another palette
    (Supplemental Palette Color Lookup Table, PS3.3 C.7.6.19)."""
    presented = str(header.get("PixelPresentation") or "").strip()
    if presented not in ("COLOR", "MIXED") or _DESCRIPTOR not in header:
        return _grey(values, photometric, layout, header, little=little)
    table, first = _colours(header, little_endian=little)
    grey = _grey(values, photometric, layout, header, little=little, below=first)
    index = values.astype(np.int32) - first
    coloured = (index >= 0) & (index < len(table))
    if not coloured.any():
        return grey
    out = np.repeat(grey[:, :, None], 3, axis=2)
    out[coloured] = table[index[coloured]]
    return out


def _grey(
    values: Array,
    photometric: str,
    layout: Layout,
    header: Dataset,
    *,
    little: bool,
    below: int | None = None,
) -> Array:
    """Modality LUT, VOI LUT, then 0..255; one table over all stored values (those `below`),
    applied once."""
    low = -(1 << (layout.stored - 1)) if layout.signed else 0
    high = low + (1 << layout.stored)
    if below is not None and low < below < high:
        high = below
    stored = np.arange(low, high, dtype=np.float64)
    with np.errstate(all="ignore"):
        table = _voi(_modality(stored, header, little=little), header, little=little)
    eight = np.rint(np.nan_to_num(table) * 255).astype(np.uint8)
    if photometric == "MONOCHROME1":
        eight = 255 - eight
    index = np.clip(values.astype(np.int32) - low, 0, len(eight) - 1)
    return np.asarray(eight[index])


def _modality(stored: Array, header: Dataset, *, little: bool) -> Array:
    sequence = header.get("ModalityLUTSequence")
    if sequence:
        return _lookup(stored, sequence[0], little=little)[0]
    slope = _first(header.get("RescaleSlope")) or 1.0
    return np.asarray(stored * slope + (_first(header.get("RescaleIntercept")) or 0.0))


def _voi(values: Array, header: Dataset, *, little: bool) -> Array:
    """0..1 by the first VOI LUT or window of the header; else the full range of the values."""
    sequence = header.get("VOILUTSequence")
    if sequence:
        looked_up, top = _lookup(values, sequence[0], little=little)
        return np.clip(looked_up / top, 0, 1)
    centre, width = _first(header.get("WindowCenter")), _first(header.get("WindowWidth"))
    function = str(header.get("VOILUTFunction") or "LINEAR").strip()
    if centre is not None and width is not None and width > 0:
        if function == "SIGMOID":
            return np.asarray(1 / (1 + np.exp(np.clip(-4 * (values - centre) / width, -60, 60))))
        if function == "LINEAR_EXACT":
            return np.asarray(np.clip((values - centre) / width + 0.5, 0, 1))
        if width == 1:
            return np.asarray(values > centre - 0.5, dtype=np.float64)
        if width > 1:
            return np.asarray(np.clip((values - (centre - 0.5)) / (width - 1) + 0.5, 0, 1))
    low, high = float(values.min()), float(values.max())
    return np.asarray((values - low) / ((high - low) or 1.0))


def _lookup(values: Array, item: Any, *, little: bool) -> tuple[Array, float]:
    """`values` through a LUT item (PS3.3 C.11.1.1); the result and its largest possible value."""
    entries, first, bits = (int(v) for v in item.LUTDescriptor)
    entries = entries % 65536 or 65536
    # Whether the first value has a sign depends on what goes in; parsers guess.
    if first > 32767 and float(values.min()) < 0:
        first -= 65536
    elif first < 0 and float(values.min()) >= 0:
        first += 65536
    data = item.LUTData
    if isinstance(data, bytes):
        table = _words(data, "<" if little else ">")
        if len(table) < entries and len(data) >= entries:
            table = _bytes(data, swapped=not little)
    else:
        table = np.asarray([data] if isinstance(data, int) else list(data))
    if not 1 <= bits <= 16 or len(table) < entries:
        raise DicomInvalid("The DICOM image has a grey scale table that is damaged.")
    index = np.clip(np.rint(values) - first, 0, entries - 1).astype(np.int32)
    return table[index].astype(np.float64), float((1 << bits) - 1)


def _first(value: Any) -> float | None:
    """The first of one or several decimal strings; None when there is none."""
    if value is None or value == "":
        return None
    try:
        number = float(
            value[0] if isinstance(value, list | tuple) or hasattr(value, "append") else value
        )
    except (TypeError, ValueError, IndexError):
        return None
    return number if math.isfinite(number) else None
