"""Simple facts of a picture that tell ultrasounds from other things without a network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ml.bmode import bmode_box
from ml.preprocessing import UInt8Image

Map = npt.NDArray[Any]

WORK: Final = 384
"""The picture is thinned out (every n-th pixel) to about this many pixels on the longer side."""

BLACK: Final = 10  # grey levels up to here are black
_LIGHT: Final = 32  # darker pixels have no colour worth the name
_GREY: Final = 0.002  # a smaller share of pixels with any colour makes no coloured picture
_COLOUR_STEP: Final = 48  # distance from the picture's own tint, in grey levels
_GAP_LIT: Final = 0.05  # lit share of a column that still counts as a gap
_RULER_LIT: Final = 0.25  # a depth scale may stand in the gap
_SIDE_LIT: Final = 0.35  # lit share that most columns on each side of a gap must have
_INNER: Final = (0.28, 0.72)  # a dual view is parted in this stretch of the width
_BANDS: Final = 24  # a seam is looked for in as many bands over the height
_SEAM_STEP: Final = 10.0  # grey levels by which a band must change at a seam
_WINDOW: Final = 5  # columns on each side of a seam that are compared


@dataclass(frozen=True)
class PictureFacts:
    """What a picture looks like, whatever it shows.

    ``spread``: standard deviation of the grey levels, 0..128. ``lit``: share of pixels above
    black, 0..1. ``coloured``: share of pixels (0..1) whose colour differs clearly from the
    picture's own tint, lettering and thin marks left out; a sepia or blue B-mode counts as
    grey. ``gap``: width of the dark band between two lit halves as a share of the picture's
    width, 0 where there is none. ``seam``: how much more the picture changes at its strongest
    upright seam than elsewhere, at all depths; about 0.6 in one view.
    """

    spread: float
    lit: float
    coloured: float
    gap: float
    seam: float


def picture_facts(image: UInt8Image) -> PictureFacts:
    """Measure a picture: uint8 HxWx3, from 16 pixels a side on. Deterministic."""
    step = max(1, -(-max(image.shape[:2]) // WORK))
    thin = np.ascontiguousarray(image[::step, ::step])
    green = thin[:, :, 1]
    lit = green > BLACK
    coloured = coloured_share(thin)
    if coloured > 0:
        # Coloured buttons around a picture on a screen are no overlay on the ultrasound.
        x0, y0, x1, y1 = bmode_box(thin)
        coloured = min(coloured, coloured_share(thin[y0:y1, x0:x1]))
    return PictureFacts(
        spread=float(green[::2, ::2].std()),
        lit=float(lit.mean()),
        coloured=coloured,
        gap=dark_gap(green),
        seam=seam(green),
    )


def coloured_share(image: UInt8Image) -> float:
    """Share of pixels whose colour stands out from the picture's tint: uint8 HxWx3 -> 0..1.

    The tint is the median of red - green and blue - green, each relative to the pixel's
    brightness. Pixels count whose four neighbours stand out too, so thin strokes do not.
    """
    planes = np.ascontiguousarray(image.transpose(2, 0, 1))
    light = np.maximum(np.maximum(planes[0], planes[1]), planes[2])
    least = np.minimum(np.minimum(planes[0], planes[1]), planes[2])
    if np.count_nonzero(light - least > _COLOUR_STEP // 2) < _GREY * light.size:
        return 0.0
    values, light = planes.astype(np.int16), light.astype(np.int16)
    red, blue = values[0] - values[1], values[2] - values[1]
    lit = light > _LIGHT
    out = np.zeros(light.shape, dtype=bool)
    for chroma in (red, blue):
        tint = float(np.median(chroma[lit] / light[lit])) if lit.any() else 0.0
        out |= np.abs(chroma - tint * light) > _COLOUR_STEP
    inner = out[1:-1, 1:-1] & out[:-2, 1:-1] & out[2:, 1:-1] & out[1:-1, :-2] & out[1:-1, 2:]
    return float(inner.mean()) if inner.size else 0.0


def dark_gap(grey: UInt8Image) -> float:
    """Width of the dark band between two lit halves as a share of the width; 0 where none.

    ``grey``: uint8 HxW. The band is one piece in the middle stretch, and the columns on both
    sides of it are mostly lit, and bright right up to it: a shadow fades, a gap does not.
    """
    width = grey.shape[1]
    share = (grey > BLACK).mean(axis=0)
    low, high = int(_INNER[0] * width), int(_INNER[1] * width)
    dark = low + np.flatnonzero(share[low:high] < _GAP_LIT)
    if dark.size == 0 or share[dark[0] : dark[-1] + 1].max() > _RULER_LIT:
        return 0.0
    near = max(4, width // 8)
    light = grey.mean(axis=0)
    for outward in (np.arange(dark[0])[::-1], np.arange(dark[-1] + 1, width)):
        close = outward[2 : near + 2]
        if np.mean(share[outward] > _SIDE_LIT) < 0.6 or np.mean(share[close] > _SIDE_LIT) < 0.9:
            return 0.0
        if light[outward[2]] < np.median(light[close]) / 2:
            return 0.0
    return int(dark[-1] - dark[0] + 1) / int(width)


def seam(grey: UInt8Image) -> float:
    """How strongly the picture changes at its strongest upright seam: uint8 HxW -> from 0 on.

    In each band over the height, the medians of a few columns on both sides are compared, which
    leaves lines out. The result is the mean change there over the median change elsewhere, times
    the share of bands that change clearly.
    """
    height, width = grey.shape
    rows = height // _BANDS
    low, high = int(_INNER[0] * width), int(_INNER[1] * width)
    if rows == 0 or high - low < 4 * _WINDOW:
        return 0.0
    reach = _WINDOW + 1
    part = grey[: rows * _BANDS, low - reach : high + reach].astype(np.float32)
    bands = part.reshape(_BANDS, rows, -1).mean(axis=1)
    windows = np.lib.stride_tricks.sliding_window_view(bands, _WINDOW, axis=1)
    medians = np.sort(windows, axis=2)[:, :, _WINDOW // 2]
    change = np.abs(medians[:, reach:] - medians[:, :-reach])
    mean = np.minimum(change, 4 * _SEAM_STEP).mean(axis=0)
    share = (change > _SEAM_STEP).mean(axis=0)
    return float((mean * share).max() / (np.median(mean) + 1))
