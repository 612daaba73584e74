"""What may go wrong before the service runs, as sentences a person can act on."""

from __future__ import annotations

import errno
from pathlib import Path


class StartupError(Exception):
    """One sentence that says what is missing and what to do; shown without a traceback."""


def disk_full(folder: Path) -> StartupError:
    """Return the error to raise when a write met a full disk."""
    return StartupError(f"The disk of {folder} is full: free some space and start again.")


def is_disk_full(error: OSError) -> bool:
    """Tell whether a write failed for want of space (or of quota)."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)
