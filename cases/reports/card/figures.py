"""Evaluations as tables: side by side, and each in full.

An entry is the JSON of ``ml.evaluate`` or ``ml.crossval`` with ``title``, ``command`` and
``about`` added; every key is optional.
"""

from __future__ import annotations

from collections.abc import Sequence

from django.utils.translation import gettext, gettext_noop

from cases.reports.card.blocks import Block, Part, Section, Text, bounds_of, rest, sentences, table
from cases.reports.card.counts import counts_text, how
from cases.reports.card.metric_names import METRICS, metric_name
from cases.reports.card.strata import STRATA, coverage, strata, unanswered
from cases.reports.card.values import (
    Fields,
    count,
    counted,
    figure,
    interval,
    mapping,
    number,
    round_percent,
    sequence,
    source,
    text,
    texts,
    title,
)
from cases.words import local

_SHORT = tuple((key, short) for key, _, short in METRICS if short)
PARTS = {
    "held_out": gettext_noop("Held-out part, never used for any choice"),
    "validation": gettext_noop(
        "Validation part, used to choose the epoch, temperature and threshold"
    ),
    "train": gettext_noop("Training part"),
}
# Cards call malignant against the two other classes so; the page keeps to one word for it.
_AS_MALIGNANT = {"cancer": gettext_noop("malignant"), "non-cancer": gettext_noop("not malignant")}
_CLASS_FIGURES = ("precision", "recall", "f1")
_HEAD = (
    "title",
    "command",
    "about",
    "note",
    "order",
    "n",
    "n_groups",
    "n_refused",
    "n_abstained",
    "counts",
    "classes",
)
_PLACED = {
    *_HEAD,
    *(key for key, _, _ in METRICS),
    *(key for key, _ in STRATA),
    *_CLASS_FIGURES,
    "ci95",
    "wilson95",
    "confusion",
    "at_operating_point",
    "cancer_confusion",
    "malignant_called_normal",
    "specificity_at_sensitivity",
    "auc_by_class",
    "outcomes",
    "answered_only",
    "as_if_positive",
    "coverage",
    "folds",
    "folds_measured",
    "folds_planned",
}


def evaluations(card: Fields) -> list[tuple[str, Fields]]:
    """Title and figures of everything that was measured, in order of reading.

    The database does not keep the order of keys: entries are sorted by ``order``, then name.
    ``metrics`` of earlier cards come after, held-out first; bare figures count as one part.
    """
    entries = {str(k): v for k, v in mapping(card.get("evaluation")).items() if is_measured(v)}
    names = sorted(entries, key=lambda k: (_order(entries[k]), k))
    found = [(text(entries[k].get("title")) or title(k), entries[k]) for k in names]
    metrics = mapping(card.get("metrics"))
    parts = {str(k): mapping(v) for k, v in metrics.items() if is_measured(v)}
    if not parts and is_measured(metrics):
        parts = {"": metrics}
    order = [name for name in PARTS if name in parts]
    order += sorted(name for name in parts if name not in PARTS)
    found += [
        (gettext(PARTS[k]) if k in PARTS else title(k) or gettext("How it scored"), parts[k])
        for k in order
    ]
    return found


def _order(fields: Fields) -> float:
    given = number(fields.get("order"))
    return float("inf") if given is None else given


def is_measured(value: object) -> bool:
    return any(number(mapping(value).get(key)) is not None for key, _, _ in METRICS)


def evaluation_section(card: Fields) -> Section | None:
    found = evaluations(card)
    unread = {
        f"{key}: {name}": value
        for key in ("evaluation", "metrics")
        for name, value in mapping(card.get(key)).items()
        if isinstance(value, dict | list | str) and not is_measured(value)
    }
    if is_measured(card.get("metrics")):
        unread = {k: v for k, v in unread.items() if k.removeprefix("metrics: ") not in _PLACED}
    if not found and not unread:
        return None
    blocks: tuple[Block, ...] = sentences(
        [
            gettext(
                # xgettext:no-python-format
                "Values with their 95 % intervals, from drawing whole groups of near-duplicates."
            )
        ],
        muted=True,
    )
    if len(found) > 1:
        columns = (
            gettext("Measured on"),
            gettext("Images"),
            *(gettext(short) for _, short in _SHORT),
        )
        blocks += table(
            gettext("Figures side by side"), columns, (_short_row(*one) for one in found)
        )
    parts = tuple(Part(name, _measured(fields)) for name, fields in found)
    return Section("evaluation", gettext("How it scored"), (*blocks, *rest(unread, ())), parts)


