"""Measure a model on labelled pictures; prints and writes the contract's evaluation JSON."""

from __future__ import annotations

import argparse
import csv
import io
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from ml import registry
from ml.calibrate import Floats, Indices
from ml.cli import UsageError, run_cli
from ml.config import CLASSES, MALIGNANT, TrainConfig
from ml.dataset import Dataset, Record, limit_records, read_dataset
from ml.duplicates import RULE, group_records
from ml.inference import Prediction, Predictor
from ml.metrics import Metrics, bootstrap, measure
from ml.split import split_records

_BATCH = 8


@dataclass(frozen=True)
class Scored:
    """Pictures with their calibrated scores (float64 N x 3), outcomes and labels."""

    records: tuple[Record, ...]
    scores: Floats
    outcomes: tuple[str, ...]
    labels: tuple[str | None, ...]

    @property
    def targets(self) -> Indices:
        """True classes by index: int64 N."""
        return np.array([r.target for r in self.records], dtype=np.int64)


def score_records(
    predictor: Predictor, dataset: Dataset, records: Sequence[Record], *, progress: bool = False
) -> Scored:
    """Answer every record exactly as the service would."""
    answered: list[Prediction] = []
    silent = not (progress and sys.stderr.isatty())
    for start in tqdm(range(0, len(records), _BATCH), desc="pictures / 8", disable=silent):
        batch = records[start : start + _BATCH]
        answered.extend(predictor.predict([(dataset.root / r.file).read_bytes() for r in batch]))
    return Scored(
        records=tuple(records),
        scores=np.array([[a.probabilities[c] for c in CLASSES] for a in answered]),
        outcomes=tuple(a.outcome for a in answered),
        labels=tuple(a.label for a in answered),
    )


def evaluation(
    scored: Scored, threshold: float | Floats, groups: Indices, *, bootstraps: int = 1000
) -> dict[str, Any]:
    """The contract's evaluation JSON of scored pictures.

    ``threshold`` is one for all or N; ``groups`` int64 N are what the bootstrap draws. Every
    picture counts by its scores; refused and abstained ones are reported apart and, in
    ``as_if_positive``, as called malignant.
    """
    targets, scores = scored.targets, scored.scores
    thresholds = np.broadcast_to(np.asarray(threshold, dtype=np.float64), len(targets))
    outcomes = np.array(scored.outcomes)
    unanswered = outcomes != "answered"
    # Shares are of all pictures of that truth; one without an answer is never a negative.
    positive = targets == MALIGNANT
    called = unanswered | (scores[:, MALIGNANT] >= thresholds)
    result: dict[str, Any] = {
        "n": len(targets),
        "n_refused": int((outcomes == "refused").sum()),
        "n_abstained": int((outcomes == "abstained").sum()),
        "n_groups": len(np.unique(groups)),
        "classes": list(CLASSES),
        "counts": {c: int((targets == k).sum()) for k, c in enumerate(CLASSES)},
        "operating_threshold": sorted(set(thresholds.tolist())),
        **measure(targets, scores, thresholds),
        "as_if_positive": {
            "sensitivity": float(called[positive].mean()) if positive.any() else None,
            "specificity": float((~called[~positive]).mean()) if not positive.all() else None,
        },
    }
    result["ci95"] = bootstrap(targets, scores, groups, thresholds, rounds=bootstraps)
    result["per_source"] = {
        source: _part(scored, thresholds, np.array([r.source == source for r in scored.records]))
        for source in sorted({r.source for r in scored.records})
    }
    return result


def _part(scored: Scored, thresholds: Floats, chosen: Any) -> Metrics:
    part = measure(scored.targets[chosen], scored.scores[chosen], thresholds[chosen])
    return {"n": int(chosen.sum()), **part}


def predictions_csv(scored: Scored) -> str:
    """The contract's predictions table: file,label,p_benign,p_malignant,p_normal,outcome.

    ``label`` is the answer, empty where there is none.
    """
    buffer = io.StringIO()
    table = csv.writer(buffer, lineterminator="\n")
    table.writerow(["file", "label", *(f"p_{name}" for name in CLASSES), "outcome"])
    rows = zip(scored.records, scored.labels, scored.scores, scored.outcomes, strict=True)
    for record, label, scores, outcome in rows:
        table.writerow([record.file, label or "", *(f"{s:.6f}" for s in scores), outcome])
    return buffer.getvalue()


