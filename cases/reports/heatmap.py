"""A stored class activation map as a picture to lay over the image. Pure functions."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image as Raster

from cases.models import Result

CLASSES = ("benign", "malignant", "normal")
# Largest side of the picture: the map is 7 x 7, more pixels would only look more exact.
MAX_SIDE = 512


def result_heatmap_png(result: Result, label: str) -> bytes | None:
    """The heatmap of a stored result for ``label``; None where it has none (refused)."""
    if not result.heatmap or not result.heatmap_box:
        return None
    x0, y0, x1, y1 = result.heatmap_box
    return heatmap_png(
        bytes(result.heatmap),
        rows=result.heatmap_rows,
        columns=result.heatmap_columns,
        box=(x0, y0, x1, y1),
        width=result.image.width,
        height=result.image.height,
        label=label,
    )


def heatmap_png(
    data: bytes,
    *,
    rows: int,
    columns: int,
    box: tuple[float, float, float, float],
    width: int,
    height: int,
    label: str = "malignant",
) -> bytes:
    """RGBA PNG covering the whole displayed frame, transparent where the map does not speak.

    ``data``: float16, C order, 3 x ``rows`` x ``columns``. ``box``: x0, y0, x1, y1 in pixels of
    the frame, which the grid covers (it may reach beyond the frame). Only positive evidence for
    ``label`` is drawn, scaled to the map's own maximum: the picture tells where, not how much.
    """
    maps = np.frombuffer(data, dtype=np.float16).reshape(3, rows, columns).astype(np.float32)
    grid = np.clip(maps[CLASSES.index(label)], 0, None)
    peak = float(grid.max())
    grid = grid / peak if peak > 0 else grid
    scale = min(1.0, MAX_SIDE / max(width, height))
    out_width, out_height = max(1, round(width * scale)), max(1, round(height * scale))
    strength = _sample(grid, box=box, frame=(width, height), out=(out_width, out_height))
    rgba = np.zeros((out_height, out_width, 4), dtype=np.uint8)
    # One hue with opacity as strength: reads the same for colour-blind people and in grey.
    rgba[..., 0], rgba[..., 1], rgba[..., 2] = 255, 176, 0
    rgba[..., 3] = (strength * 200).astype(np.uint8)
    target = io.BytesIO()
    Raster.fromarray(rgba).save(target, format="PNG", compress_level=6)
    return target.getvalue()


def _sample(
    grid: np.ndarray,
    *,
    box: tuple[float, float, float, float],
    frame: tuple[int, int],
    out: tuple[int, int],
) -> np.ndarray:
    """Bilinear values of ``grid`` (cell centres) at the centres of the output pixels; 0 outside."""
    x0, y0, x1, y1 = box
    rows, columns = grid.shape
    x = (np.arange(out[0]) + 0.5) * frame[0] / out[0]
    y = (np.arange(out[1]) + 0.5) * frame[1] / out[1]
    column = (x - x0) / (x1 - x0) * columns - 0.5
    row = (y - y0) / (y1 - y0) * rows - 0.5
    inside = ((row >= -0.5) & (row <= rows - 0.5))[:, None] & (
        (column >= -0.5) & (column <= columns - 0.5)
    )[None, :]
    column, row = np.clip(column, 0, columns - 1), np.clip(row, 0, rows - 1)
    left, top = np.floor(column).astype(int), np.floor(row).astype(int)
    right, bottom = np.minimum(left + 1, columns - 1), np.minimum(top + 1, rows - 1)
    fx, fy = (column - left)[None, :], (row - top)[:, None]
    upper = grid[np.ix_(top, left)] * (1 - fx) + grid[np.ix_(top, right)] * fx
    lower = grid[np.ix_(bottom, left)] * (1 - fx) + grid[np.ix_(bottom, right)] * fx
    sampled: np.ndarray = (upper * (1 - fy) + lower * fy) * inside
    return sampled
