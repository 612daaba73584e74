"""The pictures of a run: one phantom, told apart by a comment in the JPEG, and the bad ones.

What stands in for the model looks for the mark of a poison in the bytes (`bench.chaos.poison`),
and so does what stands in for the decoder.
"""

from __future__ import annotations

import functools
import struct

from bench.chaos.poison import MARK
from tests.phantoms import bmode_phantom, jpeg_bytes

_START_OF_IMAGE = b"\xff\xd8"
_COMMENT = b"\xff\xfe"


@functools.cache
def _phantom() -> bytes:
    return jpeg_bytes(bmode_phantom(seed=7, size=(240, 256)))


def picture(name: str, poison: str = "") -> bytes:
    """A JPEG that no other name gives; with the mark of `poison`, if any."""
    comment = name.encode()
    if poison:
        comment += b" " + MARK + poison.encode() + b"."
    jpeg = _phantom()
    assert jpeg.startswith(_START_OF_IMAGE)
    length = struct.pack("!H", len(comment) + 2)
    return _START_OF_IMAGE + _COMMENT + length + comment + jpeg[len(_START_OF_IMAGE) :]


def truncated(name: str) -> bytes:
    """Such a JPEG that ends in the middle."""
    whole = picture(name)
    return whole[: len(whole) * 2 // 3]


def no_picture(name: str) -> bytes:
    """Text under the name of a picture."""
    return f"not an image: {name}\n".encode() * 20
