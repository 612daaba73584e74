"""Texture features of a prepared picture, for the comparators of ``ml.baselines``.

Grey-level co-occurrence (Haralick, Shanmugam and Dinstein 1973), uniform local binary patterns
(Ojala, Pietikainen and Maenpaa 2002) and first-order statistics of the grey levels.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.stats import kurtosis, skew
from skimage.feature import graycomatrix, graycoprops, local_binary_pattern

from ml.preprocessing import Preprocessing, UInt8Image

Floats = npt.NDArray[np.float64]

LEVELS = 32
DISTANCES = (1, 2, 4, 8)
ANGLES = (0.0, np.pi / 4, np.pi / 2, 3 * np.pi / 4)
PROPERTIES = ("contrast", "dissimilarity", "homogeneity", "ASM", "correlation", "entropy")
PATTERNS = ((8, 1.0), (16, 2.0))
_PERCENTILES = (5, 25, 50, 75, 95)
_MIN_SIDE = 2 * max(DISTANCES)

NAMES: tuple[str, ...] = (
    *(f"glcm_{p}_{how}_d{d}" for p in PROPERTIES for how in ("mean", "range") for d in DISTANCES),
    *(f"lbp_{points}_{bin_}" for points, _ in PATTERNS for bin_ in range(points + 2)),
    *(f"grey_{name}" for name in ("mean", "std", "skewness", "kurtosis", "entropy", "dark")),
    *(f"grey_p{p}" for p in _PERCENTILES),
)
"""What each column of :func:`features` is."""


def content(image: UInt8Image, preprocessing: Preprocessing) -> UInt8Image:
    """The network's input without its padding: uint8 HxWx3 -> uint8 hxw, grey, sides <= size.

    The padding is black made by us; its share would tell the picture's proportions, not texture.
    A side that would be under 16 pixels is left padded to 16, so that every distance has pairs.
    """
    canvas, geometry = preprocessing.frame(image)
    x0, y0, x1, y1 = geometry.content
    left, top, right, bottom = geometry.covered
    scale_x, scale_y = preprocessing.size / (right - left), preprocessing.size / (bottom - top)
    columns = _span((x0 - left) * scale_x, (x1 - left) * scale_x, preprocessing.size)
    rows = _span((y0 - top) * scale_y, (y1 - top) * scale_y, preprocessing.size)
    return np.asarray(canvas[rows, columns].mean(axis=2).round(), dtype=np.uint8)


def _span(start: float, stop: float, size: int) -> slice:
    first, last = round(start), round(stop)
    if last - first < _MIN_SIDE:
        first = min(max(0, (first + last - _MIN_SIDE) // 2), size - _MIN_SIDE)
        last = first + _MIN_SIDE
    return slice(first, last)


def features(grey: UInt8Image) -> Floats:
    """Features of a grey picture: uint8 hxw, sides of at least 16 px -> float64, finite.

    Co-occurrence: 32 grey levels, distances of 1, 2, 4 and 8 px at 0, 45, 90 and 135 degrees,
    symmetric; of each property the mean and the range over the angles, as Haralick proposed. On
    the diagonals the offset is rounded to whole pixels (a distance of 2 is one row and column).
    """
    return np.concatenate([_co_occurrence(grey), _patterns(grey), _first_order(grey)])


def _co_occurrence(grey: UInt8Image) -> Floats:
    levels = np.asarray(grey // (256 // LEVELS), dtype=np.uint8)
    counts = graycomatrix(levels, DISTANCES, ANGLES, levels=LEVELS, symmetric=True, normed=True)
    found: list[Floats] = []
    for name in PROPERTIES:
        values = graycoprops(counts, name)  # distances x angles
        found.extend((values.mean(axis=1), np.ptp(values, axis=1)))
    return np.concatenate(found)


def _patterns(grey: UInt8Image) -> Floats:
    found: list[Floats] = []
    for points, radius in PATTERNS:
        codes = local_binary_pattern(grey, points, radius, method="uniform").astype(np.int64)
        found.append(np.bincount(codes.ravel(), minlength=points + 2) / codes.size)
    return np.concatenate(found)


def _first_order(grey: UInt8Image) -> Floats:
    values = grey.ravel().astype(np.float64)
    share = np.bincount(grey.ravel(), minlength=256) / grey.size
    used = share[share > 0]
    spread = float(values.std())
    # Skewness and kurtosis of a flat picture are undefined; it has neither.
    shape = (float(skew(values)), float(kurtosis(values))) if spread > 0 else (0.0, 0.0)
    facts = [values.mean(), spread, *shape, -(used * np.log2(used)).sum(), share[:10].sum()]
    return np.array([*facts, *np.percentile(values, _PERCENTILES)])
