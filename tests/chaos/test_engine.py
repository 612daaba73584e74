"""The stand-in says of each picture what only that picture's bytes give."""

from __future__ import annotations

import struct
from hashlib import sha256

import numpy as np

from bench.chaos.engine import StandIn
from bench.chaos.pictures import picture
from bench.chaos.reading import reading_of
from worker.answers import answer_from


def test_each_picture_has_an_answer_of_its_own_that_the_worker_takes() -> None:
    pictures = [picture(f"picture {number}") for number in range(40)]
    raw, heatmaps = StandIn().predict("a model", pictures)
    answers = [answer_from(said, heatmap) for said, heatmap in zip(raw, heatmaps, strict=True)]
    for data, answer in zip(pictures, answers, strict=True):
        wanted = reading_of(sha256(data).hexdigest())
        assert (answer.label, answer.scores) == (wanted.label, wanted.scores)
        assert (answer.phash, answer.heatmap) == (wanted.phash, wanted.heatmap)
    assert len({answer.phash for answer in answers}) == len(pictures)
    assert len({str(answer.scores) for answer in answers}) == len(pictures)
    assert len({answer.heatmap for answer in answers}) == len(pictures)
    assert {answer.label for answer in answers} == {"benign", "malignant", "normal"}


def test_no_bytes_make_a_heatmap_with_cells_that_are_no_numbers() -> None:
    for byte in (0x00, 0x7C, 0xFF):
        cells = np.frombuffer(reading_of(struct.pack("32B", *[byte] * 32).hex()).heatmap, "<f2")
        assert np.isfinite(cells).all()
