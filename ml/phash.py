"""A 64-bit perceptual hash: pictures that look alike differ in few bits."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy.fft import dctn


def perceptual_hash(image: npt.NDArray[np.uint8]) -> int:
    """DCT hash of the luminance: uint8 HxWx3 -> unsigned 64-bit int.

    The picture is shrunk to 32 x 32 and transformed; bit 63 - i tells whether the i-th of the
    8 x 8 lowest frequencies (row by row, without the mean's) exceeds their median.
    """
    small = Image.fromarray(image).convert("L").resize((32, 32), Image.Resampling.BOX)
    low = dctn(np.asarray(small, dtype=np.float64), norm="ortho")[:8, :8].ravel()
    median = np.median(low[1:])
    bits = low > median
    bits[0] = False
    return int("".join("1" if bit else "0" for bit in bits), 2)


def hamming(first: int, second: int) -> int:
    """Number of bits in which two hashes differ, 0..64."""
    return (first ^ second).bit_count()
