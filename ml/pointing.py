"""The pointing game: how often a map's maximum lies at the lesion, beside two baselines.

Zhang et al., "Top-down neural attention by excitation backprop", ECCV 2016, section 4.2: a hit
when the maximum of the true class's map lies in the lesion mask, dilated here by 16 px of an
input of 224. A hit says that the largest evidence lies at the lesion. It says nothing of the
lesion's extent, nor that the lesion is the cause of the answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from ml.calibrate import Floats, Indices
from ml.config import CLASSES
from ml.dataset import Dataset, Record
from ml.errors import DatasetError
from ml.preprocessing import Preprocessing, UInt8Image

Bools = npt.NDArray[np.bool_]

ROUNDS: Final = 1000
"""Draws of whole groups behind each interval."""
REACH: Final = 16 / 224
"""Radius of the disc that dilates a mask, as a share of the input's side."""
GRID: Final = 4
"""Candidate points lie on every fourth pixel of the input; centres of cells are among them."""
RULES: Final = {
    "hit": "the maximum of the true class's map lies in the lesion mask dilated by a disc of "
    "16 px of the 224 px input; bilinear upsampling keeps the maximum at the centre of the "
    "largest cell",
    "centre": "always the centre of the input square",
    "fixed_point": "always the one point, of every fourth input pixel, that hits most dilated "
    "masks of the same source and class in the other folds (of several, the middle one)",
    "over_better": "hit rate less the better of the two baselines, chosen anew in each draw",
    "area": "lesion pixels as a share of the picture; thirds of the pictures in this row",
}
COLUMNS: Final = ("hit_rate", "centre", "fixed_point")
_THIRDS: Final = ("smallest third", "middle third", "largest third")


@dataclass(frozen=True)
class Lesions:
    """Pictures with a lesion mask.

    ``reach`` bool N x G x G: whether every fourth pixel of the input square lies in the dilated
    mask. ``inside`` bool N x G x G: whether it lies in the picture, not in padding. ``areas``
    float64 N: the lesion's share of the picture.
    """

    records: tuple[Record, ...]
    reach: Bools
    inside: Bools
    areas: Floats

    @property
    def kinds(self) -> list[tuple[str, str]]:
        """Source and class of each picture."""
        return [(r.source, r.label) for r in self.records]


def dilated(mask: UInt8Image) -> Bools:
    """A mask on the input square, uint8 S x S, dilated by 16/224 of S: bool S/4 x S/4.

    A pixel counts as lesion from half the mask's largest value on, so that a lesion of a few
    pixels does not vanish when it is shrunk.
    """
    lesion = mask >= max(1.0, mask.max() / 2)
    distance = ndimage.distance_transform_edt(~lesion)
    near: Bools = np.asarray(distance[::GRID, ::GRID] <= REACH * mask.shape[0])
    return near


def read_lesions(
    dataset: Dataset, records: Sequence[Record], preprocessing: Preprocessing
) -> Lesions:
    """Masks of those records that have one, where ``preprocessing`` puts their pictures.

    Raises :class:`DatasetError` when no picture has a mask.
    """
    kept: list[Record] = []
    reach, inside, areas = [], [], []
    for record in records:
        mask = dataset.read_mask(record) if record.masks else None
        if mask is None:
            continue
        _, geometry = preprocessing.frame(dataset.read(record))
        framed = preprocessing.frame_mask(mask, geometry)
        if not framed.any():
            continue
        picture = preprocessing.frame_mask(np.full_like(mask, 255), geometry)
        kept.append(record)
        reach.append(dilated(framed))
        inside.append(picture[::GRID, ::GRID] > 0)
        areas.append(float((mask > 0).mean()))
    if not kept:
        raise DatasetError(f"no picture in {dataset.root} has a lesion mask")
    return Lesions(tuple(kept), np.stack(reach), np.stack(inside), np.array(areas))


def best_fixed_point(reach: Bools) -> tuple[int, int]:
    """The point that lies in most dilated masks: bool N x G x G -> row, column.

    Of several, the one nearest to their mean: it loses least on other pictures. The centre where
    there are no masks to choose by.
    """
    if len(reach) == 0:
        return reach.shape[1] // 2, reach.shape[2] // 2
    hits = reach.sum(axis=0)
    best = np.argwhere(hits == hits.max())
    chosen = best[np.argmin(((best - best.mean(axis=0)) ** 2).sum(axis=1))]
    return int(chosen[0]), int(chosen[1])


