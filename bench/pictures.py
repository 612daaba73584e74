"""Pictures to send: phantoms, drawn once and varied by a comment. No Django."""

from __future__ import annotations

from tests.phantoms import bmode_phantom, jpeg_bytes

PICTURES = 8


def pictures(count: int = PICTURES, seed: int = 0) -> list[bytes]:
    """Phantoms of 500 x 470 as JPEG, none like another."""
    return [jpeg_bytes(bmode_phantom(seed + number)) for number in range(count)]


def variant(picture: bytes, mark: str) -> bytes:
    """The same JPEG with a comment: other bytes and another hash, the same pixels.

    Drawing a phantom costs more than all that is measured with it.
    """
    text = mark.encode()
    return picture[:2] + b"\xff\xfe" + (len(text) + 2).to_bytes(2, "big") + text + picture[2:]
