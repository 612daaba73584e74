"""The report of a case as a PDF: the words of `case_report`, laid out on A4. Pure functions.

Made by reportlab, which needs no system library, in Roboto, whose glyphs reach from Latin over
Greek to Cyrillic. What a name has beyond those is printed as "?" and said to be so.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from functools import cache, partial
from typing import Any, cast
from uuid import UUID
from xml.sax.saxutils import escape

from django.utils.translation import get_language, gettext
from django.utils.translation import gettext_noop as _
from font_roboto import font_files
from reportlab.lib.colors import HexColor
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import (
    Flowable,
    Image,
    KeepTogether,
    Paragraph,
    SimpleDocTemplate,
    Spacer,
    Table,
)

from cases.reports.case_report import (
    CANNOT_TITLE,
    OUTSIDE_TITLE,
    READINGS_TITLE,
    CaseReport,
    Fact,
    ReportImage,
    ReportReading,
    Scale,
)

REGULAR, BOLD = "Roboto", "RobotoBold"
INK, MUTED, LINE = HexColor("#1a1f24"), HexColor("#535d67"), HexColor("#d3d8dd")
TRACK, FILL, CAUTION = HexColor("#e1e5e9"), HexColor("#6d8196"), HexColor("#b86e00")
MARGIN = 15 * mm
FOOT = 12 * mm
PICTURE = 62 * mm
# The library keeps this much clear inside the margins.
PADDING = 6
LEFT, RIGHT = MARGIN + PADDING, A4[0] - MARGIN - PADDING
WIDTH = RIGHT - LEFT
UNPRINTABLE = _(
    "Signs this document has no glyph for are printed as “?”; the page of the case has them."
)


@cache
def _fonts() -> frozenset[int]:
    """Makes the fonts known, once a process; the signs that both of them have."""
    for name in (REGULAR, BOLD):
        pdfmetrics.registerFont(TTFont(name, font_files[name]))
    pdfmetrics.registerFontFamily(REGULAR, normal=REGULAR, bold=BOLD, italic=REGULAR)
    # The type of a font in general knows of no face.
    regular, bold = (cast("Any", pdfmetrics.getFont(name)).face for name in (REGULAR, BOLD))
    return frozenset(regular.charToGlyph) & frozenset(bold.charToGlyph)


def _style(name: str, size: float, *, bold: bool = False, **more: Any) -> ParagraphStyle:
    return ParagraphStyle(
        name,
        fontName=BOLD if bold else REGULAR,
        fontSize=size,
        leading=size * 1.35,
        **{"textColor": INK, **more},
    )


TITLE = _style("title", 15, bold=True, spaceAfter=3)
HEAD = _style("head", 10.5, bold=True, spaceBefore=7, spaceAfter=2)
BODY = _style("body", 8.5)
LEAD = _style("lead", 9.5, bold=True)
SMALL = _style("small", 7.5, textColor=MUTED)


class _Bars(Flowable):
    """The scores as bars on one axis from 0 to 1, the operating point across all of them."""

    ROW, LABEL, TEXT = 12.0, 44.0, 32.0

    def __init__(self, scale: Scale, width: float) -> None:
        super().__init__()
        self.scale = scale
        self.width = width
        self.height = self.ROW * len(scale.scores) + 13

    def wrap(self, *_: float) -> tuple[float, float]:
        return self.width, self.height

    def draw(self) -> None:
        canvas: Canvas = self.canv
        left, across = self.LABEL + self.TEXT, self.width - self.LABEL - self.TEXT - 4
        for n, score in enumerate(self.scale.scores):
            low = self.height - self.ROW * (n + 1)
            canvas.setFillColor(INK)
            canvas.setFont(REGULAR, 8)
            canvas.drawString(0, low + 3, score.label)
            canvas.setFont(BOLD, 8)
            canvas.drawRightString(left - 6, low + 3, score.text)
            canvas.setFillColor(TRACK)
            canvas.rect(left, low + 3, across, 6, stroke=0, fill=1)
            canvas.setFillColor(CAUTION if score.key == "malignant" else FILL)
            canvas.rect(left, low + 3, across * min(max(score.value, 0), 1), 6, stroke=0, fill=1)
        at = left + across * self.scale.threshold
        canvas.setStrokeColor(INK)
        canvas.setLineWidth(1)
        canvas.line(at, 10, at, self.height)
        canvas.setFillColor(MUTED)
        canvas.setFont(REGULAR, 7)
        canvas.drawString(left, 1, "0")
        canvas.drawRightString(left + across, 1, "1")
        half = canvas.stringWidth(self.scale.threshold_text, REGULAR, 7) / 2
        canvas.setFillColor(INK)
        canvas.drawCentredString(
            min(max(at, left + half + 6), left + across - half - 6), 1, self.scale.threshold_text
        )


class _Numbered(Canvas):
    """Each page says what it is, which of how many, and what this software is."""

    def __init__(self, report: CaseReport, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.report = report
        self._pages: list[dict[str, Any]] = []

    def showPage(self) -> None:  # noqa: N802 - the library's name
        self._pages.append(dict(self.__dict__))
        self._startPage()  # type: ignore[attr-defined]

    def save(self) -> None:
        for number, page in enumerate(self._pages, start=1):
            self.__dict__.update(page)
            self._foot(number, len(self._pages))
            super().showPage()
        super().save()

    def _foot(self, number: int, of: int) -> None:
        self.setStrokeColor(LINE)
        self.line(LEFT, FOOT + 12, RIGHT, FOOT + 12)
        self.setFillColor(MUTED)
        self.setFont(REGULAR, 7)
        self.drawString(LEFT, FOOT + 3, self.report.research_note)
        self.drawString(
            LEFT,
            FOOT - 6,
            gettext("{printed}. Record {reference}").format(
                printed=self.report.printed, reference=self.report.reference
            ),
        )
        self.drawRightString(
            RIGHT, FOOT + 3, gettext("Page {number} of {of}").format(number=number, of=of)
        )


def case_report_pdf(report: CaseReport, pictures: Mapping[UUID, bytes]) -> bytes:
    """The PDF's bytes. ``pictures``: encoded rasters by image, of those that have one."""
    return _Layout(report, pictures).pdf()


