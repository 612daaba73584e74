"""What a page of a card is built of: sentences, lists, facts, tables, and trees of the rest."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext

from cases.reports.card.values import (
    Fields,
    figure,
    interval,
    mapping,
    number,
    percent,
    scalar,
    sequence,
    source,
    text,
    thousands,
    title,
    under,
    words,
)

# Entries that hold the intervals of figures beside them.
INTERVALS = ("ci95", "wilson95")

# Sections that a page never folds away: what the model is for, its limits, how it scored.
ALWAYS_OPEN = ("use", "limits", "evaluation")

# Of rows that were told under a name: the column of the names, and columns that hold shares.
_NAME = ""
_SHARES = ("rate", "share")

# Levels of nesting a page shows. Cards of this project have eight at most.
MAX_DEPTH = 12


@dataclass(frozen=True)
class Text:
    """A paragraph; ``muted`` for what explains, ``code`` for a command."""

    text: str
    muted: bool = False
    code: bool = False
    kind: str = "text"


@dataclass(frozen=True)
class Bullets:
    items: tuple[str, ...]
    kind: str = "bullets"


@dataclass(frozen=True)
class Facts:
    """Terms and what they are."""

    items: tuple[tuple[str, str], ...]
    kind: str = "facts"


@dataclass(frozen=True)
class Table:
    """``columns`` are labels; the first cell of a row names it; ``numbers`` aligns the others."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numbers: bool = True
    kind: str = "table"


@dataclass(frozen=True)
class Entry:
    """A key and its value; nested where the card nests. ``children`` or ``value``."""

    label: str
    value: str
    children: tuple[Entry, ...] = ()


@dataclass(frozen=True)
class Entries:
    """What has no words of its own, as it stands on the card."""

    heading: str
    entries: tuple[Entry, ...]
    kind: str = "entries"


Block = Text | Bullets | Facts | Table | Entries


@dataclass(frozen=True)
class Part:
    """A named piece of a section."""

    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Section:
    """A section of the page; ``key`` is its anchor."""

    key: str
    title: str
    blocks: tuple[Block, ...] = ()
    parts: tuple[Part, ...] = ()

    @property
    def folded(self) -> bool:
        """Whether it is opened by whoever looks for it: all but what everybody must know."""
        return self.key not in ALWAYS_OPEN


def table(
    caption: str, columns: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: bool = True
) -> tuple[Block, ...]:
    """A table without columns in which no row says anything; nothing without rows."""
    body = [tuple(row) for row in rows]
    said = [k == 0 or any(row[k] not in ("", "–") for row in body) for k, _ in enumerate(columns)]

    def kept(cells: Sequence[str]) -> tuple[str, ...]:
        return tuple(cell for cell, keep in zip(cells, said, strict=True) if keep)

    if not body or sum(said) < 2:
        return ()
    return (Table(caption, kept(columns), tuple(kept(row) for row in body), numbers),)


def sentences(values: Iterable[str], *, muted: bool = False) -> tuple[Block, ...]:
    return tuple(Text(value, muted=muted) for value in values if value)


def facts(items: Iterable[tuple[str, str]]) -> tuple[Block, ...]:
    kept = tuple((label, value) for label, value in items if value)
    return (Facts(kept),) if kept else ()


def entry(key: str, value: object, depth: int = 1) -> Entry:
    """``value`` as a tree of at most ``MAX_DEPTH`` levels; what lies deeper is left out by word."""
    label, items = words(key), sequence(value)
    inner: list[tuple[str, object]] = []
    if isinstance(value, Mapping):
        inner = [(str(k), v) for k, v in sorted(value.items())]
    elif any(isinstance(item, Mapping | list) for item in items):
        inner = [(str(n), v) for n, v in enumerate(items, start=1)]
    if inner and depth >= MAX_DEPTH:
        return Entry(label, gettext("nested too deeply to be shown here"))
    if inner:
        return Entry(label, "", tuple(entry(k, v, depth + 1) for k, v in inner))
    if isinstance(value, Mapping):
        return Entry(label, scalar(None))
    if items:
        return Entry(label, ", ".join(_item(item) for item in items))
    return Entry(label, under(key, value))


def _item(value: object) -> str:
    return words(value) if isinstance(value, str) else scalar(value)


def rest(fields: Fields, known: Iterable[str], heading: str | None = None) -> tuple[Block, ...]:
    """What is in ``fields`` under keys that have no place of their own."""
    left = {str(k): v for k, v in fields.items() if k not in set(known)}
    found: list[Block] = []
    kept = {key: _without_tables(value, (key,), found) for key, value in sorted(left.items())}
    entries = tuple(entry(key, value) for key, value in kept.items() if value is not _TOLD)
    named = gettext("Further entries") if heading is None else heading
    return (*((Entries(named, entries),) if entries else ()), *found)


