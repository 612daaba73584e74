"""A user-facing error as one line for the terminal."""

from __future__ import annotations

from cases.errors import UserFacingError


def sentence(error: UserFacingError) -> str:
    """The named fields where there are any, else the error's own sentence."""
    named = "; ".join(f"{name}: {' '.join(texts)}" for name, texts in (error.errors or {}).items())
    return named or error.detail
