"""The sections of a card in order of reading."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from django.utils.translation import gettext, gettext_noop

from cases.reports.card.blocks import (
    Block,
    Bullets,
    Entries,
    Section,
    entry,
    facts,
    loose,
    rest,
    sentences,
    table,
)
from cases.reports.card.figures import evaluation_section, trained_sources
from cases.reports.card.probes import heatmap_section, shortcuts_section
from cases.reports.card.standard import SENTENCES
from cases.reports.card.values import (
    Fields,
    counted,
    mapping,
    round_percent,
    scalar,
    sequence,
    source,
    text,
    texts,
    title,
    under,
)

RESEARCH = gettext_noop("Research software, not a medical device. A person decides.")
_SPLIT_ORDER = ("train", "validation", "held_out")
_LOOSE = (
    ("refusal", gettext_noop("What it refuses")),
    ("abstention", gettext_noop("When it gives no answer")),
    ("comparators", gettext_noop("Other methods on the same folds")),
)
# What the page shows outside of the sections, or where it names the model.
_ELSEWHERE = (
    "format",
    "version",
    "architecture",
    "layout",
    "classes",
    "preprocessing",
    "preprocessing_digest",
    "created_at",
    "research_use_only",
    "weights",
)
_PLACED = {
    *_ELSEWHERE,
    *(key for key, _ in _LOOSE),
    "intended_use",
    "limits",
    "known_gaps",
    "notes",
    "data",
    "evaluation",
    "metrics",
    "heatmap",
    "shortcuts",
    "calibration",
    "temperature",
    "operating_point",
    "training",
}


def sections(card: Fields) -> tuple[Section, ...]:
    """All sections that have something to say; intended use and limits first."""
    made = (
        _use(card),
        _limits(card),
        _data(card),
        evaluation_section(card),
        heatmap_section(card),
        shortcuts_section(card),
        *(_loose_section(card, key, gettext(name)) for key, name in _LOOSE),
        _calibration(card),
        _training(card),
        _technical(card),
        _unknown(card),
    )
    return tuple(section for section in made if section is not None)


def _section(key: str, name: str, blocks: Sequence[Block]) -> Section | None:
    return Section(key, name, tuple(blocks)) if blocks else None


def _use(card: Fields) -> Section | None:
    own = texts(card.get("intended_use"))
    # The first sentence of our own trainings says the same, and more.
    said = own if gettext(SENTENCES[0]) in own else (gettext(RESEARCH), *own)
    return _section("use", gettext("Intended use"), sentences(said))


def _bullets(value: object) -> tuple[Block, ...]:
    items = texts(value)
    return (Bullets(items),) if items else ()


def _limits(card: Fields) -> Section | None:
    gaps, notes = _bullets(card.get("known_gaps")), _bullets(card.get("notes"))
    return _section(
        "limits",
        gettext("Limits and known gaps"),
        (
            *_bullets(card.get("limits")),
            *(sentences([gettext("Not tested on, or hardly:")]) if gaps else ()),
            *gaps,
            *(sentences([gettext("About the figures below:")]) if notes else ()),
            *notes,
        ),
    )


def _data(card: Fields) -> Section | None:
    """The sets with their counts and licences, and how the training set was split."""
    classes = tuple(str(c) for c in sequence(card.get("classes")))
    given = mapping(card.get("data"))
    sets = {str(k): v for k, v in given.items() if isinstance(v, dict)}
    known = ("title", "citation", "licence", "images", "patients", "groups", "counts", "use")
    rows = [
        (
            text(one.get("title")) or source(name),
            counted(one.get("images")),
            *(counted(mapping(one.get("counts")).get(c)) for c in classes),
            counted(one.get("patients")),
            counted(one.get("groups")),
        )
        for name, one in sorted(sets.items())
    ]
    ends = (gettext("Patients"), gettext("Groups of near-duplicates"))
    columns = (gettext("Set"), gettext("Images"), *map(title, classes), *ends)
    training = mapping(mapping(card.get("training")).get("data"))
    return _section(
        "data",
        gettext("Data"),
        (
            *table(gettext("Images by set and class"), columns, rows),
            *_origins(sets),
            *(b for one in sets.values() for b in rest(one, known)),
            *rest(given, sets),
            *_training_data(training, classes, trained_sources(card)),
        ),
    )


def _origins(sets: Mapping[str, Fields]) -> tuple[Block, ...]:
    rows = [
        (
            text(one.get("title")) or source(name),
            *(text(one.get(k)) for k in ("use", "citation", "licence")),
        )
        for name, one in sorted(sets.items())
    ]
    columns = (gettext("Set"), gettext("Used for"), gettext("Source"), gettext("Licence"))
    return table(gettext("Origin and terms"), columns, rows, numbers=False)


def _training_data(data: Fields, classes: Sequence[str], sources: str) -> tuple[Block, ...]:
    split = mapping(data.get("split"))
    names = [n for n in _SPLIT_ORDER if n in split]
    names += sorted(str(n) for n in split if n not in _SPLIT_ORDER)
    parts = [n for n in names if isinstance(split[n], dict)]
    rows = [
        (
            title(n).replace("Held out", "Held-out"),
            *(counted(split[n].get(c)) or "0" for c in classes),
        )
        for n in parts
    ]
    known = ["name", "images", "classes", "source", "split"]
    described = [(title(k), under(k, data[k])) for k in sorted(data) if _flat(data[k], k, known)]
    return (
        *facts(
            [
                (gettext("Trained on"), _trained_on(data, sources)),
                (gettext("By class"), _by_class(data, classes)),
                (gettext("Source"), text(data.get("source"))),
                *described,
            ]
        ),
        *table(
            gettext("Images by part of the training data"),
            (gettext("Part"), *map(title, classes)),
            rows,
        ),
        *rest(data, [*known, *(k for k in data if _flat(data[k], k, known))]),
        *rest(split, parts),
    )


def _trained_on(data: Fields, sources: str) -> str:
    """ "BUSI, 780 images"; the name of the set where its sources are not told."""
    images = counted(data.get("images"))
    told = gettext("%(n)s images") % {"n": images} if images else ""
    return ", ".join(t for t in (sources or source(text(data.get("name"))), told) if t)


def _by_class(data: Fields, classes: Sequence[str]) -> str:
    """ "437 benign, 210 malignant"."""
    counts = mapping(data.get("classes"))
    return ", ".join(f"{n} {gettext(c)}" for c in classes if (n := counted(counts.get(c))))


def _flat(value: object, key: object, known: Sequence[str]) -> bool:
    return key not in known and not isinstance(value, dict | list)


def _loose_section(card: Fields, key: str, name: str) -> Section | None:
    value = card.get(key)
    if value is None:
        return None
    if not isinstance(value, dict):
        return _section(key, name, sentences(texts(value)) or (Entries("", (entry(key, value),)),))
    return _section(key, name, loose(value))


def _calibration(card: Fields) -> Section | None:
    point = mapping(card.get("operating_point"))
    given, wanted = card.get("calibration"), point.get("sensitivity")
    shown = [
        (gettext("Malignant threshold"), _stated(point.get("threshold"))),
        (
            gettext("Set for a sensitivity of"),
            round_percent(wanted) or _stated(wanted),
        ),
        (gettext("Temperature"), _stated(card.get("temperature"))),
    ]
    calibrated_on = text(mapping(card.get("training")).get("calibrated_on"))
    said = facts(
        [
            *shown,
            (gettext("Fitted on"), calibrated_on),
        ]
    )
    more = loose(mapping(given)) if isinstance(given, dict) else sentences(texts(given))
    return _section(
        "calibration",
        gettext("Calibration and operating point"),
        (*said, *more, *rest(point, ("threshold", "sensitivity"))),
    )


def _stated(value: object) -> str:
    return "" if value is None else scalar(value)


def _training(card: Fields) -> Section | None:
    training = mapping(card.get("training"))
    plain = {
        str(k): v
        for k, v in training.items()
        if k not in ("data", "calibrated_on") and not isinstance(v, dict | list)
    }
    items = [(title(k), under(k, v)) for k, v in sorted(plain.items())]
    return _section(
        "training",
        gettext("How it was made"),
        (
            *facts(items),
            *rest(training, ("data", "calibrated_on", *plain), heading=gettext("Settings")),
        ),
    )


def _technical(card: Fields) -> Section | None:
    given = {key: card[key] for key in _ELSEWHERE if key in card}
    return _section("file", gettext("Technical details"), rest(given, (), heading=""))


def _unknown(card: Fields) -> Section | None:
    left = {str(k): v for k, v in card.items() if k not in _PLACED}
    return _section("more", gettext("Other entries of the card"), loose(left))