_TOLD = object()


def _without_tables(value: object, path: tuple[str, ...], found: list[Block]) -> object:
    """``value`` less what is better read as a table, which goes to ``found``."""
    if not isinstance(value, Mapping) or not value or len(path) >= MAX_DEPTH:
        return value
    if _is_keyed(value):
        rows = [{_NAME: source(name), **row} for name, row in value.items()]
        made = rows_table(", ".join((title(path[0]), *map(words, path[1:]))), rows)
        found += made
        return _TOLD if made else value
    kept = {
        str(k): left
        for k, v in sorted(value.items())
        if (left := _without_tables(v, (*path, str(k)), found)) is not _TOLD
    }
    return kept or _TOLD


def _is_keyed(value: Fields) -> bool:
    """Whether it holds one flat mapping for each name, all of the same keys."""
    rows = list(value.values())
    if len(rows) < 2 or not _is_table(rows):
        return False
    return all(row.keys() == rows[0].keys() and _NAME not in row for row in rows)


def bounds_of(fields: Fields, key: str) -> object:
    """The interval of a figure, wherever the card keeps it; None where it has none."""
    for place in INTERVALS:
        if interval(found := mapping(fields.get(place)).get(key)) is not None:
            return found
        if interval(found := fields.get(f"{key}_{place}")) is not None:
            return found
    return None


def loose(fields: Fields, known: Iterable[str] = ()) -> tuple[Block, ...]:
    """A mapping that nobody described: sentences, figures with intervals, tables, the rest."""
    left = {str(k): v for k, v in sorted(fields.items()) if k not in set(known)}
    said = {k for k, v in left.items() if text(v)}
    numbers = {k for k, v in left.items() if number(v) is not None}
    numbers |= {k for k in numbers for k in _beside(k) if k in left}
    blocks = list(facts((title(k), text(left[k])) for k in sorted(said)))
    shown = [k for k in left if number(left[k]) is not None]
    blocks += table(
        gettext("Figures"),
        # xgettext:no-python-format
        (gettext("Figure"), gettext("Value (95 % interval)")),
        ((title(k), _plain(left[k], bounds_of(left, k))) for k in shown),
    )
    listed = {k for k, v in left.items() if _is_table(v)}
    for key in sorted(listed):
        blocks += rows_table(title(key), sequence(left[key]))
    done = said | numbers | listed | (set(INTERVALS) if shown else set())
    return (*blocks, *rest(left, done, heading=""))


def _beside(key: str) -> tuple[str, ...]:
    return tuple(f"{key}_{place}" for place in INTERVALS)


def _plain(value: Any, bounds: object) -> str:
    """Counts stay whole; what is no share keeps its own digits."""
    if isinstance(value, int):
        return thousands(value)
    return figure(value, bounds) if abs(value) <= 1 else scalar(value)


def _is_table(value: object) -> bool:
    rows = sequence(value)
    return len(rows) > 1 and all(
        isinstance(row, Mapping) and row and all(_is_cell(v) for v in row.values()) for row in rows
    )


def _is_cell(value: object) -> bool:
    return interval(value) is not None or not isinstance(value, Mapping | list | tuple)


def rows_table(caption: str, rows: Sequence[Any]) -> tuple[Block, ...]:
    """A list of flat mappings as a table; what names a row comes first."""
    keys = sorted({str(k) for row in rows for k in row if not str(k).endswith(INTERVALS)})
    keys.sort(key=lambda k: (not any(text(row.get(k)) for row in rows), k != "n", k in _SHARES))

    def cell(row: Fields, key: str) -> str:
        value = row.get(key)
        if value is None:
            return "–"
        given = number(value)
        if key in _SHARES and given is not None and 0 <= given <= 1:
            return percent(given)
        if given is not None:
            return _plain(value, bounds_of(row, key))
        pair = interval(value)
        if pair is None:
            return scalar(value)
        return gettext("%(low)s to %(high)s") % {"low": scalar(pair[0]), "high": scalar(pair[1])}

    body = [tuple(cell(row, key) for key in keys) for row in rows]
    return table(caption, [_column(k) for k in keys], body)


def _column(key: str) -> str:
    if key == _NAME:
        return gettext("Part")
    if key == "n":
        return gettext("Images")
    return gettext("Share") if key in _SHARES else title(key)
