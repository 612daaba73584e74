"""How the C library gives out memory to a program that steps through the same large blocks."""

from __future__ import annotations

import ctypes
import sys
from contextlib import suppress

# mallopt(3), <malloc.h>
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_BLOCK_BYTES = 2**30
_NEVER = -1


def keep_blocks() -> bool:
    """Keep freed memory for the next step, for the rest of this process. Whether that was done.

    A step of training asks for the same blocks as the one before, many of them larger than 32 MiB.
    From there on glibc takes each from the kernel anew and gives it back at once: every page is
    faulted in and set to zero again, some 300,000 of them a step. With the threshold at 1 GiB
    they stay with the process, whose memory then stays at its peak (docs/model.md has figures).
    Only for programs that train and end: a service would hold what it once needed.

    Changes nothing on another C library, where glibc refuses so high a threshold, or where an
    allocator that does not know ``mallopt`` was put in its place.
    """
    if sys.platform != "linux":
        return False
    with suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        # Another C library has no such function.
        return bool(
            library.mallopt(_M_MMAP_THRESHOLD, _BLOCK_BYTES)
            and library.mallopt(_M_TRIM_THRESHOLD, _NEVER)
        )
    return False
