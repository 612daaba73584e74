"""Pages that show the near-duplicate groups, conflicts first, for a person to judge.

The pages hold the pictures themselves: patients' pictures, where the data is of patients.
"""

from __future__ import annotations

import functools
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from PIL import Image, ImageDraw, ImageFont

from ml.dataset import Dataset
from ml.duplicates import Grouping
from ml.layouts import printable

PAGE = (1240, 1754)
"""Width and greatest height of a page in pixels: A4 at 150 dots an inch."""
_MARGIN, _HEAD, _GAP = 30, 64, 12
_PICTURE, _CAPTION, _TITLE, _PAD = 180, 46, 26, 8
_CELL = (_PICTURE + _PAD, _PICTURE + _CAPTION)
_COLUMNS = (PAGE[0] - 2 * _MARGIN - _PAD) // _CELL[0]
# Okabe and Ito's vermilion and blue, apart for colour-blind people too; the words say it as well.
_CONFLICT, _ALIKE, _TEXT, _SOFT = "#D55E00", "#0072B2", "#111111", "#555555"


@dataclass(frozen=True)
class _Box:
    """One group on the page: its number, its records' positions and its place in pixels."""

    number: int
    members: tuple[int, ...]
    conflict: bool
    columns: int
    rows: int

    @property
    def width(self) -> int:
        return self.columns * _CELL[0] + _PAD

    @property
    def height(self) -> int:
        return self.rows * _CELL[1] + _TITLE


def contact_sheets(dataset: Dataset, grouping: Grouping) -> Iterator[bytes]:
    """JPEG pages of all near-duplicate groups: those with conflicting labels first.

    Groups are numbered from 1 in the order of the report. Yields nothing where there are none.
    """
    conflicts = set(grouping.conflicts)
    groups = [*grouping.conflicts, *(g for g in grouping.duplicates if g not in conflicts)]
    boxes = [
        _Box(n, g, g in conflicts, min(len(g), _COLUMNS), -(-len(g) // _COLUMNS))
        for n, g in enumerate(groups, start=1)
    ]
    pages = _laid_out(boxes)
    for number, page in enumerate(pages, start=1):
        title = f"Near-duplicate groups, page {number} of {len(pages)}"
        yield _drawn(dataset, page, title)


def _laid_out(boxes: Sequence[_Box]) -> list[list[tuple[int, int, _Box]]]:
    """Boxes with their places, left to right, top to bottom; conflicts and others on own rows."""
    pages: list[list[tuple[int, int, _Box]]] = []
    x, y, row = _MARGIN, _MARGIN + _HEAD, 0
    for before, box in zip([None, *boxes], boxes, strict=False):
        other_kind = before is not None and before.conflict != box.conflict
        if pages and (x + box.width > PAGE[0] - _MARGIN or other_kind):
            x, y, row = _MARGIN, y + row + _GAP, 0
        if not pages or (y + box.height > PAGE[1] - _MARGIN and y > _MARGIN + _HEAD):
            pages.append([])
            x, y, row = _MARGIN, _MARGIN + _HEAD, 0
        pages[-1].append((x, y, box))
        x, row = x + box.width + _GAP, max(row, box.height)
    return pages


def _drawn(dataset: Dataset, page: Sequence[tuple[int, int, _Box]], title: str) -> bytes:
    # As long as its content: shorter on the last page, longer where one group is too large.
    height = max(y + box.height + _MARGIN for _, y, box in page)
    sheet = Image.new("RGB", (PAGE[0], height), "white")
    draw = ImageDraw.Draw(sheet)
    draw.text((_MARGIN, _MARGIN), title, _TEXT, _font(24))
    draw.text((_MARGIN, _MARGIN + 32), _legend(page), _SOFT, _font(15))
    for x, y, box in page:
        colour = _CONFLICT if box.conflict else _ALIKE
        frame = (x, y, x + box.width, y + box.height)
        draw.rectangle(frame, outline=colour, width=5 if box.conflict else 2)
        word = f"{box.number}  CONFLICTING LABELS" if box.conflict else f"{box.number}"
        draw.text((x + _PAD + 2, y + 6), word, colour, _font(17))
        for place, index in enumerate(box.members):
            left = x + _PAD + place % box.columns * _CELL[0]
            top = y + _TITLE + place // box.columns * _CELL[1]
            _draw_picture(sheet, draw, dataset, index, (left, top))
    buffer = io.BytesIO()
    sheet.save(buffer, format="JPEG", quality=88)
    return buffer.getvalue()


def _legend(page: Sequence[tuple[int, int, _Box]]) -> str:
    if any(box.conflict for _, _, box in page):
        return "Thick frame: conflicting labels, quarantined until a person has decided."
    return "All of one label: kept together, never parted by a split."


def _draw_picture(
    sheet: Image.Image,
    draw: ImageDraw.ImageDraw,
    dataset: Dataset,
    index: int,
    at: tuple[int, int],
) -> None:
    record = dataset.records[index]
    picture = Image.fromarray(dataset.read(record))
    picture.thumbnail((_PICTURE, _PICTURE), Image.Resampling.BOX)
    left, top = at
    draw.rectangle((left, top, left + _PICTURE - 1, top + _PICTURE - 1), fill="#E8E8E8")
    middle = (left + (_PICTURE - picture.width) // 2, top + (_PICTURE - picture.height) // 2)
    sheet.paste(picture, middle)
    label = record.label
    if len({r.source for r in dataset.records}) > 1:
        label = f"{label}, {printable(record.source)}"
    name = printable(PurePosixPath(record.file).name)
    _draw_short(draw, (left, top + _PICTURE + 2), label, _TEXT, 17)
    _draw_short(draw, (left, top + _PICTURE + 23), name, _SOFT, 14)


def _draw_short(
    draw: ImageDraw.ImageDraw, at: tuple[int, int], text: str, colour: str, size: int
) -> None:
    """Draw the text, with its middle left out where it is wider than a picture."""
    shown, kept = text, len(text)
    while draw.textlength(shown, _font(size)) > _PICTURE and kept > 4:
        kept -= 1
        shown = f"{text[: kept // 2]}…{text[len(text) - (kept - kept // 2) :]}"
    draw.text(at, shown, colour, _font(size))


@functools.cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
