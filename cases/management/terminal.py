"""Tables for people at a terminal; plain and wide where the output goes into a file or a pipe."""

from __future__ import annotations

from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

PIPED_WIDTH = 200


def console(stream: Any) -> Console:
    """A console on ``stream``, which may be what Django wraps a command's output in."""
    file = getattr(stream, "_out", stream)
    piped = not getattr(file, "isatty", lambda: False)()
    return Console(file=file, width=PIPED_WIDTH if piped else None, highlight=False, markup=False)


def table(*heads: str) -> Table:
    """A table without a frame. Heads that begin with `>` are of numbers."""
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for head in heads:
        made.add_column(head.lstrip(">"), justify="right" if head.startswith(">") else "left")
    return made


def row(made: Table, *cells: object) -> None:
    """A row of plain text: what stands in a file name is no markup."""
    made.add_row(*(Text(str(cell)) for cell in cells))


def size(count: float) -> str:
    """Bytes in a unit that keeps the number short."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"