def pointing_game(
    lesions: Lesions,
    points: Indices,
    measured: Indices,
    *,
    folds: Indices,
    groups: Indices,
    rounds: int = ROUNDS,
) -> dict[str, Any]:
    """Hit rates by source and class beside two baselines, with 95 % intervals, JSON-ready.

    ``points`` int64 M x 2 are the maxima for the lesions at ``measured`` (int64 M). ``folds``
    int64 N: the fixed point for a picture is chosen on lesions of other folds, of the same source
    and class, measured or not. ``groups`` int64 N are what the bootstrap draws, all figures of a
    draw from the same groups.
    """
    middle = lesions.reach.shape[1] // 2
    hits = np.zeros((len(measured), len(COLUMNS)), dtype=np.bool_)
    hits[:, 0] = lesions.reach[measured, points[:, 0], points[:, 1]]
    hits[:, 1] = lesions.reach[measured, middle, middle]
    hits[:, 2] = _fixed_hits(lesions, measured, folds)
    outside = ~lesions.inside[measured, points[:, 0], points[:, 1]]
    kinds = [lesions.kinds[i] for i in measured.tolist()]

    def row(chosen: Bools) -> dict[str, Any]:
        areas = lesions.areas[measured][chosen]
        result = _rates(hits[chosen], groups[measured][chosen], rounds)
        result["outside_picture"] = float(outside[chosen].mean())
        result["per_area"] = _thirds(hits[chosen], groups[measured][chosen], areas, rounds)
        return result

    def by_class(source: str | None) -> dict[str, Any]:
        rows = {}
        for label in CLASSES:
            own = np.array([c == label and source in (None, s) for s, c in kinds], dtype=np.bool_)
            if own.any():
                rows[label] = row(own)
        return rows

    return {
        "n": len(measured),
        "rules": dict(RULES),
        "per_class": by_class(None),
        "per_source": {source: by_class(source) for source in sorted({s for s, _ in kinds})},
    }


def _fixed_hits(lesions: Lesions, measured: Indices, folds: Indices) -> Bools:
    kinds = lesions.kinds
    hit = np.zeros(len(measured), dtype=np.bool_)
    for kind in set(kinds):
        own = np.array([k == kind for k in kinds], dtype=np.bool_)
        for fold in np.unique(folds[measured]).tolist():
            row, column = best_fixed_point(lesions.reach[own & (folds != fold)])
            here = own[measured] & (folds[measured] == fold)
            hit[here] = lesions.reach[measured[here], row, column]
    return hit


def _rates(hits: Bools, groups: Indices, rounds: int) -> dict[str, Any]:
    """Rates and differences of hits bool M x 3, with intervals from whole groups."""
    names, where = np.unique(groups, return_inverse=True)
    sums = np.zeros((len(names), hits.shape[1]))
    np.add.at(sums, where.reshape(-1), hits)
    counts = np.bincount(where.reshape(-1), minlength=len(names)).astype(np.float64)
    drawn = np.random.default_rng(0).integers(0, len(names), (rounds, len(names)))
    rates = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)[:, None]
    point, spread = _with_differences(hits.mean(axis=0)[None]), _with_differences(rates)
    return {
        "n": len(hits),
        "n_groups": len(names),
        **{key: float(values[0]) for key, values in point.items()},
        "ci95": {
            key: np.percentile(values, [2.5, 97.5]).tolist() for key, values in spread.items()
        },
    }


def _with_differences(rates: Floats) -> dict[str, Floats]:
    model, centre, fixed = rates.T
    return {
        **dict(zip(COLUMNS, (model, centre, fixed), strict=True)),
        "over_centre": model - centre,
        "over_fixed_point": model - fixed,
        "over_better": model - np.maximum(centre, fixed),
    }


def _thirds(hits: Bools, groups: Indices, areas: Floats, rounds: int) -> list[dict[str, Any]]:
    """The same by lesion area; the smaller third first. Equal areas stay together."""
    low, high = np.quantile(areas, [1 / 3, 2 / 3])
    third = (areas > low).astype(int) + (areas > high)
    return [
        {
            "third": name,
            "area": [float(areas[third == k].min()), float(areas[third == k].max())],
            **_rates(hits[third == k], groups[third == k], rounds),
        }
        for k, name in enumerate(_THIRDS)
        if (third == k).any()
    ]