def trained_sources(card: Fields) -> str:
    """The sources of the training data: those of a cross-validation over the same data."""
    digest = text(mapping(mapping(card.get("training")).get("data")).get("digest"))
    for _, fields in evaluations(card):
        if digest and text(mapping(fields.get("data")).get("digest")) == digest:
            return " + ".join(sorted(map(source, mapping(fields.get("per_source")))))
    return ""


def _short_row(name: str, fields: Fields) -> tuple[str, ...]:
    values = (figure(fields.get(k), bounds_of(fields, k)) for k, _ in _SHORT)
    return (name, counted(fields.get("n")), *values)


def _measured(fields: Fields) -> tuple[Block, ...]:
    command = text(fields.get("command"))
    classes = tuple(str(c) for c in sequence(fields.get("classes")))
    return (
        *sentences(
            [
                how(fields),
                counts_text(fields),
                *texts(fields.get("about")),
                *texts(fields.get("note")),
            ]
        ),
        *((Text(command, code=True),) if command else ()),
        *_figures(fields),
        *_at_sensitivities(fields),
        *_by_class(fields),
        *_confusions(fields, classes),
        *(block for key, caption in STRATA for block in strata(fields, key, gettext(caption))),
        *unanswered(fields),
        *coverage(fields),
        *_folds(fields),
        *rest(fields, _PLACED),
    )


def _figures(fields: Fields) -> tuple[Block, ...]:
    rows = [
        (metric_name(key, label), figure(fields[key], bounds_of(fields, key)))
        for key, label, _ in METRICS
        if number(fields.get(key)) is not None
    ]
    missed = count(fields.get("malignant_called_normal"))
    if missed is not None:
        rows.append((gettext("Malignant called “normal”, at the operating point"), counted(missed)))
    columns = (
        gettext("Figure"),
        # xgettext:no-python-format
        gettext("Value (95 % interval)"),
    )
    # xgettext:no-python-format
    made = table(gettext("Figures with their 95 % intervals"), columns, rows)
    return (*made, *sentences([_each_on_its_own(mapping(fields.get("wilson95")))], muted=True))


def _each_on_its_own(wilson: Fields) -> str:
    """The intervals that take no account of images that belong together."""
    told = [
        f"{metric_name(key, label)}: {local(f'{pair[0]:.2f}–{pair[1]:.2f}')}"
        for key, label, _ in METRICS
        if (pair := interval(wilson.get(key)))
    ]
    if not told:
        return ""
    words = gettext("Intervals that take each image on its own (Wilson's): %(intervals)s.")
    return words % {"intervals": "; ".join(told)}


def _at_sensitivities(fields: Fields) -> tuple[Block, ...]:
    found = mapping(fields.get("specificity_at_sensitivity"))
    rows = []
    for wanted in sorted(map(str, found)):
        one = mapping(found[wanted])
        if one:
            rows.append(
                (
                    _wanted(wanted),
                    figure(one.get("sensitivity"), one.get("sensitivity_wilson95")),
                    gettext("%(count)s of %(n)s")
                    % {
                        "count": counted(one.get("caught")),
                        "n": counted(one.get("malignant")),
                    },
                    figure(one.get("specificity"), one.get("specificity_wilson95")),
                    figure(one.get("threshold"), digits=3),
                )
            )
    columns = (
        gettext("Wanted sensitivity"),
        gettext("Reached"),
        gettext("Malignant caught"),
        gettext("Specificity"),
        gettext("Threshold"),
    )
    made = table(gettext("Specificity at a wanted sensitivity"), columns, rows)
    about = gettext(
        "Each threshold was chosen on these images themselves. The intervals take each image on "
        "its own (Wilson's), so they can be narrower than those above, which draw whole groups."
    )
    return (*made, *sentences([about] if made else [], muted=True))


def _wanted(key: str) -> str:
    """A sensitivity as the card keys it: "0.95" says "95 %"."""
    try:
        return round_percent(float(key)) or key
    except ValueError:
        return key


