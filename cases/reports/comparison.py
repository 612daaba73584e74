"""A gate's report as a page that sets two models side by side. Pure: the report in, blocks out.

A report of an earlier version has no `comparison`: its confusion matrices are counted from the
answers it holds, and what needs more is left out (`is_whole`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext, gettext_noop

from cases.reports.card.blocks import Block, sentences, table
from cases.reports.card.values import Fields, counted, figure, mapping, percent, sequence, title
from cases.vocabulary import BETTER_BELOW
from cases.words import local

CANDIDATE, ACTIVE = "candidate", "active"
CLASSES = ("benign", "malignant", "normal")
COLUMNS = (*CLASSES, "abstained", "refused")


@dataclass(frozen=True)
class Plot:
    """A curve of both models: the drawing's name, what to look for, and its numbers."""

    name: str
    title: str
    look_for: str
    blocks: tuple[Block, ...]
    has_drawing: bool


def is_whole(report: Fields) -> bool:
    """Whether it holds figures, curves and sources, as reports do since they are compared."""
    return bool(mapping(report.get("comparison")))


def model_names(report: Fields) -> dict[str, str]:
    """Who is compared, the live model of then first, with their versions."""
    models = mapping(report.get("models"))
    return {who: str(models[who]["version"]) for who in (ACTIVE, CANDIDATE) if who in models}


def drawing(report: Fields, name: str) -> str | None:
    """The SVG of a curve; None where the report holds none of this name."""
    figures = mapping(mapping(report.get("comparison")).get("figures"))
    found = figures.get(name)
    return found if isinstance(found, str) else None


def figure_blocks(report: Fields, labels: Mapping[str, str]) -> tuple[Block, ...]:
    """Every metric of both models with its interval, of all pictures and of each source.

    ``labels``: the metrics in words.
    """
    names = model_names(report)
    blocks: list[Block] = []
    for part in sequence(mapping(report.get("comparison")).get("parts")):
        # xgettext:no-python-format
        columns = [gettext("Figure (95 % interval)"), *names.values()]
        if len(names) > 1:
            columns.append(gettext("Difference"))
        rows = [_figure_row(row, names, labels) for row in sequence(part["figures"])]
        blocks += table(_part_caption(part), columns, rows)
    if blocks:
        blocks += sentences(
            [
                gettext(
                    "Difference: the model less the one that was live, on the same images; its "
                    "interval is a paired one. An interval that holds 0 shows no difference."
                )
                if len(names) > 1
                else "",
                gettext(
                    "Intervals come from drawing whole patients. Sensitivity and specificity count "
                    "abstained and refused images as called malignant where that is worse."
                ),
            ],
            muted=True,
        )
    return tuple(blocks)


def _part_caption(part: Fields) -> str:
    where = gettext("All locked images")
    if part["source"]:
        where = gettext("Source %(name)s") % {"name": part["source"]}
    words = gettext(
        "%(where)s: %(n)s images of %(patients)s patients, %(malignant)s of them malignant"
    )
    return words % {
        "where": where,
        "n": counted(part["n"]),
        "patients": counted(part["patients"]),
        "malignant": counted(part["malignant_patients"]),
    }


def _figure_row(row: Fields, names: Mapping[str, str], labels: Mapping[str, str]) -> list[str]:
    label = labels.get(row["metric"], row["metric"])
    if row["metric"] in BETTER_BELOW:
        label += gettext(" (lower is better)")
    cells = [label, *(_with_interval(row.get(who)) for who in names)]
    if len(names) > 1:
        cells.append(_with_interval(row.get("difference"), sign=True))
    return cells


def _with_interval(value: object, *, sign: bool = False) -> str:
    stated = mapping(value)
    return figure(stated.get("value"), stated.get("interval"), sign=sign)


def confusion_blocks(report: Fields) -> tuple[Block, ...]:
    """A matrix for each model: rows truth, columns the answer people see, shares of the row."""
    blocks: list[Block] = []
    for who, name in model_names(report).items():
        rows = [
            (title(label), *(_share_of(cell, sum(row)) for cell in row), counted(sum(row)))
            for label, row in zip(CLASSES, confusion(report, who), strict=True)
        ]
        # One without an answer at all is a column, so that the two stand alike.
        columns = (gettext("Truth"), *(title(column) for column in COLUMNS), gettext("Images"))
        blocks += table(name, columns, rows)
    return tuple(blocks)


def _share_of(cell: int, total: int) -> str:
    return f"{counted(cell)} ({percent(cell / total)})" if cell else "0"


def confusion(report: Fields, who: str) -> list[list[int]]:
    """Counts, rows ``CLASSES``, columns ``COLUMNS``; from the answers where none are kept."""
    kept = mapping(mapping(report.get("comparison")).get("confusions")).get(who)
    if kept is not None:
        return [list(row) for row in kept]
    counts = [[0] * len(COLUMNS) for _ in CLASSES]
    for picture in report["pictures"]:
        answer = _answer(picture[who])
        counts[CLASSES.index(picture["truth"])][COLUMNS.index(answer)] += 1
    return counts


def plots(report: Fields) -> tuple[Plot, ...]:
    """The curves in order of reading, each with its table; none of a report without them."""
    curves = mapping(mapping(report.get("comparison")).get("curves"))
    names = model_names(report)
    found = []
    for name, heading, look_for, key, tabled in _PLOTS:
        rows = mapping(curves.get(key))
        if not rows:
            continue
        blocks = tabled({version: sequence(rows.get(who)) for who, version in names.items()})
        has_drawing = drawing(report, name) is not None
        found.append(Plot(name, gettext(heading), gettext(look_for), blocks, has_drawing))
    return tuple(found)


