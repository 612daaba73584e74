"""Words of closed vocabularies in the reader's language, and how words join a sentence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeVar

from django.utils.formats import get_format
from django.utils.translation import get_language, gettext

K = TypeVar("K")
# Languages that write nouns with a capital wherever they stand.
_CAPITAL_NOUNS = frozenset({"de"})


class Words(Mapping[K, str]):
    """A table of English words that gives them in the language of whoever reads.

    Each is translated when it is taken out, and is a plain ``str`` then: nothing lazy gets into
    JSON, a row or a file. The table itself is written with ``gettext_noop``, so that translators
    find its words.
    """

    def __init__(self, english: Mapping[K, str]) -> None:
        self._english = dict(english)

    def __getitem__(self, key: K) -> str:
        words = self._english[key]
        return gettext(words) if words else ""

    def __iter__(self) -> Iterator[K]:
        return iter(self._english)

    def __len__(self) -> int:
        return len(self._english)


def within(words: str) -> str:
    """As ``words`` that could begin a sentence stand within one."""
    return words[:1].lower() + words[1:]


def noun_within(noun: str) -> str:
    """As `within`, for a noun: some languages keep its capital."""
    return noun if (get_language() or "") in _CAPITAL_NOUNS else within(noun)


def local(number: str) -> str:
    """A number that was written with a point, with the reader's decimal sign."""
    return number.replace(".", str(get_format("DECIMAL_SEPARATOR")))
