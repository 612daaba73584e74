"""Find the ultrasound region of a screen picture, only where it is certain."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage

Box = tuple[int, int, int, int]

_WORK = 160  # pixels on the longer side while searching
_LIT = 12  # grey level above which a pixel is not background
_MIN_AREA = 0.20  # of the picture: a smaller region is not trusted
_MIN_SIDE = 0.40  # of the picture's width and height
_MIN_FILL = 0.55  # of its box: a sector fills about 0.6, text and rulers far less
_MIN_GAIN = 0.04  # of the picture: a smaller cut is not worth the risk
_MARGIN = 1.5  # cells of the search grid left around the region


def bmode_box(image: npt.NDArray[np.uint8]) -> Box:
    """Box of the B-mode region: uint8 HxWx3 -> (x0, y0, x1, y1) in pixels.

    The region is the largest connected lit area once thin things (letters, rulers, lines) are
    opened away and speckle gaps are closed. It is used only when it is large, fills its box and
    the cut is worth it; else the whole picture is returned. Depth below the last echo is kept
    down to the picture's edge unless the black there is more than a third of the height.
    """
    height, width = image.shape[:2]
    whole = (0, 0, width, height)
    step = max(1.0, max(width, height) / _WORK)
    cells = (max(8, round(width / step)), max(8, round(height / step)))
    small = np.asarray(Image.fromarray(image).convert("L").resize(cells, Image.Resampling.BOX))
    lit = ndimage.binary_opening(ndimage.binary_closing(small > _LIT, iterations=2), iterations=2)
    labels, count = ndimage.label(lit)
    if count == 0:
        return whole
    sizes = np.bincount(labels.ravel())[1:]
    region = labels == int(sizes.argmax()) + 1
    rows, cols = np.flatnonzero(region.any(axis=1)), np.flatnonzero(region.any(axis=0))
    y0, y1, x0, x1 = rows[0], rows[-1] + 1, cols[0], cols[-1] + 1
    high, wide = region.shape
    area = (y1 - y0) * (x1 - x0)
    certain = (
        area >= _MIN_AREA * region.size
        and (y1 - y0) >= _MIN_SIDE * high
        and (x1 - x0) >= _MIN_SIDE * wide
        and region.sum() >= _MIN_FILL * area
    )
    if not certain:
        return whole
    if y1 > high * 2 / 3:
        y1 = high  # echoes fade with depth: the dark end belongs to the picture
    scale_x, scale_y = width / wide, height / high
    box = (
        max(0, int((x0 - _MARGIN) * scale_x)),
        max(0, int((y0 - _MARGIN) * scale_y)),
        min(width, int(np.ceil((x1 + _MARGIN) * scale_x))),
        min(height, int(np.ceil((y1 + _MARGIN) * scale_y))),
    )
    kept = (box[2] - box[0]) * (box[3] - box[1])
    return box if kept <= (1 - _MIN_GAIN) * width * height else whole