def _by_class(fields: Fields) -> tuple[Block, ...]:
    names = [str(c) for c in sequence(fields.get("classes"))]
    names = names or sorted({str(c) for k in _CLASS_FIGURES for c in mapping(fields.get(k))})
    keys = (*_CLASS_FIGURES, "auc_by_class")
    bounds = {k: mapping(mapping(fields.get("ci95")).get(k)) for k in keys}
    rows = [
        (title(n), *(figure(mapping(fields.get(k)).get(n), bounds[k].get(n)) for k in keys))
        for n in names
    ]
    columns = (
        gettext("Class"),
        gettext("Precision"),
        gettext("Recall (sensitivity)"),
        "F1",
        gettext("AUC against the rest"),
    )
    return table(gettext("By class, answering the largest score"), columns, rows)


def _confusions(fields: Fields, classes: Sequence[str]) -> tuple[Block, ...]:
    at_point = mapping(fields.get("at_operating_point"))
    shown = at_point.get("confusion")
    cancer = mapping(fields.get("cancer_confusion"))
    by_largest = fields.get("confusion")
    rest_by_largest = gettext("Malignant or not, largest score")
    rest_at_point = gettext("Malignant or not, operating point")
    return (
        *confusion(gettext("Truth against answer, largest score"), by_largest, classes),
        *confusion(gettext("Truth against answer, operating point"), shown, classes),
        *_cancer(rest_by_largest, cancer, "largest_score"),
        *(
            _cancer(rest_at_point, cancer, "operating_point")
            or _collapsed(rest_at_point, shown, classes)
        ),
        *_point_figures(at_point, fields),
    )


def confusion(caption: str, value: object, classes: Sequence[str]) -> tuple[Block, ...]:
    """Rows truth, columns answer; nothing unless it is square and fits the classes."""
    rows = [[count(cell) for cell in sequence(row)] for row in sequence(value)]
    fits = len(rows) == len(classes) and all(len(row) == len(classes) for row in rows)
    if not classes or not fits or any(cell is None for row in rows for cell in row):
        return ()
    columns = (
        gettext("Truth"),
        *(gettext("Answered %(label)s") % {"label": gettext(name)} for name in classes),
    )
    body = ((title(n), *(counted(c) for c in row)) for n, row in zip(classes, rows, strict=True))
    return table(caption, columns, body)


def _cancer(caption: str, fields: Fields, key: str) -> tuple[Block, ...]:
    classes = [str(c) for c in sequence(fields.get("classes"))]
    return confusion(caption, fields.get(key), [_AS_MALIGNANT.get(c, c) for c in classes])


def _collapsed(caption: str, value: object, classes: Sequence[str]) -> tuple[Block, ...]:
    """Malignant against the other two, from three classes."""
    if "malignant" not in classes or not confusion("", value, classes):
        return ()
    one = classes.index("malignant")
    sums = [[0, 0], [0, 0]]
    for i, row in enumerate(sequence(value)):
        for k, cell in enumerate(row):
            sums[i != one][k != one] += cell
    return confusion(caption, sums, list(_AS_MALIGNANT.values()))


def _point_figures(at_point: Fields, fields: Fields) -> tuple[Block, ...]:
    intervals = mapping(mapping(fields.get("ci95")).get("at_operating_point"))
    rows = [
        (gettext(label), figure(at_point[key], intervals.get(key)))
        for key, label, _ in METRICS
        if number(at_point.get(key)) is not None
    ]
    # xgettext:no-python-format
    columns = (gettext("Figure"), gettext("Value (95 % interval)"))
    return table(
        gettext("Figures of the labels that users see, at the operating point"), columns, rows
    )


def _folds(fields: Fields) -> tuple[Block, ...]:
    rows = []
    for place, row in enumerate(sequence(fields.get("folds"))):
        one = mapping(row)
        number_of = count(one.get("fold"))
        name = str(place if number_of is None else number_of)
        rows.append((name, counted(one.get("n")), *(figure(one.get(k)) for k, _ in _SHORT)))
    planned = count(fields.get("folds_planned"))
    caption = gettext("By fold")
    if planned is not None and len(rows) < planned:
        told = {"done": len(rows), "planned": planned}
        caption = gettext("By fold: %(done)d of %(planned)d were trained and measured") % told
    return table(
        caption,
        (gettext("Fold"), gettext("Images"), *(gettext(short) for _, short in _SHORT)),
        rows,
    )
