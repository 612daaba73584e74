"""What else the answer hangs on: marks, borders, brightness, and the source of the picture.

Run time: one forward pass for each picture and change (random changes ``repeats`` times), and one
more for the features of the source probe. With the defaults (150 pictures, 2 repeats) that is at
most 1,950 passes: 3 to 6 minutes on two CPU cores.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from ml import registry
from ml.calibrate import Floats, Indices
from ml.cli import UsageError, run_cli
from ml.config import CLASSES, MALIGNANT
from ml.dataset import Dataset, limit_records, read_dataset
from ml.duplicates import RULE, group_records
from ml.evaluate import check_counts
from ml.heldout import held_out_part, trained_on
from ml.inference import Predictor
from ml.marks import CHANGES, Change
from ml.metrics import auc
from ml.preprocessing import UInt8Image
from ml.sources import normal_scores, probe_sources
from ml.threads import default_threads

LIMIT: Final = 150
REPEATS: Final = 2
_BATCH: Final = 8
_ROUNDS: Final = 1000


@dataclass(frozen=True)
class Probed:
    """Scores of changed pictures beside those of the unchanged ones: float64 M x 3 each.

    ``index`` int64 M says which picture each row is of: a picture has a row for each repeat.
    """

    index: Indices
    before: Floats
    after: Floats


def probe_shortcuts(
    predictor: Predictor,
    dataset: Dataset,
    *,
    repeats: int = REPEATS,
    seed: int = 0,
    progress: bool = False,
) -> dict[str, Any]:
    """All probes on all pictures of ``dataset``, JSON-ready, each with a sentence.

    Changes are made to the whole picture before preprocessing, so that whatever preprocessing
    cuts or cleans counts. A figure without cases is None.
    """
    groups = group_records(dataset.records).groups
    targets = np.array([r.target for r in dataset.records], dtype=np.int64)
    threshold = predictor.model.operating_point.threshold
    shown = progress and sys.stderr.isatty()
    before = _scores(predictor, [dataset.read(r) for r in dataset.records], shown)
    changes: dict[str, Any] = {}
    for name, change in CHANGES.items():
        probed = apply_change(predictor, dataset, change, before, repeats=repeats, seed=seed)
        figures = change_figures(probed, targets, groups, threshold)
        changes[name] = {
            "title": change.title,
            "what": change.what,
            **figures,
            "sentence": _change_sentence(change, figures),
        }
    return {
        "n": len(dataset.records),
        "counts": dataset.counts(),
        "repeats": repeats,
        "threshold": threshold,
        "about": "Changes are made to the whole picture. Shares and means are over all changed "
        "pictures and repeats; flips are answers that cross the operating point. Intervals are "
        "from whole groups.",
        "changes": changes,
        "source": probe_sources(predictor, dataset, groups, shown),
        "normal_score": normal_scores(dataset, before, threshold),
        "grouping_rule": RULE,
    }


def _scores(predictor: Predictor, pictures: Sequence[UInt8Image], shown: bool = False) -> Floats:
    """Calibrated scores as served: float64 N x 3."""
    rows: list[list[float]] = []
    for start in tqdm(range(0, len(pictures), _BATCH), desc="unchanged / 8", disable=not shown):
        for answer in predictor.predict(pictures[start : start + _BATCH]):
            rows.append([answer.probabilities[c] for c in CLASSES])
    return np.array(rows, dtype=np.float64).reshape(-1, len(CLASSES))


def apply_change(
    predictor: Predictor,
    dataset: Dataset,
    change: Change,
    before: Floats,
    *,
    repeats: int = REPEATS,
    seed: int = 0,
) -> Probed:
    """Score every picture that the change applies to; the same seed gives the same changes."""
    index: list[int] = []
    after: list[Floats] = []
    waiting: list[UInt8Image] = []
    for place, record in enumerate(dataset.records):
        image, mask = dataset.read(record), dataset.read_mask(record) if record.masks else None
        for repeat in range(repeats if change.random else 1):
            rng = np.random.default_rng([seed, repeat, int(record.sha256[:12], 16)])
            changed = change.apply(image, mask, rng)
            if changed is not None:
                index.append(place)
                waiting.append(changed)
        if len(waiting) >= _BATCH:
            after.append(_scores(predictor, waiting))
            waiting = []
    after.append(_scores(predictor, waiting))
    rows = np.array(index, dtype=np.int64)
    return Probed(rows, before[rows], np.concatenate(after))


def change_figures(
    probed: Probed, targets: Indices, groups: Indices, threshold: float
) -> dict[str, Any]:
    """How far the malignant score moves and how often the answer flips.

    ``targets`` and ``groups`` int64 N are of all pictures. ``auc_*`` is malignant against the
    rest over the changed pictures, with and without the change.
    """
    rows = _rows(probed, threshold)
    own, whose = targets[probed.index], groups[probed.index]
    result: dict[str, Any] = {
        "n": len(np.unique(probed.index)),
        "n_changed": len(probed.index),
        **_means(rows, np.ones(len(own), dtype=np.bool_)),
    }
    before, after = probed.before[:, MALIGNANT], probed.after[:, MALIGNANT]
    positive = own == MALIGNANT
    both = 0 < positive.sum() < len(positive)
    result["auc_before"] = auc(positive, before) if both else None
    result["auc_after"] = auc(positive, after) if both else None
    if both:
        result["auc_change"] = result["auc_after"] - result["auc_before"]
    result["ci95"] = _intervals(rows, positive, before, after, whose)
    result["per_class"] = {
        label: {"n": int((own == k).sum()), **_means(rows, own == k)}
        for k, label in enumerate(CLASSES)
        if (own == k).any()
    }
    return result


def _rows(probed: Probed, threshold: float) -> dict[str, Floats]:
    before, after = probed.before[:, MALIGNANT], probed.after[:, MALIGNANT]
    up = (before < threshold) & (after >= threshold)
    down = (before >= threshold) & (after < threshold)
    return {
        "mean_abs_change": np.abs(after - before),
        "mean_change": after - before,
        "flipped": (up | down).astype(np.float64),
        "to_malignant": up.astype(np.float64),
        "from_malignant": down.astype(np.float64),
    }


def _means(rows: Mapping[str, Floats], chosen: npt.NDArray[np.bool_]) -> dict[str, float | None]:
    some = bool(chosen.any())
    return {key: float(values[chosen].mean()) if some else None for key, values in rows.items()}


def _intervals(
    rows: Mapping[str, Floats],
    positive: npt.NDArray[np.bool_],
    before: Floats,
    after: Floats,
    groups: Indices,
) -> dict[str, list[float]]:
    """95 % intervals of the means and of the AUC's change, by drawing whole groups."""
    rng = np.random.default_rng(0)
    members = [np.flatnonzero(groups == g) for g in np.unique(groups)]
    collected: dict[str, list[float]] = {}
    for _ in range(_ROUNDS if members else 0):
        drawn = np.concatenate([members[i] for i in rng.integers(0, len(members), len(members))])
        for key, values in rows.items():
            collected.setdefault(key, []).append(float(values[drawn].mean()))
        first = auc(positive[drawn], before[drawn])
        second = auc(positive[drawn], after[drawn])
        if first is not None and second is not None:
            collected.setdefault("auc_change", []).append(second - first)
    return {key: np.percentile(v, [2.5, 97.5]).tolist() for key, v in collected.items()}