class _Layout:
    def __init__(self, report: CaseReport, pictures: Mapping[UUID, bytes]) -> None:
        self.glyphs = _fonts()
        self.report = report
        self.pictures = pictures
        self.replaced = False

    def pdf(self) -> bytes:
        report = self.report
        story: list[Flowable] = [
            self.paragraph(report.title, TITLE),
            self.facts(report.facts, columns=3),
            self.paragraph(report.summary, LEAD),
            *self.outside(),
        ]
        for image in report.images:
            story.append(self.image(image))
        if report.images_left_out:
            story.append(self.paragraph(report.images_left_out, BODY))
        if report.heatmap:
            story.append(self.paragraph(report.heatmap, SMALL))
        story += self.readings()
        story.append(self.paragraph(gettext(CANNOT_TITLE), HEAD))
        story.append(self.paragraph(report.cannot_know, SMALL))
        if self.replaced:
            story.append(self.paragraph(gettext(UNPRINTABLE), SMALL))
        target = io.BytesIO()
        document = SimpleDocTemplate(
            target,
            pagesize=A4,
            leftMargin=MARGIN,
            rightMargin=MARGIN,
            topMargin=MARGIN,
            bottomMargin=FOOT + 8 * mm,
            # Of the file, which may travel: it names nobody.
            title=gettext("Report of a case"),
            author="bcweb",
            subject=report.research_note,
            lang=get_language() or "en",
        )
        document.build(story, canvasmaker=partial(_Numbered, report))
        return target.getvalue()

    def printable(self, text: str) -> str:
        shown = "".join(c if ord(c) in self.glyphs or c == "\n" else "?" for c in text)
        self.replaced = self.replaced or shown != text
        return shown

    def paragraph(self, text: str, style: ParagraphStyle) -> Paragraph:
        return Paragraph(escape(self.printable(text)), style)

    def facts(self, facts: Sequence[Fact], *, columns: int = 1, width: float = WIDTH) -> Table:
        cells = [
            Paragraph(
                f'<font color="#535d67" size="7.5">{escape(self.printable(fact.label))}</font><br/>'
                f"{escape(self.printable(fact.text))}",
                BODY,
            )
            for fact in facts
        ]
        parts = [cells[n : n + columns] for n in range(0, len(cells), columns)]
        rows: list[list[Any]] = [[*part, *[""] * (columns - len(part))] for part in parts]
        return _table(rows, [width / columns] * columns)

    def outside(self) -> list[Flowable]:
        if not self.report.outside:
            return []
        return [
            self.paragraph(gettext(OUTSIDE_TITLE), HEAD),
            *(self.paragraph(words, BODY) for words in self.report.outside),
            self.paragraph(self.report.outside_meaning, SMALL),
        ]

    def image(self, image: ReportImage) -> Flowable:
        beside = WIDTH - PICTURE - 5 * mm
        told: list[Flowable] = [
            self.paragraph(image.state, LEAD),
            self.paragraph(image.headline, BODY),
        ]
        if image.scale is not None:
            told += [Spacer(0, 3), _Bars(image.scale, beside)]
        told += [self.paragraph(note, BODY) for note in image.notes]
        told.append(self.facts((*image.facts, *image.rests_on), columns=2, width=beside))
        told += [self.paragraph(line, SMALL) for line in image.others]
        row = [[self.picture(image), told]]
        table = _table(row, [PICTURE + 5 * mm, beside])
        return KeepTogether([self.paragraph(image.title, HEAD), table])

    def picture(self, image: ReportImage) -> Flowable:
        raster = self.pictures.get(image.image_id)
        if raster is None:
            return Spacer(PICTURE, 0)
        drawn = Image(io.BytesIO(raster))
        scale = min(PICTURE / drawn.imageWidth, PICTURE / drawn.imageHeight)
        drawn.drawWidth, drawn.drawHeight = drawn.imageWidth * scale, drawn.imageHeight * scale
        drawn.hAlign = "LEFT"
        return drawn

    def readings(self) -> list[Flowable]:
        story: list[Flowable] = [self.paragraph(gettext(READINGS_TITLE), HEAD)]
        for place in self.report.places:
            story.append(self.paragraph(place.title, LEAD))
            for reading in place.readings:
                story += self.reading(reading, 0)
            if not place.readings:
                story.append(self.paragraph(self.report.not_read, BODY))
        return story

    def reading(self, reading: ReportReading, depth: int) -> list[Flowable]:
        body = ParagraphStyle(f"reading{depth}", parent=BODY, leftIndent=depth * 12)
        small = ParagraphStyle(f"signed{depth}", parent=SMALL, leftIndent=depth * 12)
        lines = [self.paragraph(line, body) for line in (reading.title, *reading.lines)]
        story: list[Flowable] = [*lines, self.paragraph(reading.signed, small)]
        for addendum in reading.addenda:
            story += self.reading(addendum, depth + 1)
        return story


def _table(rows: list[list[Any]], widths: list[float]) -> Table:
    style = [
        ("VALIGN", (0, 0), (-1, -1), "TOP"),
        ("LEFTPADDING", (0, 0), (-1, -1), 0),
        ("RIGHTPADDING", (0, 0), (-1, -1), 4),
        ("TOPPADDING", (0, 0), (-1, -1), 1.5),
        ("BOTTOMPADDING", (0, 0), (-1, -1), 1.5),
    ]
    return Table(rows, colWidths=widths, style=style, hAlign="LEFT", splitInRow=1)
