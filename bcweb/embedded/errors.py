"""What may go wrong before the service runs, as sentences a person can act on."""

from __future__ import annotations


class StartupError(Exception):
    """One sentence that says what is missing and what to do; shown without a traceback."""
