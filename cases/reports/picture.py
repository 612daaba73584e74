"""A picture for a report: small enough to print, with the heatmap over it where one is wanted."""

from __future__ import annotations

import io

from PIL import Image as Raster

from cases.models import Result
from cases.reports.heatmap import result_heatmap_png

# Longer side in pixels: about 300 to the inch where the report shows it.
MAX_SIDE = 800


def report_picture(png: bytes, heatmap_of: Result | None = None) -> bytes:
    """``png`` (a frame as displayed) as a PNG of at most ``MAX_SIDE``, grey or colour, 8 bits."""
    with Raster.open(io.BytesIO(png)) as frame:
        picture = frame.convert("L" if frame.mode == "L" and heatmap_of is None else "RGB")
    picture.thumbnail((MAX_SIDE, MAX_SIDE))
    heat = result_heatmap_png(heatmap_of, "malignant") if heatmap_of is not None else None
    if heat is not None:
        with Raster.open(io.BytesIO(heat)) as drawn:
            over = drawn.convert("RGBA").resize(picture.size)
        picture.paste(over, (0, 0), over)
    target = io.BytesIO()
    picture.save(target, format="PNG")
    return target.getvalue()