def summary(result: dict[str, Any]) -> str:
    """The main figures with their intervals, one a line."""
    lines = [f"{result['n']} pictures in {result['n_groups']} groups: {result['counts']}"]
    for key in (
        "accuracy",
        "macro_f1",
        "auc_malignant",
        "auc_macro",
        "sensitivity",
        "specificity",
        "specificity_at_95_sensitivity",
        "brier",
        "ece",
    ):
        if result[key] is not None:
            low, high = result["ci95"].get(key, [float("nan")] * 2)
            lines.append(f"{key:30s} {result[key]:.3f}  [{low:.3f}, {high:.3f}]")
    at_point = result["at_operating_point"]
    lines.append(f"{'accuracy at operating point':30s} {at_point['accuracy']:.3f}")
    for name, part in (("largest score", result), ("operating point", at_point)):
        lines.append(f"confusion by the {name} (rows truth, columns answer; {', '.join(CLASSES)}):")
        lines.extend("  " + " ".join(f"{v:5d}" for v in row) for row in part["confusion"])
    return "\n".join(lines)


def write_outputs(
    result: dict[str, Any], scored: Scored, json_out: Path | None, csv_out: Path | None
) -> None:
    """Write the JSON and the CSV where wanted, each by atomic rename."""
    if json_out:
        text = json.dumps(result, indent=2, ensure_ascii=False) + "\n"
        registry.write_atomic(json_out, text.encode())
    if csv_out:
        registry.write_atomic(csv_out, predictions_csv(scored).encode())


def build_parser(prog: str, text: str | None) -> argparse.ArgumentParser:
    """Arguments that evaluation and cross-validation share."""
    parser = argparse.ArgumentParser(prog=prog, description=text)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR")
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the figures as JSON")
    parser.add_argument("--predictions", type=Path, metavar="CSV", help="write each score")
    parser.add_argument("--limit-images", type=int, metavar="N")
    parser.add_argument("--bootstraps", type=int, default=1000, metavar="N")
    return parser


def check_counts(arguments: argparse.Namespace) -> None:
    """Raise ``UsageError`` for counts below one."""
    for name in ("limit_images", "bootstraps", "epochs", "folds"):
        value = getattr(arguments, name, None)
        if value is not None and value < 1:
            raise UsageError(f"--{name.replace('_', '-')} must be at least 1")


def trained_on(card: registry.Card, dataset: Dataset) -> bool:
    """Whether the card says that this very data was used in training."""
    facts = card.get("training", {}).get("data", {})
    return bool(facts.get("digest") == dataset.digest())


def held_out_part(card: registry.Card, dataset: Dataset) -> Dataset:
    """The pictures that the model's own split held out. Raises ``UsageError`` for other data."""
    if not trained_on(card, dataset):
        raise UsageError("this model was not trained on this data, so nothing was held out of it")
    config = TrainConfig.from_dict(card["training"]["config"])
    split = split_records(dataset.records, folds=config.folds, seed=config.seed)
    records = tuple(dataset.records[i] for i in split.held_out.tolist())
    return Dataset(dataset.root, records, dataset.skipped)


def main(argv: Sequence[str] | None = None) -> int:
    """``python -m ml.evaluate --data DIR [--model FILE] [--json OUT] [--predictions CSV] …``."""
    parser = build_parser("python -m ml.evaluate", __doc__)
    parser.add_argument("--model", type=Path, metavar="FILE", help="default: the shipped model")
    parser.add_argument(
        "--part",
        choices=("all", "held-out"),
        default="all",
        help="held-out: only what the model's own split kept out of its training on this data",
    )
    parser.add_argument("--device", default="auto")
    arguments = parser.parse_args(argv)
    check_counts(arguments)
    predictor = Predictor(arguments.model, device=arguments.device)
    dataset = read_dataset(arguments.data)
    seen = trained_on(predictor.model.card, dataset)
    if arguments.part == "held-out":
        dataset = held_out_part(predictor.model.card, dataset)
    dataset = limit_records(dataset, arguments.limit_images)
    for entry in dataset.skipped:
        print(f"skipped {entry.file}: {entry.reason}", file=sys.stderr)
    grouping = group_records(dataset.records)
    scored = score_records(predictor, dataset, dataset.records, progress=True)
    threshold = predictor.model.operating_point.threshold
    result = evaluation(scored, threshold, grouping.groups, bootstraps=arguments.bootstraps)
    result["seen_in_training"] = seen and arguments.part == "all"
    if result["seen_in_training"]:
        print(
            "note: the model was trained on most of these pictures; its honest figures on this "
            "data are those of --part held-out",
            file=sys.stderr,
        )
    result["model"] = {"version": predictor.model.version, "sha256": predictor.model.sha256}
    result["data"] = {"name": dataset.root.name, "digest": dataset.digest()}
    result["grouping_rule"] = RULE
    result["conflicting_groups"] = len(grouping.conflicts)
    result["skipped"] = [{"file": s.file, "reason": s.reason} for s in dataset.skipped]
    write_outputs(result, scored, arguments.json, arguments.predictions)
    print(summary(result))
    return 0


if __name__ == "__main__":
    sys.exit(run_cli(main))