# Thresholds are told as exactly as they are set.
_DIGITS = {"threshold": 3}
_Rows = Mapping[str, Sequence[Any]]


def _side_by_side(
    caption: str, first: str, key: str, columns: Mapping[str, str], models: _Rows
) -> tuple[Block, ...]:
    """A row for each value of ``key``, and the ``columns`` of each model beside each other."""
    by_model = [{row[key]: row for row in rows} for rows in models.values()]
    heads = [f"{what}, {name}" for name in models for what in columns.values()]
    body = [
        (
            figure(value, digits=_DIGITS.get(key)),
            *(
                figure(mapping(rows.get(value)).get(k), digits=_DIGITS.get(k))
                for rows in by_model
                for k in columns
            ),
        )
        for value in sorted({value for rows in by_model for value in rows})
    ]
    return table(caption, (first, *heads), body)


def _roc_table(models: _Rows) -> tuple[Block, ...]:
    columns = {"specificity": gettext("Specificity"), "threshold": gettext("Threshold")}
    return _side_by_side(
        gettext("Specificity at a sensitivity"), gettext("Sensitivity"), "wanted", columns, models
    )


def _precision_table(models: _Rows) -> tuple[Block, ...]:
    caption = gettext("Precision at a recall of at least")
    return _side_by_side(
        caption, gettext("Recall"), "wanted", {"precision": gettext("Precision")}, models
    )


def _threshold_table(models: _Rows) -> tuple[Block, ...]:
    columns = {"sensitivity": gettext("Sensitivity"), "specificity": gettext("Specificity")}
    blocks = _side_by_side(
        gettext("At round thresholds and the operating points"),
        gettext("Threshold"),
        "threshold",
        columns,
        models,
    )
    own = [
        gettext("%(name)s is served at %(threshold)s")
        % {"name": name, "threshold": figure(row["threshold"], digits=3)}
        for name, rows in models.items()
        for row in rows
        if row["own"]
    ]
    return (*blocks, *sentences([f"{'; '.join(own)}." if own else ""], muted=True))


def _reliability_table(models: _Rows) -> tuple[Block, ...]:
    by_model = {name: {row["from"]: row for row in rows} for name, rows in models.items()}
    ends = {row["from"]: row["to"] for rows in models.values() for row in rows}
    body = []
    for low in sorted(ends):
        cells = [local(f"{low:.2f}–{ends[low]:.2f}")]
        for rows in by_model.values():
            row = mapping(rows.get(low))
            cells += [counted(row.get("n")) or "0", figure(row.get("malignant"))]
        body.append(cells)
    heads = [
        f"{what}, {name}"
        for name in models
        for what in (gettext("Images"), gettext("Share malignant"))
    ]
    return table(gettext("By malignant score"), (gettext("Score"), *heads), body)


_PLOTS: tuple[tuple[str, str, str, str, Callable[[_Rows], tuple[Block, ...]]], ...] = (
    (
        "roc",
        gettext_noop("Sensitivity against false alarms (ROC)"),
        gettext_noop(
            "Look at the upper end, where few malignant images are missed: the model whose line "
            "is further left there raises fewer false alarms. The marks are the operating points."
        ),
        "at_sensitivity",
        _roc_table,
    ),
    (
        "precision-recall",
        gettext_noop("Precision against recall"),
        gettext_noop(
            "Precision is the share of right alarms among all. Look how far the lines hold up to "
            "the right. It hangs on the share of malignant images, which is another one among "
            "your patients."
        ),
        "at_sensitivity",
        _precision_table,
    ),
    (
        "thresholds",
        gettext_noop("Sensitivity and specificity against the threshold"),
        gettext_noop(
            "Look at the dotted operating points: where a line is steep beside one, small changes "
            "of the scores change many answers."
        ),
        "at_threshold",
        _threshold_table,
    ),
    (
        "reliability",
        gettext_noop("Reliability of the scores"),
        gettext_noop(
            "On the diagonal a score says how often such images are malignant. Points under it: "
            "the scores are too high; above it: too low. Long bars: too few images to say."
        ),
        "reliability",
        _reliability_table,
    ),
)
PLOT_NAMES = tuple(name for name, *_ in _PLOTS)


def comparison_data(report: Fields) -> dict[str, Any]:
    """The comparison as data, without drawings and without the names of files.

    ``parts`` and ``curves`` are None in a report of an earlier version.
    """
    kept = mapping(report.get("comparison"))
    models = mapping(report.get("models"))
    return {
        "state": report["state"],
        "n": report["n"],
        "models": models,
        "parts": kept.get("parts"),
        "curves": kept.get("curves"),
        "classes": list(CLASSES),
        "columns": list(COLUMNS),
        "confusions": {who: confusion(report, who) for who in models},
        "changed": [
            {
                "sha256": picture["sha256"],
                "source": picture.get("source"),
                "truth": picture["truth"],
                **{who: _said(picture[who]) for who in (ACTIVE, CANDIDATE)},
            }
            for picture in report["pictures"]
            if ACTIVE in picture and _answer(picture[ACTIVE]) != _answer(picture[CANDIDATE])
        ],
    }


def _answer(said: Fields) -> str:
    """The label, where one was shown; else why there was none."""
    return str(said["label"] if said["outcome"] == "answered" else said["outcome"])


def _said(said: Fields) -> dict[str, Any]:
    return {"answer": _answer(said), "malignant_score": mapping(said["scores"]).get("malignant")}
