"""Burnt-in marks and other harmless changes: drawn at known places, or found and filled.

Everything works on whole pictures in original pixels, uint8 HxWx3, and never changes its input.
Sizes follow the longer side, as a system's own marks follow its screen.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from ml.preprocessing import UInt8Image

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]
Generator = np.random.Generator
Point = tuple[int, int]

WORDS: Final = ("RT BREAST 10H", "LT TRANS", "2.3 CM FN", "A+ 14.2mm", "L AXILLA", "8 O'CLOCK")
_INK: Final = (255, 255, 255)
_COLOURED: Final = 60  # between the largest and the smallest channel
_BRIGHT: Final = 200  # of the brightest channel
_THIN: Final = 100  # above what a square of _STROKE pixels leaves of it
_STROKE: Final = 9 / 500  # of the longer side: marks are thinner
_EDGE: Final = 0.65  # of a mark's mean level: what is brighter in its ring is no sharp edge
_RING: Final = 0.04  # of the ring may be that bright
_SQUARE: Final = np.ones((3, 3), dtype=np.bool_)
_MOST: Final = 0.05  # of the picture: more is not marks


@dataclass(frozen=True)
class Change:
    """One change to a picture.

    ``apply`` takes the picture, its lesion mask (uint8 HxW) or None, and a generator; it returns
    None where the change does not apply. ``random`` changes are worth repeating.
    """

    title: str
    what: str
    apply: Callable[[UInt8Image, UInt8Image | None, Generator], UInt8Image | None]
    random: bool = False


def draw_calipers(image: UInt8Image, ends: list[Point]) -> UInt8Image:
    """White plus marks at ``ends`` (x, y), each pair of them joined by a dotted line."""
    canvas = Image.fromarray(image)
    draw = ImageDraw.Draw(canvas)
    width, arm = _line(image), max(3, round(0.014 * max(image.shape[:2])))
    for x, y in ends:
        draw.line((x - arm, y, x + arm, y), fill=_INK, width=width)
        draw.line((x, y - arm, x, y + arm), fill=_INK, width=width)
    for (x0, y0), (x1, y1) in zip(ends[::2], ends[1::2], strict=False):
        dots = max(2, round(np.hypot(x1 - x0, y1 - y0) / (4 * width)))
        for step in np.linspace(0, 1, dots):
            x, y = round(x0 + step * (x1 - x0)), round(y0 + step * (y1 - y0))
            draw.rectangle((x, y, x + width - 1, y + width - 1), fill=_INK)
    return np.array(canvas)


def draw_words(image: UInt8Image, words: str, corner: int) -> UInt8Image:
    """White letters, 4 % of the longer side high, in a corner: 0 to 3 in reading order."""
    canvas = Image.fromarray(image)
    height, width = image.shape[:2]
    font = ImageFont.load_default(size=max(8.0, 0.04 * max(height, width)))
    left, top, right, bottom = font.getbbox(words)
    gap = 0.03 * max(height, width)
    x = gap if corner % 2 == 0 else width - gap - (right - left)
    y = gap if corner < 2 else height - gap - (bottom - top)
    ImageDraw.Draw(canvas).text((max(0.0, x) - left, y - top), words, fill=_INK, font=font)
    return np.array(canvas)


def _line(image: UInt8Image) -> int:
    return max(1, round(float(max(image.shape[:2])) / 500))


def find_marks(image: UInt8Image) -> Bools:
    """Burnt-in marks: bool HxW.

    Coloured pixels, and connected sets of bright pixels that are thin (what a grey opening with
    a square of 9/500 of the longer side takes away) and end sharply all around: reflections in
    tissue fade along their length. Grown by a pixel for the blur of JPEG. Marks that touch bright
    tissue are missed, and a few sharp reflections are taken for marks.
    """
    value = image.max(axis=2).astype(np.int16)
    stroke = max(3, round(_STROKE * max(image.shape[:2])))
    thin = value - ndimage.grey_opening(value, size=(stroke, stroke))
    white = _sharp((value >= _BRIGHT) & (thin >= _THIN), value, least=stroke)
    coloured = ndimage.binary_opening(value - image.min(axis=2) >= _COLOURED)
    found: Bools = ndimage.binary_dilation(white | coloured, structure=_SQUARE)
    return found


def _sharp(candidates: Bools, value: npt.NDArray[np.int16], *, least: int) -> Bools:
    """Connected sets of at least ``least`` pixels whose ring, 2 px out, is nearly all dark."""
    labels, count = ndimage.label(candidates, structure=_SQUARE)
    if count == 0:
        return candidates
    index = np.arange(1, count + 1)
    inner = ndimage.grey_dilation(labels, size=(3, 3))
    ring = np.where(inner == 0, ndimage.grey_dilation(labels, size=(5, 5)), 0)
    level = np.concatenate([[0.0], ndimage.mean(value, labels, index)])
    around = np.maximum(1, ndimage.sum_labels(ring > 0, ring, index))
    bright = ndimage.sum_labels(value > _EDGE * level[ring], ring, index) / around
    size = ndimage.sum_labels(candidates, labels, index)
    kept: Bools = np.concatenate([[False], (size >= least) & (bright <= _RING)])[labels]
    return kept


def fill(image: UInt8Image, marks: Bools) -> UInt8Image:
    """Replace marked pixels by a weighted mean of the unmarked ones around: uint8 HxWx3.

    A Gaussian of 3 px, and of twice that again wherever it reaches no unmarked pixel.
    """
    known = (~marks).astype(np.float32)
    result = image.astype(np.float32)
    left = marks.copy()
    sigma = 3.0
    while left.any() and sigma <= max(image.shape):
        weight = ndimage.gaussian_filter(known, sigma, truncate=3)
        reached = left & (weight > 1e-3)
        for channel in range(3):
            mean = ndimage.gaussian_filter(image[:, :, channel] * known, sigma, truncate=3)
            result[:, :, channel][reached] = mean[reached] / weight[reached]
        left &= ~reached
        sigma *= 2
    return np.asarray(np.rint(result), dtype=np.uint8)


def _calipers_anywhere(image: UInt8Image, _: UInt8Image | None, rng: Generator) -> UInt8Image:
    height, width = image.shape[:2]
    ends = (rng.uniform(0.15, 0.85, (4, 2)) * (width, height)).astype(int)
    return draw_calipers(image, [(x, y) for x, y in ends.tolist()])


def _calipers_at_lesion(
    image: UInt8Image, mask: UInt8Image | None, _: Generator
) -> UInt8Image | None:
    if mask is None:
        return None
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    x, y = int(columns.mean()), int(rows.mean())
    left, right = (int(columns[0]), y), (int(columns[-1]), y)
    return draw_calipers(image, [left, right, (x, int(rows[0])), (x, int(rows[-1]))])


def _words(image: UInt8Image, _: UInt8Image | None, rng: Generator) -> UInt8Image:
    return draw_words(image, WORDS[rng.integers(len(WORDS))], int(rng.integers(4)))


def _without_marks(image: UInt8Image, _: UInt8Image | None, __: Generator) -> UInt8Image | None:
    marks = find_marks(image)
    return fill(image, marks) if 0 < marks.mean() <= _MOST else None


def _framed(image: UInt8Image, _: UInt8Image | None, __: Generator) -> UInt8Image:
    y, x = (round(0.08 * side) for side in image.shape[:2])
    return np.pad(image, ((y, y), (x, x), (0, 0)))


def _cropped(image: UInt8Image, _: UInt8Image | None, rng: Generator) -> UInt8Image:
    height, width = image.shape[:2]
    top, bottom = (rng.uniform(0.01, 0.06, 2) * height).astype(int).tolist()
    left, right = (rng.uniform(0.01, 0.06, 2) * width).astype(int).tolist()
    return np.ascontiguousarray(image[top : height - bottom, left : width - right])


def _gained(factor: float) -> Callable[[UInt8Image, UInt8Image | None, Generator], UInt8Image]:
    def apply(image: UInt8Image, _: UInt8Image | None, __: Generator) -> UInt8Image:
        return np.asarray(np.clip(np.rint(image * np.float32(factor)), 0, 255), dtype=np.uint8)

    return apply


CHANGES: Final[dict[str, Change]] = {
    "mirrored": Change(
        "Mirrored left to right",
        "means nothing for the class: a yardstick for the others",
        lambda image, _, __: np.ascontiguousarray(image[:, ::-1]),
    ),
    "calipers_anywhere": Change(
        "Calipers added anywhere",
        "two pairs of plus marks with dotted lines at random places",
        _calipers_anywhere,
        random=True,
    ),
    "calipers_at_lesion": Change(
        "Calipers added at the lesion",
        "two pairs of plus marks with dotted lines at the ends of the lesion mask",
        _calipers_at_lesion,
    ),
    "text": Change("Text added", "a short label in a random corner", _words, random=True),
    "marks_removed": Change(
        "Burnt-in marks removed",
        "coloured pixels and thin, bright, sharp-edged marks filled from around them, in those "
        "pictures where any are found",
        _without_marks,
    ),
    "black_frame": Change("Black frame added", "8 % of the side at each edge", _framed),
    "cropped": Change("Edges cut off", "1 to 6 % of the side at each edge", _cropped, random=True),
    "darker": Change("Darker", "grey levels times 0.8", _gained(0.8)),
    "brighter": Change("Brighter", "grey levels times 1.25, cut at white", _gained(1.25)),
}
"""The probed changes in order of report."""
