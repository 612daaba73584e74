"""What the stand-in reads in a picture: made of the picture's bytes and of nothing else, so that an
answer that was stored for another picture can be told. Imports little: the stand-in starts quickly.
"""

from __future__ import annotations

from dataclasses import dataclass

THRESHOLD = 0.4
# Maps of benign, malignant and normal, rows, columns; two bytes a cell.
SHAPE = (3, 7, 7)
_HEATMAP = 2 * 3 * 7 * 7


@dataclass(frozen=True)
class Reading:
    """The parts of an answer that tell which picture it is about. `phash`: unsigned 64 bits."""

    label: str
    scores: dict[str, float]
    phash: int
    heatmap: bytes


def reading_of(sha256: str) -> Reading:
    """What is read in the bytes with this SHA-256 (in hex)."""
    digest = bytes.fromhex(sha256)
    parts = [1 + int.from_bytes(digest[at : at + 4], "big") for at in (0, 4, 8)]
    benign, malignant, normal = (part / sum(parts) for part in parts)
    label = "benign" if benign >= normal else "normal"
    return Reading(
        label="malignant" if malignant >= THRESHOLD else label,
        scores={"benign": benign, "malignant": malignant, "normal": normal},
        phash=int.from_bytes(digest[12:20], "big"),
        heatmap=_heatmap(digest),
    )


def _heatmap(digest: bytes) -> bytes:
    """Cells of float16, little-endian; without the bits that would make infinities of them."""
    cells = (digest * (_HEATMAP // len(digest) + 1))[:_HEATMAP]
    return bytes(byte & 0x3B if place % 2 else byte for place, byte in enumerate(cells))
