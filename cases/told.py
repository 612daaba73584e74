"""Sentences of services, in the reader's language.

Services, the decoder and workers write English: into errors, rows, logs and answers of the API,
where a sentence must be the same for everybody. Only where a page shows one is it translated, by
what it says: `cases.told_sentences` lists them all.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TypeVar

from django.utils.translation import get_language, gettext

from cases.told_sentences import SENTENCES

_PLACE = re.compile(r"\{(\w+)\}")
Told = TypeVar("Told", str, list[str])


@cache
def _patterns() -> tuple[tuple[re.Pattern[str], str], ...]:
    """Of the sentences that hold values: what fits each, the ones that say most first."""
    holding = [sentence for sentence in SENTENCES if "{" in sentence]
    holding.sort(key=lambda sentence: len(_PLACE.sub("", sentence)), reverse=True)
    return tuple((pattern_of(sentence), sentence) for sentence in holding)


def pattern_of(sentence: str) -> re.Pattern[str]:
    """What fits ``sentence`` with any values in its places (``{name}``)."""
    pieces = _PLACE.split(sentence)
    pieces[::2] = [re.escape(words) for words in pieces[::2]]
    pieces[1::2] = [f"(?P<{name}>.+?)" for name in pieces[1::2]]
    return re.compile("".join(pieces), re.DOTALL)


def told(words: Told) -> Told:
    """A sentence of a service, or each of a list, in the language of the page.

    One that nobody has translated stays as it is.
    """
    if isinstance(words, list):
        return [told(sentence) for sentence in words]
    if not words or (get_language() or "en").startswith("en"):
        return words
    translated = gettext(words)
    if translated != words:
        return translated
    for pattern, sentence in _patterns():
        match = pattern.fullmatch(words)
        if match is not None:
            values = {name: _listed(value) for name, value in match.groupdict().items()}
            return gettext(sentence).format(**values)
    return words


def _listed(value: str) -> str:
    """A value of a sentence: it may be words of its own, such as names of fields."""
    return ", ".join(gettext(words) for words in value.split(", "))