def _change_sentence(change: Change, figures: Mapping[str, Any]) -> str:
    if figures["n"] == 0:
        return f"{change.title}: no picture to which this applies."
    text = (
        f"{change.title}: the malignant score moves by {figures['mean_abs_change']:.3f} on "
        f"average, and {100 * figures['flipped']:.1f} % of the answers flip at the operating "
        f"point ({100 * figures['to_malignant']:.1f} % to malignant, "
        f"{100 * figures['from_malignant']:.1f} % from it; {figures['n']} pictures)"
    )
    if figures["auc_before"] is not None:
        text += f"; AUC {figures['auc_before']:.3f} before, {figures['auc_after']:.3f} after"
    return text + "."


def with_settings_of(predictor: Predictor, card: registry.Card, device: str) -> Predictor:
    """The same network with temperature and operating point of another card.

    For a model of cross-validation, whose own are neutral.
    """
    point = registry.OperatingPoint(**card["operating_point"])
    temperature = float(card["temperature"])
    model = replace(predictor.model, temperature=temperature, operating_point=point)
    return Predictor(model, device=device)


def main(argv: Sequence[str] | None = None) -> int:
    """``python -m ml.shortcuts --data DIR [--model FILE] [--part …] [--json OUT] …``."""
    parser = argparse.ArgumentParser(prog="python -m ml.shortcuts", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR")
    parser.add_argument("--model", type=Path, metavar="FILE", help="default: the shipped model")
    parser.add_argument(
        "--settings-of", type=Path, metavar="FILE", help="temperature and threshold of this model"
    )
    parser.add_argument("--part", choices=("all", "held-out"), default="all")
    parser.add_argument("--fold", type=int, help="held-out fold, where the card does not name it")
    parser.add_argument("--limit-images", type=int, default=LIMIT, metavar="N")
    parser.add_argument("--repeats", type=int, default=REPEATS, metavar="N")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the figures as JSON")
    arguments = parser.parse_args(argv)
    check_counts(arguments)
    if arguments.repeats < 1:
        raise UsageError("--repeats must be at least 1")
    predictor = Predictor(arguments.model, device=arguments.device, threads=default_threads())
    card = predictor.model.card
    if arguments.settings_of:
        given = registry.read_card(arguments.settings_of)
        predictor = with_settings_of(predictor, given, arguments.device)
    dataset = read_dataset(arguments.data)
    data = {"name": dataset.root.name, "digest": dataset.digest(), "part": arguments.part}
    if arguments.part == "held-out":
        trained = registry.trained_pictures(predictor.model.path)
        dataset = held_out_part(card, dataset, trained, fold=arguments.fold)
    elif trained_on(card, dataset):
        print("note: the model was trained on most of these pictures", file=sys.stderr)
    dataset = limit_records(dataset, arguments.limit_images)
    result = probe_shortcuts(predictor, dataset, repeats=arguments.repeats, progress=True)
    result["data"] = data
    if arguments.json:
        text = json.dumps(result, indent=2, ensure_ascii=False) + "\n"
        registry.write_atomic(arguments.json, text.encode())
    parts = (result["changes"], result["source"]["per_class"], result["normal_score"])
    print("\n".join(entry["sentence"] for part in parts for entry in part.values()))
    return 0


if __name__ == "__main__":
    sys.exit(run_cli(main))
