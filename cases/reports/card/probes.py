"""What was measured about the heatmap and about shortcuts."""

from __future__ import annotations

from collections.abc import Iterator

from django.utils.translation import gettext, gettext_noop

from cases.reports.card.blocks import (
    Block,
    Entries,
    Part,
    Section,
    Text,
    bounds_of,
    entry,
    facts,
    rest,
    sentences,
    table,
)
from cases.reports.card.values import (
    Fields,
    counted,
    figure,
    interval,
    mapping,
    number,
    percent,
    sequence,
    source,
    text,
    texts,
    title,
)

HEATMAP = gettext_noop(
    "The heatmap is coarse: 7 × 7 cells over the input square. It shows where the model found "
    "evidence for a class. It shows neither the extent of a lesion nor the cause of the answer."
)
_RATES = (
    ("hit_rate", gettext_noop("Heatmap")),
    ("centre", gettext_noop("Always the centre")),
    ("fixed_point", gettext_noop("Best fixed point")),
)
# Keys that say where figures come from, shown beside them.
_ABOUT = ("title", "command", "about", "note", "order", "data", "grouping_rule")
_CHANGES = (
    "mirrored",
    "calipers_anywhere",
    "calipers_at_lesion",
    "text",
    "marks_removed",
    "black_frame",
    "cropped",
    "darker",
    "brighter",
)


def _entries(value: object, mark: str) -> Iterator[tuple[str, Fields]]:
    """One measurement, or several by name: whichever holds the key ``mark``."""
    fields = mapping(value)
    if mark in fields:
        yield text(fields.get("title")), fields
        return
    found = [(str(k), mapping(v)) for k, v in fields.items() if mark in mapping(v)]
    found.sort(key=lambda one: (number(one[1].get("order")) or 0, one[0]))
    for name, one in found:
        yield text(one.get("title")) or title(name), one


def _others(value: object, mark: str) -> tuple[Block, ...]:
    """What under the section's key is not a measurement."""
    if not isinstance(value, dict):
        said = texts(value)
        return sentences(said) or ((Entries("", (entry("stated", value),)),) if value else ())
    if mark in value:
        return ()
    return rest(value, [k for k, v in value.items() if mark in mapping(v)])


def _origin(fields: Fields) -> tuple[Block, ...]:
    command = text(fields.get("command"))
    data = mapping(fields.get("data"))
    named = " ".join(t for t in (text(data.get("name")), text(data.get("part"))) if t)
    return (
        *sentences([*texts(fields.get("about")), *texts(fields.get("note"))]),
        *((Text(command, code=True),) if command else ()),
        *facts(
            [(gettext("Data"), named), (gettext("Digest of the data"), text(data.get("digest")))]
        ),
    )


def heatmap_section(card: Fields) -> Section | None:
    """Always there: each answer has a heatmap, so each card says what it is."""
    value = card.get("heatmap")
    measured = list(_entries(value, "per_source"))
    if not card:
        return None
    blocks = (*sentences([gettext(HEATMAP)]), *_others(value, "per_source"))
    if not value:
        blocks += sentences([gettext("This card holds no measurement of it.")], muted=True)
    if len(measured) == 1 and not measured[0][0]:
        return Section("heatmap", gettext("Heatmap"), (*blocks, *_heatmap(measured[0][1])))
    parts = tuple(
        Part(name or gettext("Heatmap against lesion masks"), _heatmap(f)) for name, f in measured
    )
    return Section("heatmap", gettext("Heatmap"), blocks, parts)


def _heatmap(fields: Fields) -> tuple[Block, ...]:
    rows = list(_pointing_rows(fields))
    better = (gettext("Over the better baseline"),)
    columns = (
        gettext("Lesions"),
        gettext("Images"),
        *(gettext(label) for _, label in _RATES),
        *better,
    )
    rules = mapping(fields.get("rules"))
    known = (
        *("n", "per_source", "per_class", "rules", "seen_in_training"),
        *("out_of_fold", "folds", "folds_measured"),
    )
    how = gettext("out of fold") if fields.get("out_of_fold") is True else ""
    seen = (
        gettext("most of these images were seen in training")
        if fields.get("seen_in_training")
        else ""
    )
    return (
        *_origin(fields),
        *facts([(gettext("Measured"), "; ".join(t for t in (how, seen) if t))]),
        *table(
            # xgettext:no-python-format
            gettext("How often the heatmap's maximum lies at the lesion (95 % interval)"),
            columns,
            (_rates(name, row) for name, row in rows),
        ),
        *table(
            gettext("The same by lesion area (thirds of each row above)"),
            (gettext("Lesions"), gettext("Area, share of the image"), *columns[1:]),
            _area_rows(rows),
        ),
        *facts((title(k), text(v)) for k, v in sorted(rules.items())),
        *rest(fields, (*_ABOUT, *known)),
    )


def _pointing_rows(fields: Fields) -> Iterator[tuple[str, Fields]]:
    sources = mapping(fields.get("per_source"))
    for label in ("malignant", "benign", "normal"):
        for name in sorted(map(str, sources)):
            if row := mapping(mapping(sources[name]).get(label)):
                yield f"{title(label)}, {source(name)}", row
        if len(sources) > 1 and (row := mapping(mapping(fields.get("per_class")).get(label))):
            yield gettext("%(label)s, all") % {"label": title(label)}, row


