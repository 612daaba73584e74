"""Measure a model on labelled pictures; prints and writes the contract's evaluation JSON."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from ml import registry
from ml.calibrate import Floats, Indices
from ml.cli import UsageError, check_counts, run_cli
from ml.config import CLASSES
from ml.dataset import Dataset, Record, limit_records, read_dataset
from ml.duplicates import RULE, group_records
from ml.heldout import Seen, any_held_out, held_out_part, seen_in_training
from ml.inference import Prediction, Predictor
from ml.intervals import bootstrap
from ml.metrics import Sample, measure
from ml.oof import OutOfFold
from ml.reports import predictions_csv, summary
from ml.scored import Scored, cross_fitted, records_of
from ml.strata import (
    as_if_positive,
    at_sensitivities,
    by_lesion_area,
    by_outcome,
    by_value,
    cancer_confusion,
    coverage_table,
    lesion_areas,
    part,
    shares_at_point,
)
from ml.threads import default_threads

__all__ = [
    "Scored",
    "build_parser",
    "check_counts",
    "evaluation",
    "lesion_areas",
    "main",
    "predictions_csv",
    "score_records",
    "summary",
    "write_outputs",
]

_BATCH = 8
ANSWERED_BY = {
    "accuracy, macro_*, precision, recall, f1, confusion": "the class with the largest score",
    "sensitivity, specificity, at_operating_point, label in the predictions": (
        "the operating point: malignant from operating_threshold on, else the larger of the others"
    ),
}
"""Which answer each figure is about; it stands in the evaluation JSON."""


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
    scored: Scored,
    threshold: float | Floats,
    groups: Indices,
    *,
    bootstraps: int = 1000,
    areas: Floats | None = None,
    prevalence: float | None = None,
) -> dict[str, Any]:
    """The contract's evaluation JSON of scored pictures.

    ``threshold`` is one for all or N; ``groups`` int64 N are what the bootstrap draws;
    ``areas`` float64 N are the lesions' shares of the pictures (``lesion_areas``), without which
    nothing is said about lesion sizes. Predictive values only come with a stated ``prevalence``.
    Every picture counts by its scores; refused and abstained ones are reported apart, left out
    in ``answered_only`` and, in ``as_if_positive``, count as called malignant. ``n_refused`` is
    None where no refusal check looked at the pictures.
    """
    targets, scores = scored.targets, scored.scores
    thresholds = np.broadcast_to(np.asarray(threshold, dtype=np.float64), len(targets))
    sample = Sample(targets, scores, thresholds)
    unanswered = np.array(scored.outcomes) != "answered"
    figures = measure(targets, scores, thresholds, prevalence=prevalence)
    intervals = bootstrap(
        targets, scores, groups, thresholds, rounds=bootstraps, prevalence=prevalence
    )
    if prevalence is not None:
        figures["predictive_values"]["prevalence"] = prevalence
    outcomes = _outcomes(scored)
    answered_only = None
    if not unanswered.all():
        answered_only = part(sample, ~unanswered, groups, bootstraps=bootstraps)
    return {
        "n": len(targets),
        "n_refused": outcomes["refused"]["n"],
        "n_abstained": sum(o == "abstained" for o in scored.outcomes),
        "n_groups": len(np.unique(groups)),
        "grouping_rule": RULE,
        "classes": list(CLASSES),
        "counts": {c: int((targets == k).sum()) for k, c in enumerate(CLASSES)},
        "answered_by": ANSWERED_BY,
        "operating_threshold": sorted(set(thresholds.tolist())),
        **figures,
        "wilson95": shares_at_point(sample),
        "specificity_at_sensitivity": at_sensitivities(sample),
        "cancer_confusion": cancer_confusion(sample),
        "outcomes": outcomes,
        "answered_only": answered_only,
        "as_if_positive": as_if_positive(sample, unanswered),
        "coverage": coverage_table(sample),
        "ci95": intervals,
        **_parts(scored, sample, groups, areas, bootstraps),
    }


def _outcomes(scored: Scored) -> dict[str, Any]:
    """Counts and shares of each outcome; None where no check was made."""
    found = by_outcome(scored.outcomes, scored.targets)
    if not scored.refusal_checked:
        found["refused"] = {"n": None, "share": None, "share_by_class": None}
    return found


def _parts(
    scored: Scored, sample: Sample, groups: Indices, areas: Floats | None, bootstraps: int
) -> dict[str, Any]:
    records = scored.records
    found: dict[str, Any] = {
        f"per_{name}": by_value(sample, values, groups, bootstraps=bootstraps)
        for name, values in (
            ("source", [r.source for r in records]),
            ("device", [r.device for r in records]),
            ("birads", [r.birads for r in records]),
        )
    }
    found["per_lesion_area"] = None
    if areas is not None:
        found["per_lesion_area"] = by_lesion_area(sample, areas, groups, bootstraps=bootstraps)
    return found


def write_outputs(
    result: dict[str, Any], scored: Scored, json_out: Path | None, csv_out: Path | None
) -> None:
    """Write the JSON and the CSV where wanted, each by atomic rename."""
    if json_out:
        text = json.dumps(result, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        registry.write_atomic(json_out, text.encode())
    if csv_out:
        registry.write_atomic(csv_out, predictions_csv(scored).encode())


def build_parser(prog: str, text: str | None) -> argparse.ArgumentParser:
    """Arguments that evaluation, cross-validation and comparators share."""
    parser = argparse.ArgumentParser(prog=prog, description=text)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR")
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the figures as JSON")
    parser.add_argument("--predictions", type=Path, metavar="CSV", help="write each score")
    parser.add_argument("--limit-images", type=int, metavar="N")
    parser.add_argument("--bootstraps", type=int, default=1000, metavar="N")
    return parser


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = build_parser("python -m ml.evaluate", __doc__)
    parser.add_argument("--model", type=Path, metavar="FILE", help="default: the shipped model")
    parser.add_argument(
        "--part",
        choices=("all", "held-out"),
        default="all",
        help="held-out: only what the model's own split kept out of its training on this data",
    )
    parser.add_argument(
        "--oof",
        type=Path,
        metavar="NPZ",
        help="measure the out-of-fold scores that ml.crossval --out kept, instead of a model",
    )
    parser.add_argument(
        "--single-class",
        action="store_true",
        help="allow data of one class only: what needs another class is null",
    )
    parser.add_argument(
        "--prevalence",
        type=float,
        metavar="SHARE",
        help="state predictive values at this share of malignant, such as 0.01",
    )
    parser.add_argument("--figures", type=Path, metavar="DIR", help="draw figures (SVG) here")
    parser.add_argument("--device", default="auto")
    arguments = parser.parse_args(argv)
    check_counts(arguments)
    if arguments.oof and (arguments.model or arguments.part != "all" or arguments.limit_images):
        raise UsageError("--oof goes with neither --model, --part nor --limit-images")
    return arguments


def _score_model(
    arguments: argparse.Namespace, dataset: Dataset
) -> tuple[Scored, float, dict[str, Any]]:
    """Scores by the model, its threshold, and what is to be told of it."""
    predictor = Predictor(arguments.model, device=arguments.device, threads=default_threads())
    whole, card = dataset, predictor.model.card
    trained = registry.trained_pictures(predictor.model.path)
    if arguments.part == "held-out":
        dataset = held_out_part(card, dataset, trained)
    dataset = limit_records(dataset, arguments.limit_images)
    scored = score_records(predictor, dataset, dataset.records, progress=True)
    seen = Seen(0, 0)
    if arguments.part != "held-out":
        seen = seen_in_training(card, trained, whole, dataset.records)
    if seen.any:
        honest = "of --part held-out" if any_held_out(card) else "out of fold, on its card"
        print(
            f"note: the model was trained on {seen.same} of these pictures and on {seen.alike} "
            f"more that look the same; its honest figures on them are those {honest}",
            file=sys.stderr,
        )
    model = {"version": predictor.model.version, "sha256": predictor.model.sha256}
    facts = {
        "seen_in_training": seen.any,
        "n_seen_in_training": seen.same,
        "n_alike_in_training": seen.alike,
        "model": model,
    }
    return scored, predictor.model.operating_point.threshold, facts


def main(argv: Sequence[str] | None = None) -> int:
    """``python -m ml.evaluate --data DIR [--model FILE] [--json OUT] [--predictions CSV] …``."""
    arguments = _arguments(argv)
    dataset = read_dataset(arguments.data, classes_needed=1 if arguments.single_class else 2)
    threshold: float | Floats
    if arguments.oof:
        kept = OutOfFold.load(arguments.oof)
        scored, threshold = cross_fitted(kept, records_of(kept, dataset))
        facts: dict[str, Any] = {"seen_in_training": False, "model": None}
    else:
        scored, threshold, facts = _score_model(arguments, dataset)
    for entry in dataset.skipped:
        print(f"skipped {entry.file}: {entry.reason}", file=sys.stderr)
    grouping = group_records(scored.records)
    result = evaluation(
        scored,
        threshold,
        grouping.groups,
        bootstraps=arguments.bootstraps,
        areas=lesion_areas(dataset, scored.records),
        prevalence=arguments.prevalence,
    )
    measured = Dataset(dataset.root, scored.records, dataset.skipped)
    result |= facts
    result["data"] = {"name": dataset.root.name, "digest": measured.digest()}
    result["conflicting_groups"] = len(grouping.conflicts)
    result["n_quarantined"] = int(grouping.quarantined.sum())
    result["skipped"] = [{"file": s.file, "reason": s.reason} for s in dataset.skipped]
    write_outputs(result, scored, arguments.json, arguments.predictions)
    if arguments.figures:
        # matplotlib takes a second to load: only where something is drawn.
        from ml.figures import write_evaluation_figures

        write_evaluation_figures(arguments.figures, scored, result)
    print(summary(result))
    return 0


if __name__ == "__main__":
    sys.exit(run_cli(main))
