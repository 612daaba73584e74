"""Further pictures to refuse: ultrasounds laid over or joined, and files that packages carry."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage

from ml.errors import ImageUnreadableError
from ml.negatives import Negative, Rng, as_picture
from ml.preprocessing import UInt8Image, decode_raster

SKIMAGE: Final = "scikit-image"
SKLEARN: Final = "scikit-learn"
PYDICOM: Final = "pydicom"
OVERLAID: Final = "ultrasound with overlay"

_MIN_SIDE = 60  # smaller pictures are icons and test patterns


# Made from ultrasounds, at the time of measuring


def colour_doppler(rng: Rng, picture: UInt8Image) -> UInt8Image:
    """A colour Doppler box over a B-mode picture: vessels in red and blue, and a colour bar."""
    out = picture.copy()
    height, width = out.shape[:2]
    h, w = int(height * rng.uniform(0.35, 0.6)), int(width * rng.uniform(0.3, 0.6))
    y0, x0 = int(rng.integers(0, height - h)), int(rng.integers(0, width - w))
    field = ndimage.gaussian_filter(rng.standard_normal((h, w)), min(h, w) / 14)
    field /= np.abs(field).max()
    speed = np.clip((np.abs(field) - rng.uniform(0.3, 0.5)) * 2, 0, 1)[:, :, None]
    hue = np.where(field[:, :, None] > 0, [255, 60, 0], [0, 70, 255]).astype(np.float64)
    part = out[y0 : y0 + h, x0 : x0 + w]
    flow = (0.45 + 0.55 * speed) * hue
    part[:] = np.where(speed > 0, flow, part).astype(np.uint8)
    for edge in (part[:2], part[-2:], part[:, :2], part[:, -2:]):
        edge[:] = (0, 220, 120)
    bar = np.linspace(1, -1, max(8, height // 4))
    tones = np.stack([255 * np.clip(bar, 0, 1), 40 + 0 * bar, 255 * np.clip(-bar, 0, 1)], axis=1)
    out[4 : 4 + len(bar), -14:-4] = tones[: height - 4, None, :].astype(np.uint8)
    return out


def elastogram(rng: Rng, picture: UInt8Image) -> UInt8Image:
    """A strain map from blue over green to red, half transparent, over a part of the picture."""
    out = picture.astype(np.float64)
    height, width = out.shape[:2]
    h, w = int(height * rng.uniform(0.5, 0.9)), int(width * rng.uniform(0.5, 0.9))
    y0, x0 = int(rng.integers(0, height - h + 1)), int(rng.integers(0, width - w + 1))
    field = ndimage.gaussian_filter(rng.standard_normal((h, w)), min(h, w) / 10)
    field = (field - field.min()) / np.ptp(field)
    hue = np.stack([2 * field - 1, 1 - np.abs(2 * field - 1), 1 - 2 * field], axis=2)
    colour = 255 * np.clip(hue, 0, 1)
    part = out[y0 : y0 + h, x0 : x0 + w]
    part[:] = 0.55 * part + 0.45 * colour
    return as_picture(out)


def side_by_side(first: UInt8Image, second: UInt8Image, gap: int) -> UInt8Image:
    """Two pictures at one height with a black gap between them: a dual view."""
    height = min(first.shape[0], second.shape[0])
    parts = []
    for picture in (first, second):
        width = max(16, round(picture.shape[1] * height / picture.shape[0]))
        parts.append(np.asarray(Image.fromarray(picture).resize((width, height))))
    black = np.zeros((height, gap, 3), dtype=np.uint8)
    return np.concatenate([parts[0], black, parts[1]], axis=1)


def overlaid(pictures: Sequence[UInt8Image], seed: int = 0) -> Iterator[Negative]:
    """One colour Doppler, elastogram and dual view from each of ``pictures`` (at least two)."""
    for number, picture in enumerate(pictures):
        rng = np.random.default_rng([seed, number, 7])
        yield Negative("colour Doppler", OVERLAID, colour_doppler(rng, picture))
        yield Negative("elastogram", OVERLAID, elastogram(rng, picture))
        other = pictures[(number + 1) % len(pictures)]
        gap = int(rng.integers(4, 40))
        yield Negative("dual view", OVERLAID, side_by_side(picture, other, gap))


# Files that installed packages carry; nothing is downloaded


def skimage_negatives() -> Iterator[Negative]:
    """scikit-image's bundled pictures: whole, in grey, and two crops of each in grey."""
    yield from _photographs(_package_folder("skimage", "data"), SKIMAGE)


