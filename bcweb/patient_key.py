"""Which patients' key is the one: its id, which says nothing of it, and the id a restore left.

Standard library only: settings and a restore use it.
"""

from __future__ import annotations

import hashlib
import hmac
from pathlib import Path

FILE = "patient_key"
ID_FILE = "patient_key_id"
"""In a state folder that was restored: the id of the key that the backup's database goes with."""


class WrongKeyError(ValueError):
    """One sentence that says which key is missing."""


def key_id(secret: str) -> str:
    """Which secret makes the keys, in 16 hex digits; says nothing of the secret."""
    return hmac.new(secret.encode(), b"which secret", hashlib.sha256).hexdigest()[:16]


def key_id_in(content: bytes) -> str:
    """Of a key as its file holds it."""
    return key_id(content.decode(errors="replace").strip())


def check(state: Path, given: str) -> None:
    """Raise ``WrongKeyError`` where the state folder goes with another key than it has.

    A new one beside a restored database would part every patient from the keys of before.
    """
    expected = state / ID_FILE
    if not expected.exists():
        return
    wanted = expected.read_text().strip()
    file = state / FILE
    found = _id_here(file, given)
    if found != wanted:
        raise WrongKeyError(
            f"BCWEB_PATIENT_KEY: the state folder was restored with the patients' key {wanted}, "
            f"and here is {found}: give that key (or put its file there as {file})"
        )


def _id_here(file: Path, given: str) -> str:
    if given:
        return key_id(given)
    return key_id_in(file.read_bytes()) if file.exists() else "none"
