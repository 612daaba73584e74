"""ETags: an answer of another shape is another answer."""

from __future__ import annotations

import hashlib

from cases.api.conditional import weak_etag


def test_an_answer_kept_since_before_replays_is_fetched_again() -> None:
    before = hashlib.sha256(b"1\0'same'").hexdigest()[:32]
    assert weak_etag("same") != f'W/"{before}"'
