"""Visible text of templates that stands outside any translation tag."""

from __future__ import annotations

import re
from collections.abc import Iterator

_TAG = r"<(?:!doctype|/?[a-zA-Z]|/?{{.*?}})(?:{%.*?%}|{{.*?}}|[^<>{]|{(?![%{]))*>"
_PIECES = re.compile(
    r"({%\s*blocktrans(?:late)?\b.*?{%\s*endblocktrans(?:late)?\s*%}"
    r"|{%.*?%}|{{.*?}}|{#.*?#}|<!--.*?-->|" + _TAG + ")",
    re.S | re.I,
)
_INSIDE = re.compile(
    r"{%\s*blocktrans(?:late)?\b.*?{%\s*endblocktrans(?:late)?\s*%}|{%.*?%}|{{.*?}}", re.S
)
# Attributes whose value people see or hear; those with data- are read by our scripts.
_SEEN = re.compile(
    r"\s(?:aria-label|title|placeholder|alt|data-words[\w-]*|data-play|data-pause|data-plain"
    r'|data-read|data-remove|data-deleted|data-started)="([^"]*)"'
)
# Blocks that fill an attribute.
_CLASSES = re.compile(r"{%\s*block main_class\s*%}.*?{%\s*endblock\s*%}", re.S)
# Words given on: as arguments of an included template, or where there is nothing else to show.
_GIVEN = re.compile(r'\b(?:title|label|hint|caption)="([^"]*)"')
_DEFAULT = re.compile(r'\|default(?:_if_none)?:"([^"]*)"')
_LETTERS = re.compile(r"[^\W\d_]{2,}")
_PLACE = re.compile(r"{\w+}|&#?\w+;")
# The product's name, units, and names of formats and standards.
NAMES = frozenset({"bcweb", "mm", "PDF", "CSV", "SHA-256", "ms", "MB", "px", "s"})


def is_bare(text: str) -> bool:
    words = _PLACE.sub(" ", text)
    return any(piece not in NAMES for piece in words.split() if _LETTERS.search(piece))


def bare_texts(source: str) -> Iterator[str]:
    """Each piece of visible text that would be shown as it stands in any language."""
    # So that quotation marks of tags within attributes end none.
    source = _CLASSES.sub("", source)
    in_script = False
    for piece in _PIECES.split(source):
        if piece.startswith(("{#", "<!--")):
            continue
        if piece.startswith(("{%", "{{")):
            given = _GIVEN if re.match(r"{%\s*include\b", piece) else _DEFAULT
            yield from (text for text in given.findall(piece) if is_bare(text))
        elif re.match(_TAG, piece, re.S | re.I):
            if re.match(r"</?(script|style)\b", piece):
                in_script = not piece.startswith("</")
            inner = _INSIDE.sub("", piece)
            yield from (text for text in _SEEN.findall(inner) if is_bare(text))
        elif not in_script and is_bare(piece):
            yield piece.strip()
