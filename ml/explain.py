"""Where class activation maps point, by one model or out of fold, against lesion masks."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from tqdm import tqdm

from ml import registry
from ml.calibrate import Indices
from ml.cli import UsageError, run_cli
from ml.dataset import Dataset, Record, limit_records, read_dataset
from ml.duplicates import RULE, group_records
from ml.errors import DatasetError
from ml.evaluate import check_counts
from ml.heldout import fold_count, held_out_indices, split_settings, trained_on
from ml.inference import Predictor
from ml.pointing import COLUMNS, GRID, ROUNDS, Lesions, pointing_game, read_lesions
from ml.preprocessing import Preprocessing
from ml.run import WEIGHTS
from ml.split import grouped_folds
from ml.threads import default_threads

Box = tuple[float, float, float, float]
_BATCH: Final = 8
_FOLDS: Final = 5


def upsample(
    cells: npt.NDArray[np.floating[Any]], box: Box, *, width: int, height: int
) -> npt.NDArray[np.float32]:
    """A class activation map over its picture: float h x w -> float32 height x width.

    ``box`` (x0, y0, x1, y1, original pixels) is what the map spans. Bilinear between the centres
    of cells, constant beyond the outermost ones; no value exceeds the largest cell's.
    """
    rows, columns = cells.shape
    x0, y0, x1, y1 = box
    x = (np.arange(width) + 0.5 - x0) / (x1 - x0) * columns - 0.5
    y = (np.arange(height) + 0.5 - y0) / (y1 - y0) * rows - 0.5
    grid = np.meshgrid(y, x, indexing="ij")
    values = ndimage.map_coordinates(cells.astype(np.float32), grid, order=1, mode="nearest")
    return np.asarray(values, dtype=np.float32)


def largest_cell(cells: npt.NDArray[np.floating[Any]]) -> tuple[int, int]:
    """Row and column of the largest value; of equals, the first in reading order."""
    row, column = np.unravel_index(int(np.argmax(cells)), cells.shape)
    return int(row), int(column)


def peak(cells: npt.NDArray[np.floating[Any]], box: Box) -> tuple[float, float]:
    """Where the map is largest: (x, y) in original pixels, the centre of the largest cell.

    Exact for the bilinear map, whose values between centres are weighted means of four cells.
    The point may lie beyond the picture where the input square was padded.
    """
    row, column = largest_cell(cells)
    x0, y0, x1, y1 = box
    x = x0 + (column + 0.5) / cells.shape[1] * (x1 - x0)
    return x, y0 + (row + 0.5) / cells.shape[0] * (y1 - y0)


def point_at(predictor: Predictor, dataset: Dataset, records: Sequence[Record]) -> Indices:
    """Where each picture's map of its true class is largest, as served: int64 N x 2.

    Row and column in units of every fourth input pixel, as in :class:`Lesions`.
    """
    side = predictor.model.preprocessing.size
    found: list[tuple[int, int]] = []
    starts = range(0, len(records), _BATCH)
    for start in _progress(starts, f"pictures / {_BATCH}"):
        batch = records[start : start + _BATCH]
        answers = predictor.predict([(dataset.root / r.file).read_bytes() for r in batch])
        for record, answer in zip(batch, answers, strict=True):
            cells = np.asarray(answer.heatmap)[record.target]
            row, column = largest_cell(cells)
            step = side / cells.shape[0]
            found.append((int((row + 0.5) * step) // GRID, int((column + 0.5) * step) // GRID))
    return np.array(found, dtype=np.int64).reshape(-1, 2)


def _progress(items: Any, text: str) -> Iterator[Any]:
    yield from tqdm(items, desc=text, disable=not sys.stderr.isatty())


def explain_model(
    predictor: Predictor,
    dataset: Dataset,
    *,
    part: str = "all",
    limit: int | None = None,
    rounds: int = ROUNDS,
) -> dict[str, Any]:
    """The pointing game of one model: on all pictures with a mask, or on its held-out part.

    On the held-out part the fixed point is chosen on the rest of the data; else leaving one of
    five grouped folds out. Quarantined pictures count in neither. Raises ``UsageError`` when the
    model has no held-out part in this data.
    """
    card = predictor.model.card
    grouping = group_records(dataset.records)
    usable = np.flatnonzero(~grouping.quarantined)
    if part == "held-out":
        trained = registry.trained_pictures(predictor.model.path)
        held_out = held_out_indices(card, dataset, trained)
        fold_of = np.ones(len(dataset.records), dtype=np.int64)
        fold_of[held_out] = 0
        wanted = {dataset.records[i].file for i in held_out.tolist()}
    else:
        kept = [dataset.records[i] for i in usable.tolist()]
        count = min(_FOLDS, grouping.count)
        fold_of = np.zeros(len(dataset.records), dtype=np.int64)
        fold_of[usable] = grouped_folds(kept, grouping.groups[usable], folds=count, seed=0)
        wanted = {record.file for record in kept}
    lesions, places = _usable_lesions(dataset, usable, predictor.model.preprocessing)
    chosen = [r for r in lesions.records if r.file in wanted]
    asked = {r.file for r in limit_records(Dataset(dataset.root, tuple(chosen), ()), limit).records}
    measured = np.array([i for i, r in enumerate(lesions.records) if r.file in asked])
    if len(measured) == 0:
        raise DatasetError("no picture of the wanted part has a lesion mask")
    points = point_at(predictor, dataset, [lesions.records[i] for i in measured.tolist()])
    result = pointing_game(
        lesions,
        points,
        measured,
        folds=fold_of[places],
        groups=grouping.groups[places],
        rounds=rounds,
    )
    seen = part == "all" and trained_on(card, dataset)
    return {**result, **_about(dataset), "seen_in_training": seen}


def explain_crossval(
    out: Path, dataset: Dataset, *, device: str = "auto", rounds: int = ROUNDS
) -> dict[str, Any]:
    """The out-of-fold pointing game: each picture by the model of ``out/fold-k`` not shown it.

    Folds without a model file are left out, as ``folds_measured`` says. The fixed point for fold k
    is chosen on the pictures of the other folds. Raises ``ModelFileError`` for a bad file or none
    at all, ``UsageError`` for other data.
    """
    there = sorted(out.glob(f"fold-*/{WEIGHTS}")) or [out / "fold-0" / WEIGHTS]
    first = Predictor(there[0], device=device, threads=default_threads())
    count = fold_count(first.model.card, dataset)
    paths = {k: out / f"fold-{k}" / WEIGHTS for k in range(count)}
    paths = {fold: path for fold, path in paths.items() if path in there}
    fold_of = np.full(len(dataset.records), -1, dtype=np.int64)
    for fold, path in paths.items():
        card, trained = registry.read_card(path), registry.trained_pictures(path)
        if split_settings(card, dataset) != split_settings(first.model.card, dataset):
            raise UsageError("the folds' models were not made with one and the same split")
        fold_of[held_out_indices(card, dataset, trained, fold=fold)] = fold
    grouping = group_records(dataset.records)
    # The fixed point is chosen on every other fold, also on those without a model.
    usable = np.flatnonzero(~grouping.quarantined)
    lesions, places = _usable_lesions(dataset, usable, first.model.preprocessing)
    measured = np.flatnonzero(fold_of[places] >= 0)
    points = np.zeros((len(places), 2), dtype=np.int64)
    for fold, path in paths.items():
        predictor = first
        if path != there[0]:
            predictor = Predictor(path, device=device, threads=default_threads())
        if predictor.model.preprocessing != first.model.preprocessing:
            raise UsageError("the folds' models do not prepare pictures in one and the same way")
        own = np.flatnonzero(fold_of[places] == fold)
        points[own] = point_at(predictor, dataset, [lesions.records[i] for i in own.tolist()])
    result = pointing_game(
        lesions,
        points[measured],
        measured,
        folds=fold_of[places],
        groups=grouping.groups[places],
        rounds=rounds,
    )
    return {
        **result,
        **_about(dataset),
        "out_of_fold": True,
        "folds": count,
        "folds_measured": list(paths),
    }


def _usable_lesions(
    dataset: Dataset, usable: Indices, preprocessing: Preprocessing
) -> tuple[Lesions, Indices]:
    """Lesions of the records at ``usable``, and the position of each among all records."""
    lesions = read_lesions(dataset, [dataset.records[i] for i in usable.tolist()], preprocessing)
    position = {record.file: i for i, record in enumerate(dataset.records)}
    return lesions, np.array([position[r.file] for r in lesions.records], dtype=np.int64)


def _about(dataset: Dataset) -> dict[str, Any]:
    return {
        "data": {"name": dataset.root.name, "digest": dataset.digest()},
        "grouping_rule": RULE,
    }


def summary(result: dict[str, Any]) -> str:
    """One line a source and class: the model, the baselines and the margin, in per cent."""
    lines = [f"{'':26s}{'n':>5s}  model  centre  fixed point  over the better [95 %]"]
    for source, rows in result["per_source"].items():
        for label, row in rows.items():
            low, high = row["ci95"]["over_better"]
            rates = (100 * row[key] for key in COLUMNS)
            model, centre, fixed = rates
            lines.append(
                f"{source + ' ' + label:26s}{row['n']:5d}  {model:5.1f}  {centre:6.1f}  "
                f"{fixed:11.1f}  {100 * row['over_better']:5.1f} "
                f"[{100 * low:.1f}, {100 * high:.1f}]"
            )
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """``python -m ml.explain --data DIR [--model FILE | --crossval OUT] [--json OUT] …``."""
    parser = argparse.ArgumentParser(prog="python -m ml.explain", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR")
    models = parser.add_mutually_exclusive_group()
    models.add_argument("--model", type=Path, metavar="FILE", help="default: the shipped model")
    models.add_argument("--crossval", type=Path, metavar="OUT", help="folder of ml.crossval --out")
    parser.add_argument("--part", choices=("all", "held-out"), default="all")
    parser.add_argument("--limit-images", type=int, metavar="N", help="not with --crossval")
    parser.add_argument("--bootstraps", type=int, default=ROUNDS, metavar="N")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the figures as JSON")
    arguments = parser.parse_args(argv)
    check_counts(arguments)
    if arguments.crossval and (arguments.part != "all" or arguments.limit_images):
        raise UsageError("--crossval measures every picture once: no --part, no --limit-images")
    dataset = read_dataset(arguments.data)
    rounds: int = arguments.bootstraps
    if arguments.crossval:
        result = explain_crossval(
            arguments.crossval, dataset, device=arguments.device, rounds=rounds
        )
    else:
        predictor = Predictor(arguments.model, device=arguments.device, threads=default_threads())
        result = explain_model(
            predictor, dataset, part=arguments.part, limit=arguments.limit_images, rounds=rounds
        )
        if result["seen_in_training"]:
            print("note: the model was trained on most of these pictures", file=sys.stderr)
    if arguments.json:
        text = json.dumps(result, indent=2, ensure_ascii=False) + "\n"
        registry.write_atomic(arguments.json, text.encode())
    print(summary(result))
    return 0


if __name__ == "__main__":
    sys.exit(run_cli(main))