def _rates(name: str, row: Fields) -> tuple[str, ...]:
    over = figure(row.get("over_better"), bounds_of(row, "over_better"), sign=True)
    rates = (figure(row.get(key), bounds_of(row, key)) for key, _ in _RATES)
    return (name, counted(row.get("n")), *rates, over)


def _area_rows(rows: list[tuple[str, Fields]]) -> Iterator[tuple[str, ...]]:
    for name, row in rows:
        for third in map(mapping, sequence(row.get("per_area"))):
            pair = interval(third.get("area"))
            area = (
                gettext("%(low)s to %(high)s") % {"low": percent(pair[0]), "high": percent(pair[1])}
                if pair
                else "–"
            )
            first, *others = _rates(f"{name}: {gettext(text(third.get('third')))}", third)
            yield (first, area, *others)


def shortcuts_section(card: Fields) -> Section | None:
    value = card.get("shortcuts")
    if not value:
        return None
    blocks = (
        *sentences([gettext("How far the answer hangs on what should not matter.")], muted=True),
        *_others(value, "changes"),
    )
    measured = list(_entries(value, "changes"))
    if len(measured) == 1 and not measured[0][0]:
        return Section(
            "shortcuts", gettext("Shortcuts probed"), (*blocks, *_shortcuts(measured[0][1]))
        )
    parts = tuple(Part(name or gettext("Shortcuts"), _shortcuts(f)) for name, f in measured)
    return Section("shortcuts", gettext("Shortcuts probed"), blocks, parts)


def _shortcuts(fields: Fields) -> tuple[Block, ...]:
    told, normal = mapping(fields.get("source")), mapping(fields.get("normal_score"))
    known = ("n", "counts", "repeats", "threshold", "changes", "source", "normal_score")
    threshold = figure(fields.get("threshold"), digits=3)
    return (
        *_origin(fields),
        *facts(
            [
                (gettext("Images"), counted(fields.get("n"))),
                (gettext("Repeats of random changes"), counted(fields.get("repeats"))),
                (gettext("Operating point"), threshold if threshold != "–" else ""),
            ]
        ),
        *_changes(mapping(fields.get("changes"))),
        *_sources(mapping(told.get("per_class"))),
        *facts([(gettext("Simple facts"), text(told.get("facts")))]),
        *rest(told, ("per_class", "facts")),
        *_normals(normal),
        *rest(fields, (*_ABOUT, *known)),
    )


def _changes(changes: Fields) -> tuple[Block, ...]:
    names = [n for n in _CHANGES if n in changes]
    names += sorted(str(n) for n in changes if n not in _CHANGES)
    found = [(name, mapping(changes[name])) for name in names]
    rows = [
        (
            text(one.get("title")) or title(name),
            counted(one.get("n")),
            figure(one.get("mean_abs_change"), bounds_of(one, "mean_abs_change")),
            *(percent(one.get(k)) for k in ("flipped", "to_malignant", "from_malignant")),
            figure(one.get("auc_before")),
            figure(one.get("auc_change"), bounds_of(one, "auc_change"), sign=True),
        )
        for name, one in found
    ]
    columns = (
        gettext("Change"),
        gettext("Images"),
        gettext("Malignant score moves by"),
        gettext("Answers that flip"),
        gettext("To malignant"),
        gettext("From malignant"),
        gettext("AUC before"),
        gettext("AUC moves by"),
    )
    what = [(text(one.get("title")) or title(name), text(one.get("what"))) for name, one in found]
    return (*table(gettext("What changes to the image do"), columns, rows), *facts(what))


def _sources(found: Fields) -> tuple[Block, ...]:
    rows = []
    for name in sorted(map(str, found)):
        one = mapping(found[name])
        pair = (mapping(one.get("features")), mapping(one.get("facts")))
        shown = (figure(f.get(k)) for f in pair for k in ("balanced_accuracy", "auc"))
        rows.append((title(name), figure(one.get("chance")), *shown))
    columns = (
        gettext("Class"),
        gettext("Chance"),
        gettext("Network features: balanced accuracy"),
        gettext("AUC"),
        gettext("Simple facts: balanced accuracy"),
        gettext("AUC"),
    )
    said = [text(mapping(found[name]).get("sentence")) for name in sorted(map(str, found))]
    caption = gettext("The source told from pixels, among images of one class")
    return (*table(caption, columns, rows), *sentences(said))


def _normals(found: Fields) -> tuple[Block, ...]:
    names = sorted(map(str, found))
    rows = [
        (
            source(name),
            gettext("yes") if mapping(found[name]).get("has_normals") is True else gettext("no"),
            counted(mapping(found[name]).get("n")),
            figure(mapping(found[name]).get("mean_normal_score")),
            percent(mapping(found[name]).get("called_normal")),
        )
        for name in names
    ]
    columns = (
        gettext("Source"),
        gettext("Has normal images"),
        gettext("Images"),
        gettext("Mean normal score"),
        gettext("Called normal"),
    )
    return table(gettext("Normal scores of images with a lesion"), columns, rows)
