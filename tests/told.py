"""Whether a text tells a word, where ids, hashes and numbers may hold its characters by chance."""

from __future__ import annotations

import re

_UUID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}")
# Hashes and their beginnings: at least one letter, or it could be a day.
_HASH = re.compile(r"(?<![0-9A-Za-z])(?=[0-9]*[a-f])[0-9a-f]{8,}(?![0-9A-Za-z])")
# A month, or a day, as DICOM writes them after a year, without a sign between.
_MORE = r"(?:(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])?)?"
# Not the digits of a score ("0.1961"), nor those of a second.
_FRACTION = r"(?<![^\d]0\.)(?<!:\d\d\.)"


def tells(text: str, word: str) -> bool:
    """Whether ``word`` stands in ``text``. Four digits come up in an id, a hash or a longer number
    sooner or later, and a word of a few letters in a token: those are passed over."""
    text = _HASH.sub("", _UUID.sub("", text))
    word = re.escape(word)
    if word.isdecimal():
        alone = rf"(?<!\d){_FRACTION}{word}{_MORE}(?!\d)"
    else:
        alone = rf"(?<![A-Za-z0-9]){word}(?![A-Za-z0-9])"
    return re.search(alone, text) is not None
