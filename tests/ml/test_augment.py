"""A lesion mask goes wherever its picture goes: framed, turned, zoomed, moved, mirrored."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ml.augment import augment
from ml.config import BCWEB, AugmentConfig
from ml.preprocessing import Preprocessing
from tests.ml.helpers import oval, phantom

MOVES = {"flip": 0.5, "rotate": 12.0, "zoom": 0.15, "shift": 0.06, "aspect": 0.1}
SEEDS = range(20)


def square(side=128):
    """A bright square off the middle: uint8 side x side."""
    mask = np.zeros((side, side), np.uint8)
    mask[side // 4 : side // 2, side // 2 : side * 3 // 4] = 255
    return mask


def as_picture(mask):
    return np.repeat(mask[:, :, None], 3, axis=2)


@pytest.mark.parametrize("side", [96, 128, 256])
def test_a_moved_bright_square_is_its_moved_mask(side):
    """Also where the picture is twice the input and is shrunk in two steps."""
    mask = square(side)
    found = []
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        picture, moved = augment(as_picture(mask), 96, AugmentConfig(**MOVES), rng, mask)
        assert moved.shape == (96, 96) and moved.dtype == np.uint8
        np.testing.assert_array_equal(picture, as_picture(moved))
        assert moved.max() == 255
        found.append(moved.tobytes())
    assert len(set(found)) == len(SEEDS)


def test_mask_and_picture_are_mirrored_together():
    mask = square()
    _, moved = augment(
        as_picture(mask), 128, AugmentConfig(flip=1.0), np.random.default_rng(0), mask
    )
    np.testing.assert_array_equal(moved, mask[:, ::-1])


def test_tones_marks_shadows_and_erasing_leave_the_mask_as_it_is():
    mask = oval((128, 128), 3)
    canvas = as_picture(phantom(3, size=(128, 128)))
    everything = replace(BCWEB.augment, **MOVES, marks=1.0, shadow=1.0, erase=1.0)
    for seed in SEEDS:
        changed, moved = augment(canvas, 96, everything, np.random.default_rng(seed), mask)
        only, expected = augment(
            canvas, 96, AugmentConfig(**MOVES), np.random.default_rng(seed), mask
        )
        np.testing.assert_array_equal(moved, expected)
        assert (changed != only).any()


def test_the_mask_changes_nothing_about_its_picture():
    canvas = as_picture(phantom(3, size=(128, 128)))
    for seed in SEEDS:
        with_mask, _ = augment(canvas, 96, BCWEB.augment, np.random.default_rng(seed), square())
        without, none = augment(canvas, 96, BCWEB.augment, np.random.default_rng(seed))
        assert none is None
        np.testing.assert_array_equal(with_mask, without)


@pytest.mark.parametrize("size", [(300, 400), (500, 320), (70, 90)])
@pytest.mark.parametrize("fit", ["pad", "squash"])
@pytest.mark.parametrize("crop", ["none", "bmode"])
def test_a_mask_is_framed_where_its_picture_is(crop, fit, size):
    """A mask with the picture's own grey values becomes the framed picture, value by value."""
    grey = np.zeros((size[0] + 40, size[1] + 60), np.uint8)
    grey[30 : 30 + size[0], 10 : 10 + size[1]] = phantom(4, size=size)
    preprocessing = Preprocessing(crop=crop, fit=fit, size=96)
    canvas, geometry = preprocessing.frame(as_picture(grey))
    if crop == "bmode" and size != (70, 90):
        assert geometry.content != (0, 0, grey.shape[1], grey.shape[0])
    np.testing.assert_array_equal(preprocessing.frame_mask(grey, geometry), canvas[:, :, 0])