def sklearn_negatives() -> Iterator[Negative]:
    """scikit-learn's two photographs with crops, and sheets of its handwritten digits."""
    yield from _photographs(_package_folder("sklearn", "datasets", "images"), SKLEARN, crops=12)
    if find_spec("sklearn") is None:
        return
    from sklearn.datasets import load_digits

    digits = np.asarray(load_digits().images)
    for start in range(0, 400, 100):
        sheet = digits[start : start + 100].reshape(10, 10, 8, 8).transpose(0, 2, 1, 3)
        picture = as_picture(ndimage.zoom(sheet.reshape(80, 80) * 16.0, 5, order=1))
        yield Negative("handwriting", SKLEARN, picture)


def pydicom_negatives() -> Iterator[Negative]:
    """Frames of pydicom's test files that are no ultrasound (CT, MR, NM, secondary capture).

    Each frame is shown from its lowest to its highest percentile, as viewers do; a frame that
    was seen before under another coding, or is too small, is left out.
    """
    if find_spec("pydicom") is None:
        return
    from pydicom import dcmread

    seen: set[bytes] = set()
    for path in sorted(_package_folder("pydicom", "data").rglob("*")):
        if not path.is_file() or path.suffix not in (".dcm", ""):
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                dataset = dcmread(path)
                modality, frame = str(dataset.get("Modality", "")), dataset.pixel_array
            except Exception:  # noqa: BLE001, S112 - test files are broken on purpose, in any way
                continue
        picture = None if modality == "US" else _frame_picture(frame)
        if picture is None or picture[::4, ::4].tobytes() in seen:
            continue
        seen.add(picture[::4, ::4].tobytes())
        kind = modality if modality in ("CT", "MR", "NM", "CR", "SEG") else "other capture"
        yield Negative(kind, PYDICOM, picture)
        for crop in _crops(picture, 2, seed=len(seen)):
            yield Negative(f"{kind}, crop", PYDICOM, crop)


def _frame_picture(frame: npt.NDArray[Any]) -> UInt8Image | None:
    """The first frame as uint8 HxWx3, or None where it is too small or empty."""
    colour = frame.ndim >= 3 and frame.shape[-1] == 3
    while frame.ndim > (3 if colour else 2):
        frame = frame[0]
    if min(frame.shape[:2]) < _MIN_SIDE:
        return None
    values = frame.astype(np.float64)
    low, high = np.percentile(values, (0.5, 99.5))
    if high <= low:
        return None
    return as_picture((values - low) * (255 / (high - low)))


def _package_folder(package: str, *parts: str) -> Path:
    """A folder inside an installed package, found without importing it."""
    spec = find_spec(package)
    home = Path(spec.origin).parent if spec and spec.origin else Path("/nonexistent")
    return home.joinpath(*parts)


def _photographs(folder: Path, source: str, crops: int = 2) -> Iterator[Negative]:
    for number, path in enumerate(sorted(folder.glob("*.[jp][pn]g"))):
        try:
            picture = decode_raster(path.read_bytes())
        except ImageUnreadableError:
            continue
        if min(picture.shape[:2]) < _MIN_SIDE:
            continue
        grey = np.array(Image.fromarray(picture).convert("L").convert("RGB"))
        if np.ptp(picture.astype(int), axis=2).max() > 8:
            yield Negative("photo", source, picture)
        yield Negative("photo in grey", source, grey)
        for crop in _crops(grey, crops, seed=number):
            yield Negative("photo in grey, crop", source, crop)


def _crops(picture: UInt8Image, count: int, *, seed: int) -> Iterator[UInt8Image]:
    """Random parts of half to four fifths of the sides; parts of one tone are left out."""
    rng = np.random.default_rng([seed, 11])
    height, width = picture.shape[:2]
    for _ in range(count):
        h, w = (int(side * rng.uniform(0.5, 0.8)) for side in (height, width))
        y, x = int(rng.integers(0, height - h + 1)), int(rng.integers(0, width - w + 1))
        part = picture[y : y + h, x : x + w]
        if min(part.shape[:2]) >= _MIN_SIDE and part.std() > 4:
            yield np.ascontiguousarray(part)
