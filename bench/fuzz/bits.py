"""Mutations that know nothing of the format."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

T = TypeVar("T")
Rng = np.random.Generator
Mutation = Callable[[Rng, bytes], bytes]

NUMBERS = (0, 1, 2, 7, 8, 16, 47, 64, 127, 128, 255, 256, 32767, 32768, 65535, 65536, 0x7FFFFFFF,
           0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)  # fmt: skip
_MAX_BYTES = 4 * 2**20


def at(rng: Rng, data: bytes) -> int:
    """A place in `data`: often near its beginning, where headers are."""
    if rng.random() < 0.5:
        return int(rng.integers(0, min(len(data), 512)))
    return int(rng.integers(0, len(data)))


def pick(rng: Rng, options: Sequence[T]) -> T:
    """One of `options`."""
    return options[int(rng.integers(0, len(options)))]


def noise(rng: Rng, most: int) -> bytes:
    """Up to `most` bytes of anything."""
    return rng.integers(0, 256, int(rng.integers(1, most + 1)), dtype=np.uint8).tobytes()


def replaced(data: bytes, place: int, new: bytes) -> bytes:
    """`data` with `new` written over it at `place`."""
    return data[:place] + new + data[place + len(new) :]


def flip_bits(rng: Rng, data: bytes) -> bytes:
    out = bytearray(data)
    for _ in range(int(rng.integers(1, 33))):
        out[at(rng, data)] ^= 1 << int(rng.integers(0, 8))
    return bytes(out)


def set_number(rng: Rng, data: bytes) -> bytes:
    """A telling number over a field of 1 to 8 bytes in either order."""
    size = pick(rng, (1, 2, 4, 8))
    order = "little" if rng.random() < 0.5 else "big"
    number = pick(rng, NUMBERS) % (1 << 8 * size)
    return replaced(data, at(rng, data), number.to_bytes(size, order))  # type: ignore[arg-type]


def overwrite(rng: Rng, data: bytes) -> bytes:
    return replaced(data, at(rng, data), noise(rng, 64))


def truncate(rng: Rng, data: bytes) -> bytes:
    return data[: int(rng.integers(0, len(data)))]


def remove(rng: Rng, data: bytes) -> bytes:
    place = at(rng, data)
    return data[:place] + data[place + int(rng.integers(1, 257)) :]


def insert(rng: Rng, data: bytes) -> bytes:
    place = at(rng, data)
    return data[:place] + noise(rng, 256) + data[place:]


def repeat(rng: Rng, data: bytes) -> bytes:
    """A part of the file many times over."""
    place = at(rng, data)
    part = data[place : place + int(rng.integers(1, 2049))]
    times = min(int(rng.integers(1, 4097)), _MAX_BYTES // max(1, len(part)))
    return data[:place] + part * times + data[place:]


def swap(rng: Rng, data: bytes) -> bytes:
    first, second = sorted((at(rng, data), at(rng, data)))
    length = min(int(rng.integers(1, 513)), second - first)
    a, b = data[first : first + length], data[second : second + length]
    return replaced(replaced(data, first, b), second, a)


def blank(rng: Rng, data: bytes) -> bytes:
    length = int(rng.integers(1, 4097))
    return replaced(data, at(rng, data), pick(rng, (b"\0", b"\xff")) * length)[: len(data)]


def append(rng: Rng, data: bytes) -> bytes:
    return data + noise(rng, 4096)


ANY: tuple[Mutation, ...] = (
    flip_bits,
    set_number,
    overwrite,
    truncate,
    remove,
    insert,
    repeat,
    swap,
    blank,
    append,
)
