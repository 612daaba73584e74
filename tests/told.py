"""Whether a text tells a word, where ids, hashes and tokens may hold its characters by chance."""

from __future__ import annotations

import re

_UUID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}")
# A day as DICOM writes it follows a year without a sign between them.
_DAY = r"(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])"


def tells(text: str, word: str) -> bool:
    """Whether ``word`` stands in ``text``: digits not in a number, an id or a hash, where any four
    of them come up by chance sooner or later; a word of a few letters not in a token."""
    word = re.escape(word)
    if word.isdecimal():
        end = r"(?![0-9a-f])"
        alone = rf"(?<![0-9a-f]){word}(?:{end}|{_DAY}{end})"
    else:
        alone = rf"(?<![A-Za-z0-9]){word}(?![A-Za-z0-9])"
    return re.search(alone, _UUID.sub("", text)) is not None
