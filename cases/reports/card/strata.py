"""Parts of an evaluation: sources, devices, lesion sizes, BI-RADS, and what got no answer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from django.utils.translation import gettext, gettext_noop

from cases.reports.card.blocks import Block, bounds_of, rest, sentences, table
from cases.reports.card.values import (
    Fields,
    count,
    counted,
    device,
    figure,
    interval,
    mapping,
    number,
    percent,
    sequence,
    source,
    text,
    thousands,
    title,
)

STRATA = (
    ("per_source", gettext_noop("By source")),
    ("per_device", gettext_noop("By device")),
    ("per_lesion_area", gettext_noop("By lesion area")),
    ("per_birads", gettext_noop("By BI-RADS category as stated in the data")),
)
_HEADS = {
    "per_source": gettext_noop("Source"),
    "per_device": gettext_noop("Device"),
    "per_lesion_area": gettext_noop("Area"),
    "per_birads": gettext_noop("Category"),
}
_SENSE = ("sensitivity", "specificity")
# A share is that of whole images to within this.
_EXACT = 1e-6


def strata(fields: Fields, key: str, caption: str) -> tuple[Block, ...]:
    """A row for each part; nothing where one part is the whole."""
    found = mapping(fields.get(key))
    parts = {str(k): v for k, v in found.items() if isinstance(v, dict)}
    if len(parts) < 2 and not found.get("rule"):
        return ()
    keys = ("auc_malignant", "sensitivity", "specificity", "accuracy")
    rows = [
        (
            _part_name(key, name),
            counted(parts[name].get("n")),
            counted(mapping(parts[name].get("counts")).get("malignant")),
            *(_figure(parts[name], k) for k in keys),
        )
        for name in _strata_order(parts)
    ]
    columns = (
        gettext(_HEADS.get(key, "Part")),
        gettext("Images"),
        gettext("Malignant"),
        gettext("AUC malignant"),
        *_sense_columns(),
        gettext("Accuracy, largest score"),
    )
    known = ("rule", "bounds", *parts)
    return (
        *table(caption, columns, rows),
        *sentences([_rule(found), _too_few(parts, keys)], muted=True),
        *rest(found, known),
    )


def _part_name(key: str, name: str) -> str:
    if key == "per_source":
        return source(name)
    return device(name) if key == "per_device" else title(name)


def _sense_columns() -> tuple[str, str]:
    return gettext("Sensitivity, operating point"), gettext("Specificity, operating point")


def _figure(part: Fields, key: str) -> str:
    """A figure; where the images are too few for an interval, how many of how many."""
    bounds = _bounds(part, key)
    dropped = bounds is None and bounds_of(part, key) is not None
    return (dropped and _tally(part, key)) or figure(part.get(key), bounds)


def _tally(part: Fields, key: str) -> str:
    """ "9 of 9" of a share whose whole the card tells; empty where it does not."""
    share, images = number(part.get(key)), count(part.get("n"))
    malignant = count(mapping(part.get("counts")).get("malignant"))
    if share is None or images is None or malignant is None:
        return ""
    whole = {"sensitivity": malignant, "specificity": images - malignant, "accuracy": images}
    n = whole.get(key, 0)
    hits = round(share * n)
    if n < 1 or abs(hits / n - share) > _EXACT:
        return ""
    return gettext("%(count)s of %(n)s") % {"count": thousands(hits), "n": thousands(n)}


def _too_few(parts: Fields, keys: Sequence[str]) -> str:
    left_out = any(bounds_of(p, k) is not _bounds(p, k) for p in parts.values() for k in keys)
    words = gettext("A figure without an interval, or a count: too few images to tell one.")
    return words if left_out else ""


def _bounds(part: Fields, key: str) -> object:
    """The interval of a figure; none where drawing anew never changed it: too few images."""
    given = bounds_of(part, key)
    pair = interval(given)
    return None if pair and pair[0] == pair[1] else given


def _rule(found: Fields) -> str:
    said, pair = text(found.get("rule")), interval(found.get("bounds"))
    if not said:
        return ""
    said = said[:1].upper() + said[1:]
    if not pair:
        return f"{said}."
    return gettext("%(rule)s (bounds: %(low)s and %(high)s).") % {
        "rule": said,
        "low": percent(pair[0]),
        "high": percent(pair[1]),
    }


def _strata_order(names: Iterable[str]) -> list[str]:
    sizes = ("small", "middle", "large")
    return sorted(names, key=lambda n: (sizes.index(n) if n in sizes else 0, n == "not stated", n))


def unanswered(fields: Fields) -> tuple[Block, ...]:
    outcomes = mapping(fields.get("outcomes"))
    given = [n for n in ("answered", "abstained", "refused") if n in outcomes]
    given += sorted(str(n) for n in outcomes if n not in given)
    shares = {n: mapping(mapping(outcomes[n]).get("share_by_class")) for n in given}
    classes = sorted({str(c) for n in given for c in shares[n]})
    first = table(
        gettext("Answered, abstained and refused"),
        (
            gettext("Outcome"),
            gettext("Images"),
            gettext("Share"),
            *(gettext("Share of %(label)s") % {"label": gettext(c)} for c in classes),
        ),
        (
            (
                title(n),
                counted(mapping(outcomes[n]).get("n")) or gettext("not measured"),
                percent(mapping(outcomes[n]).get("share")),
                *(percent(shares[n].get(c)) for c in classes),
            )
            for n in given
        ),
    )
    return (*first, *_with_and_without(fields))


def _with_and_without(fields: Fields) -> tuple[Block, ...]:
    """What the images without an answer do to the figures; nothing where there are none."""
    only, counted_as = mapping(fields.get("answered_only")), mapping(fields.get("as_if_positive"))
    none = not count(fields.get("n_refused")) and not count(fields.get("n_abstained"))
    rows = [
        (
            name,
            # As if positive is every image.
            counted(f.get("n", fields.get("n"))),
            *(figure(f.get(k), bounds_of(f, k)) for k in _SENSE),
        )
        for name, f in (
            (gettext("Every image by its scores"), fields),
            (gettext("Answered images only"), only),
            (gettext("Images without an answer counted as called malignant"), counted_as),
        )
        if f
    ]
    if none or len(rows) < 2:
        return ()
    columns = (gettext("Counted"), gettext("Images"), *_sense_columns())
    return table(gettext("With and without the images that got no answer"), columns, rows)


def coverage(fields: Fields) -> tuple[Block, ...]:
    rows = [
        (
            percent(one.get("coverage")),
            counted(one.get("n")),
            figure(one.get("minimum_score"), digits=3),
            figure(one.get("error"), one.get("error_wilson95")),
            figure(one.get("sensitivity")),
            figure(one.get("specificity")),
            counted(one.get("malignant_left_out")),
        )
        for row in sequence(fields.get("coverage"))
        if (one := mapping(row))
    ]
    columns = (
        gettext("Answered"),
        gettext("Images"),
        gettext("Score needed to answer"),
        gettext("Error, largest score"),
        *_sense_columns(),
    )
    return table(gettext("Error against coverage"), (*columns, gettext("Malignant left out")), rows)
