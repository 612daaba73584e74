"""How every figure looks: colours, dashes and markers for print and for any colour vision."""

from __future__ import annotations

import io
from typing import Any, Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

COLOURS: Final = ("#0072B2", "#D55E00", "#000000", "#CC79A7")
"""Of Okabe and Ito's palette, blue, vermilion, black and purple: no red against green."""
DASHES: Final = ("-", "--", ":", "-.")
MARKERS: Final = ("o", "s", "^", "D")
GUIDE: Final = "0.45"
"""Grey of lines that only guide the eye; 4.7 to 1 on white."""
STYLE: Final[dict[Any, Any]] = {
    "font.size": 11,
    "axes.titlesize": 10,
    "legend.fontsize": 10,
    "lines.linewidth": 1.8,
    "lines.markersize": 4.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.alpha": 0.3,
    "legend.handlelength": 3.0,
    # Text stays text: it can be searched, read aloud and translated.
    "svg.fonttype": "none",
    "svg.hashsalt": "bcweb",
}


def new_axes(x: str, y: str, *, size: tuple[float, float] = (5.2, 4.0)) -> tuple[Figure, Axes]:
    """A figure of one plot with its axes named; ``size`` in inches."""
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.add_subplot()
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    return figure, axes


def to_svg(figure: Figure, *, title: str, description: str) -> bytes:
    """The figure as SVG with a title and description inside; the same figure, the same bytes.

    Draw figures within ``matplotlib.rc_context(STYLE)`` too: much is fixed when they are made.
    """
    buffer = io.BytesIO()
    facts = {"Date": None, "Title": title, "Description": description}
    with mpl.rc_context(STYLE):
        figure.savefig(buffer, format="svg", metadata=facts)
    return buffer.getvalue()
