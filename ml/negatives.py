"""Pictures that are no B-mode breast ultrasound, made by code, for fitting and testing refusal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from ml.preprocessing import UInt8Image

Map = npt.NDArray[Any]
Rng = np.random.Generator

CODE: Final = "code"


@dataclass(frozen=True)
class Negative:
    """A picture to refuse: uint8 HxWx3, its kind for the table, and the source it came from."""

    kind: str
    source: str
    image: UInt8Image


def code_negatives(seed: int = 0, each: int = 8) -> Iterator[Negative]:
    """``each`` pictures of every kind in :data:`MAKERS`, of changing sizes; the same per seed."""
    for place, (kind, make) in enumerate(MAKERS.items()):
        for number in range(each):
            rng = np.random.default_rng([seed, place, number])
            yield Negative(kind, CODE, make(rng, int(rng.integers(260, 620)), number))


def as_picture(values: Map) -> UInt8Image:
    """Grey or RGB values, clipped to 0..255, as uint8 HxWx3."""
    whole = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return np.repeat(whole[:, :, None], 3, axis=2) if whole.ndim == 2 else whole


def stretched(values: Map) -> Map:
    """Values linearly stretched to 0..255."""
    low, high = float(values.min()), float(values.max())
    return (values - low) * (255.0 / max(high - low, 1e-9))


def _shape(rng: Rng, side: int) -> tuple[int, int]:
    return side, int(side * rng.uniform(0.75, 1.5))


def _smooth(rng: Rng, shape: tuple[int, int], sigma: float) -> Map:
    return stretched(ndimage.gaussian_filter(rng.standard_normal(shape), sigma)) / 255


def _pink(rng: Rng, shape: tuple[int, int], power: float) -> Map:
    """Noise whose amplitude falls as frequency to the ``power``, in 0..1."""
    fy, fx = np.fft.fftfreq(shape[0])[:, None], np.fft.fftfreq(shape[1])[None, :]
    radius = np.hypot(fy, fx)
    radius[0, 0] = 1.0
    phase = np.exp(2j * np.pi * rng.random(shape)) * radius**-power
    return stretched(np.fft.ifft2(phase).real) / 255


def _noise(rng: Rng, side: int, number: int) -> UInt8Image:
    shape = _shape(rng, side)
    kinds: tuple[Callable[[], Map], ...] = (
        lambda: rng.normal(128, rng.uniform(30, 70), shape),
        lambda: rng.uniform(0, 255, (*shape, 3)),
        lambda: 255.0 * (rng.random(shape) < rng.uniform(0.05, 0.5)),
        lambda: 255 * _pink(rng, shape, 0.6),
        lambda: 255 * _pink(rng, shape, 1.2),
        lambda: 255 * _smooth(rng, shape, 8),
        lambda: rng.rayleigh(60, shape),
        lambda: ndimage.zoom(rng.uniform(0, 255, (side // 16, side // 16)), 16, order=0),
    )
    return as_picture(kinds[number % len(kinds)]())


def _gradient(rng: Rng, side: int, number: int) -> UInt8Image:
    height, width = _shape(rng, side)
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    angle = rng.uniform(0, 2 * np.pi)
    across = np.cos(angle) * x + np.sin(angle) * y
    kinds = (across, np.hypot(x - 0.5, y - 0.5), np.sin(across * rng.uniform(10, 60)), x * y)
    values = stretched(kinds[number % len(kinds)])
    if number % 3 == 2:
        values = np.stack([values, 255 - values, np.roll(values, side // 3, 1)], axis=2)
    return as_picture(values)


def _shapes(rng: Rng, side: int, number: int) -> UInt8Image:
    height, width = _shape(rng, side)
    back = int(rng.integers(0, 256))
    image = Image.new("RGB", (width, height), (back, back, back))
    draw = ImageDraw.Draw(image)
    for _ in range(int(rng.integers(3, 40))):
        x, y = rng.integers(0, width), rng.integers(0, height)
        w, h = rng.integers(8, side // 2, 2)
        tone = tuple(int(v) for v in rng.integers(0, 256, 3))
        fill = tone if number % 2 else (tone[0],) * 3
        box = (int(x), int(y), int(x + w), int(y + h))
        if rng.random() < 0.5:
            draw.ellipse(box, fill=fill)
        else:
            draw.rectangle(box, fill=fill)
    return np.array(image)


def _checkerboard(rng: Rng, side: int, number: int) -> UInt8Image:
    cell = int(rng.integers(6, 80))
    y, x = np.mgrid[0:side, 0:side]
    down = 0 if number % 2 else y // cell
    values = 255.0 * ((x // cell + down) % 2)
    return as_picture(values * rng.uniform(0.5, 1) + rng.normal(0, rng.uniform(0, 8), values.shape))


def _empty(rng: Rng, side: int, number: int) -> UInt8Image:
    shape = _shape(rng, side)
    tones = (0, 255, int(rng.integers(20, 235)), 4)
    values = np.full(shape, float(tones[number % 4]))
    if number >= 4:
        values += rng.normal(0, 1.5, shape)
    return as_picture(values)


def _words(rng: Rng, count: int) -> str:
    letters = np.array(list("abcdefghijklmnoprstuvwxyz"))
    return " ".join("".join(rng.choice(letters, int(rng.integers(2, 10)))) for _ in range(count))


def _write(draw: ImageDraw.ImageDraw, rng: Rng, box: tuple[int, int, int, int], ink: Any) -> None:
    """Fill a box with lines of nonsense."""
    x0, y0, x1, y1 = box
    points = int(rng.integers(9, 20))
    font = ImageFont.load_default(points)
    for y in range(y0, y1 - points, int(points * 1.5)):
        words = max(1, int((x1 - x0) / (points * 3.2)))
        draw.text((x0, y), _words(rng, words), fill=ink, font=font)


def _document(rng: Rng, side: int, number: int) -> UInt8Image:
    paper, ink = ((255, 20), (244, 40), (12, 235))[number % 3]
    width, height = side, int(side * 1.35)
    image = Image.new("RGB", (width, height), (paper, paper, paper))
    draw = ImageDraw.Draw(image)
    margin = side // 12
    split = height if number % 2 else height // 2
    _write(draw, rng, (margin, margin, width - margin, split - margin), (ink, ink, ink))
    if split < height:
        for y in range(split, height - margin, max(14, side // 16)):
            draw.line((margin, y, width - margin, y), fill=(ink, ink, ink))
        for x in np.linspace(margin, width - margin, int(rng.integers(3, 7))):
            draw.line((int(x), split, int(x), height - margin), fill=(ink, ink, ink))
    return np.array(image)


def _chart(rng: Rng, side: int, number: int) -> UInt8Image:
    paper, ink = (250, 30) if number % 2 else (24, 220)
    width, height = int(side * 1.4), side
    image = Image.new("RGB", (width, height), (paper,) * 3)
    draw = ImageDraw.Draw(image)
    left, base = width // 10, height * 9 // 10
    draw.line((left, height // 10, left, base), fill=(ink,) * 3, width=2)
    draw.line((left, base, width * 9 // 10, base), fill=(ink,) * 3, width=2)
    xs = np.linspace(left, width * 9 // 10, 12)
    for _ in range(3):
        ys = base - rng.uniform(0.05, 0.75, len(xs)) * height
        tone = tuple(int(v) for v in rng.integers(30, 230, 3))
        if number % 4 < 2:
            draw.line([(float(x), float(y)) for x, y in zip(xs, ys, strict=True)], fill=tone)
        else:
            for x, y in zip(xs, ys, strict=True):
                draw.rectangle((int(x), int(y), int(x) + width // 25, base), fill=tone)
    return np.array(image)


def _screen(rng: Rng, side: int, number: int) -> UInt8Image:
    """A computer's desktop: windows, bars, buttons, text, no picture of a patient in it."""
    width, height = int(side * 1.6), side
    desk = tuple(int(v) for v in rng.integers(30, 200, 3)) if number % 2 else (70, 70, 70)
    image = Image.new("RGB", (width, height), desk)
    draw = ImageDraw.Draw(image)
    for _ in range(int(rng.integers(2, 5))):
        x, y = int(rng.integers(0, width // 2)), int(rng.integers(0, height // 2))
        w, h = (
            int(rng.integers(width // 4, width // 2)),
            int(rng.integers(height // 4, height // 2)),
        )
        paper = int(rng.integers(200, 256)) if rng.random() < 0.7 else int(rng.integers(20, 60))
        draw.rectangle((x, y, x + w, y + h), fill=(paper,) * 3, outline=(90, 90, 90))
        draw.rectangle((x, y, x + w, y + 16), fill=(60, 90, 160) if number % 2 else (100,) * 3)
        ink = 20 if paper > 128 else 230
        _write(draw, rng, (x + 8, y + 24, x + w - 8, y + h - 4), (ink,) * 3)
    draw.rectangle((0, height - 24, width, height), fill=(35, 35, 40))
    return np.array(image)


def _landscape(rng: Rng, side: int, number: int) -> UInt8Image:
    """A photograph of sky, hills and a house; every second one in grey."""
    height, width = side, int(side * 1.4)
    y = np.linspace(0, 1, height)[:, None, None]
    sky = (1 - y) * np.array([90, 140, 220]) + y * np.array([210, 220, 240])
    picture = np.repeat(sky, width, axis=1)
    cloud = np.clip(_pink(rng, (height, width), 1.6) - 0.55, 0, 1)[:, :, None] * 500
    picture = np.clip(picture + cloud, 0, 255)
    for layer in range(3):
        ridge = 0.45 + 0.15 * layer + 0.12 * _pink(rng, (1, width), 1.5)[0]
        below = (np.linspace(0, 1, height)[:, None] > ridge[None, :])[:, :, None]
        tone = np.array([70 - 15 * layer, 120 - 20 * layer, 60 - 10 * layer])
        grain = 60 * (_pink(rng, (height, width), 0.8)[:, :, None] - 0.5)
        picture = np.where(below, tone + grain, picture)
    image = Image.fromarray(as_picture(picture))
    draw = ImageDraw.Draw(image)
    x, top = int(width * rng.uniform(0.2, 0.7)), int(height * 0.6)
    w, h = width // 6, height // 5
    draw.rectangle((x, top, x + w, top + h), fill=(190, 170, 150))
    draw.polygon([(x, top), (x + w // 2, top - h // 2), (x + w, top)], fill=(140, 60, 50))
    draw.rectangle((x + w // 3, top + h // 3, x + w // 2, top + h), fill=(60, 40, 30))
    return np.array(image.convert("L").convert("RGB") if number % 2 else image)


def _portrait(rng: Rng, side: int, number: int) -> UInt8Image:
    """A photograph of a head before a wall; every second one in grey."""
    height, width = int(side * 1.2), side
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    wall = np.array(rng.uniform(60, 220, 3))
    picture = wall + 60 * (x[:, :, None] + 1) / 2 * rng.uniform(-1, 1)
    skin = np.array([205, 160, 135]) * rng.uniform(0.5, 1.1)
    parts: tuple[tuple[float, float, float, float, Any], ...] = (
        (0, 1.15, 0.95, 0.55, rng.uniform(20, 200, 3)),
        (0, -0.15, 0.55, 0.62, rng.uniform(10, 90, 3)),
        (0, -0.02, 0.45, 0.58, skin),
        (-0.18, -0.1, 0.09, 0.05, (240, 240, 240)),
        (0.18, -0.1, 0.09, 0.05, (240, 240, 240)),
        (-0.18, -0.1, 0.04, 0.04, (30, 25, 20)),
        (0.18, -0.1, 0.04, 0.04, (30, 25, 20)),
        (0, 0.28, 0.17, 0.05, (150, 70, 70)),
    )
    for cx, cy, rx, ry, tone in parts:
        inside = np.hypot((x - cx) / rx, (y - cy) / ry) < 1
        light = 1 - 0.35 * np.clip((x - cx) / rx, -1, 1)
        picture = np.where(inside[:, :, None], np.asarray(tone) * light[:, :, None], picture)
    picture = ndimage.gaussian_filter(picture, (1.5, 1.5, 0)) + rng.normal(0, 3, picture.shape)
    image = Image.fromarray(as_picture(picture))
    return np.array(image.convert("L").convert("RGB") if number % 2 else image)


def _chest_film(rng: Rng, side: int, number: int) -> UInt8Image:
    """An X-ray of a chest: soft tissue, two dark lungs, ribs, spine and heart; some inverted."""
    y, x = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    film = 150 + 40 * np.exp(-((x / 0.14) ** 2)) - 50 * np.abs(x) ** 3
    for sign in (-1, 1):
        lung = np.hypot((x - 0.42 * sign) / 0.33, (y + 0.05) / 0.68)
        film -= 95 / (1 + np.exp((lung - 1) * 14))
    for k in range(9):
        curve = y + 0.85 - 0.19 * k - 0.28 * (np.abs(x) - 0.4) ** 2 * rng.uniform(0.8, 1.2)
        film += 22 * np.exp(-((curve / 0.028) ** 2)) * (np.abs(x) > 0.1)
    film += 70 / (1 + np.exp((np.hypot((x - 0.15) / 0.27, (y - 0.3) / 0.32) - 1) * 14))
    film -= 150 * (np.abs(x) > 0.92 + 0.05 * np.sin(3 * y))
    film = ndimage.gaussian_filter(film, 1.2) + rng.normal(0, rng.uniform(1, 5), film.shape)
    return as_picture(255 - stretched(film) if number % 3 == 2 else stretched(film))


def _mammogram(rng: Rng, side: int, number: int) -> UInt8Image:
    """A mammogram: a half-moon of soft cloudy tissue on black."""
    height, width = int(side * 1.3), side
    y, x = np.mgrid[-1 : 1 : height * 1j, 0 : 1 : width * 1j]
    edge = np.hypot(x / rng.uniform(0.7, 0.9), y / 0.85)
    inside = 1 / (1 + np.exp((edge - 1) * 35))
    cloud = _pink(rng, (height, width), 1.7) ** 1.5
    film = inside * (50 + 190 * cloud * np.clip(1.2 - edge, 0, 1))
    film = film[:, ::-1] if number % 2 else film
    return as_picture(ndimage.gaussian_filter(film, 1) + rng.normal(0, 2, film.shape) * inside)


def _section(rng: Rng, side: int, number: int) -> UInt8Image:
    """A CT or MR section: an ellipse of organs with sharp borders on black."""
    y, x = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    body = np.hypot(x / 0.85, y / rng.uniform(0.6, 0.8))
    section = np.where(body < 1, 90.0, 0.0) + np.where((body < 1) & (body > 0.93), 60, 0)
    for _ in range(12):
        cx, cy = rng.uniform(-0.55, 0.55), rng.uniform(-0.4, 0.4)
        organ = np.hypot((x - cx) / rng.uniform(0.06, 0.3), (y - cy) / rng.uniform(0.06, 0.25))
        section = np.where((organ < 1) & (body < 0.9), rng.uniform(20, 220), section)
    section += np.where(np.hypot(x / 0.1, (y - 0.42) / 0.1) < 1, 120, 0)
    section = ndimage.gaussian_filter(section, 0.8) + rng.normal(0, rng.uniform(2, 9), x.shape)
    return as_picture(section)


def _spectrum(rng: Rng, side: int, number: int) -> UInt8Image:
    """A spectral Doppler strip: bright pulses over a black time axis."""
    height, width = side // 2 + 60, int(side * 1.3)
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    beat = np.abs(np.sin(x * rng.uniform(9, 20))) ** 3 * 0.6 + 0.1
    height_above = 0.8 - y
    lit = (height_above > 0) & (height_above < beat)
    strip = np.where(lit, 230 * (np.maximum(height_above, 0) / beat) ** 1.5, 0)
    strip = strip * rng.uniform(0.4, 1, strip.shape) + 180 * (np.abs(y - 0.8) < 0.004)
    return as_picture(strip)


MAKERS: Final[dict[str, Callable[[Rng, int, int], UInt8Image]]] = {
    "noise": _noise,
    "gradient": _gradient,
    "shapes": _shapes,
    "checkerboard": _checkerboard,
    "empty frame": _empty,
    "document": _document,
    "chart": _chart,
    "screen": _screen,
    "landscape": _landscape,
    "portrait": _portrait,
    "chest film": _chest_film,
    "mammogram": _mammogram,
    "section": _section,
    "spectral strip": _spectrum,
}
"""Kinds of code-made pictures: maker(random numbers, side in pixels, number) -> uint8 HxWx3."""
