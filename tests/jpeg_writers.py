"""JPEG streams that the libraries at hand do not write: lossless with every predictor, and
sequential DCT of 12 bits (ISO/IEC 10918-1 annexes F and H). Slow and plain, for small pictures.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
# All codes of one table have the same length, so that a symbol's code is its place in the table.
_DIFFERENCES = (list(range(17)), 5)
_RUNS = ([0x00, 0xF0, *(run << 4 | size for run in range(16) for size in range(1, 15))], 8)
_ZIGZAG = sorted(
    ((y, x) for y in range(8) for x in range(8)),
    key=lambda p: (p[0] + p[1], p[0] if (p[0] + p[1]) % 2 else p[1]),
)


def lossless_jpeg(samples: Array, precision: int, predictor: int = 1) -> bytes:
    """Process 14 of h x w or h x w x 3 unsigned samples with selection value `predictor`."""
    stack = samples.reshape(*samples.shape[:2], -1).astype(int)
    bits = _Bits()
    for y, row in enumerate(stack):
        for x, pixel in enumerate(row):
            for part, value in enumerate(pixel):
                guess = _predicted(stack[..., part], y, x, precision, predictor)
                bits.number(int(value) - guess)
    tables = [_huffman(0x00, _DIFFERENCES)]
    return _stream(0xC3, stack, precision, tables, (predictor, 0, 0), 0x00, bits)


def sequential_jpeg(samples: Array, precision: int = 12, step: int = 1) -> bytes:
    """Process 4 (extended, Huffman) of h x w unsigned samples; sides are multiples of eight."""
    shifted = samples.astype(np.float64) - (1 << (precision - 1))
    basis = _cosines()
    bits = _Bits()
    last = 0
    height, width = samples.shape
    for y in range(0, height, 8):
        for x in range(0, width, 8):
            block = basis @ shifted[y : y + 8, x : x + 8] @ basis.T
            levels = np.rint(block / step).astype(int)
            ordered = [int(levels[place]) for place in _ZIGZAG]
            bits.number(ordered[0] - last)
            last = ordered[0]
            bits.coefficients(ordered[1:])
    quantisers = _segment(0xDB, b"\0" + bytes([step] * 64))
    tables = [quantisers, _huffman(0x00, _DIFFERENCES), _huffman(0x10, _RUNS)]
    stack = samples.reshape(height, width, 1)
    return _stream(0xC1, stack, precision, tables, (0, 63, 0), 0x00, bits)


class _Bits:
    """Entropy-coded data."""

    def __init__(self) -> None:
        self._parts: list[str] = []

    def number(self, difference: int) -> None:
        """A difference: the code of its size, then its bits (tables F.1 and H.2)."""
        difference = (difference + 32767) % 65536 - 32767
        size = abs(difference).bit_length()
        self._code(_DIFFERENCES, size)
        self._value(difference, size if size < 16 else 0)

    def coefficients(self, values: Sequence[int]) -> None:
        """The 63 other coefficients of a block: runs of zeros and sizes (F.1.2.2)."""
        run = 0
        for value in values:
            if not value:
                run += 1
                continue
            for _ in range(run // 16):
                self._code(_RUNS, 0xF0)
            size = abs(value).bit_length()
            self._code(_RUNS, run % 16 << 4 | size)
            self._value(value, size)
            run = 0
        if run:
            self._code(_RUNS, 0x00)

    def data(self) -> bytes:
        """All of it, filled up with ones, a zero after each 0xFF."""
        text = "".join(self._parts)
        text += "1" * (-len(text) % 8)
        whole = int(text, 2).to_bytes(len(text) // 8, "big")
        return whole.replace(b"\xff", b"\xff\0")

    def _code(self, table: tuple[list[int], int], symbol: int) -> None:
        symbols, length = table
        self._parts.append(f"{symbols.index(symbol):0{length}b}")

    def _value(self, value: int, size: int) -> None:
        if size:
            self._parts.append(f"{value if value > 0 else value + (1 << size) - 1:0{size}b}")


def _predicted(plane: Array, y: int, x: int, precision: int, predictor: int) -> int:
    """The prediction for a sample from its neighbours (table H.1 and H.1.2.1)."""
    if not y and not x:
        return 1 << (precision - 1)
    left = int(plane[y, x - 1]) if x else 0
    above = int(plane[y - 1, x]) if y else 0
    if not y:
        return left
    if not x:
        return above
    corner = int(plane[y - 1, x - 1])
    return (
        left,
        above,
        corner,
        left + above - corner,
        left + ((above - corner) >> 1),
        above + ((left - corner) >> 1),
        (left + above) >> 1,
    )[predictor - 1]


def _cosines() -> Array:
    """The orthonormal DCT of eight points, which is that of the standard."""
    k, n = np.mgrid[0:8, 0:8]
    basis = np.cos((2 * n + 1) * k * np.pi / 16) / 2
    basis[0] /= np.sqrt(2)
    return np.asarray(basis)


def _segment(marker: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def _huffman(place: int, table: tuple[list[int], int]) -> bytes:
    symbols, length = table
    counts = [len(symbols) if i + 1 == length else 0 for i in range(16)]
    return _segment(0xC4, bytes([place, *counts, *symbols]))


def _stream(
    sof: int,
    stack: Array,
    precision: int,
    tables: Sequence[bytes],
    scan: tuple[int, int, int],
    selectors: int,
    bits: _Bits,
) -> bytes:
    height, width, count = stack.shape
    parts = range(1, count + 1)
    frame = struct.pack(">BHHB", precision, height, width, count)
    frame += b"".join(bytes((part, 0x11, 0)) for part in parts)
    head = bytes((count, *_flat((part, selectors) for part in parts), *scan))
    return b"".join(
        (b"\xff\xd8", *tables, _segment(sof, frame), _segment(0xDA, head), bits.data(), b"\xff\xd9")
    )


def _flat(pairs: Iterator[tuple[int, int]]) -> Iterator[int]:
    return (value for pair in pairs for value in pair)
