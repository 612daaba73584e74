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
from ml.cli import UsageError, run_cli
from ml.config import CLASSES
from ml.dataset import Dataset, Record, limit_records, read_dataset
from ml.duplicates import RULE, group_records
from ml.inference import Prediction, Predictor
from ml.intervals import bootstrap
from ml.metrics import Sample, measure
from ml.oof import OutOfFold
from ml.reports import predictions_csv, summary
from ml.scored import Scored, cross_fitted, records_of
from ml.split import split_records
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
    "any_held_out",
    "build_parser",
    "check_counts",
    "evaluation",
    "held_out_part",
    "lesion_areas",
    "main",
    "predictions_csv",
    "score_records",
    "summary",
    "trained_on",
    "write_outputs",
]

_BATCH = 8


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
    in ``answered_only`` and, in ``as_if_positive``, count as called malignant.
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
    answered_only = None
    if not unanswered.all():
        answered_only = part(sample, ~unanswered, groups, bootstraps=bootstraps)
    return {
        "n": len(targets),
        "n_refused": sum(o == "refused" for o in scored.outcomes),
        "n_abstained": sum(o == "abstained" for o in scored.outcomes),
        "n_groups": len(np.unique(groups)),
        "grouping_rule": RULE,
        "classes": list(CLASSES),
        "counts": {c: int((targets == k).sum()) for k, c in enumerate(CLASSES)},
        "operating_threshold": sorted(set(thresholds.tolist())),
        **figures,
        "wilson95": shares_at_point(sample),
        "specificity_at_sensitivity": at_sensitivities(sample),
        "cancer_confusion": cancer_confusion(sample),
        "outcomes": by_outcome(scored.outcomes, targets),
        "answered_only": answered_only,
        "as_if_positive": as_if_positive(sample, unanswered),
        "coverage": coverage_table(sample),
        "ci95": intervals,
        **_parts(scored, sample, groups, areas, bootstraps),
    }


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


def check_counts(arguments: argparse.Namespace) -> None:
    """Raise ``UsageError`` for counts below one and for a prevalence that is no share."""
    for name in ("limit_images", "bootstraps", "epochs", "folds"):
        value = getattr(arguments, name, None)
        if value is not None and value < 1:
            raise UsageError(f"--{name.replace('_', '-')} must be at least 1")
    prevalence = getattr(arguments, "prevalence", None)
    if prevalence is not None and not 0 < prevalence < 1:
        raise UsageError("--prevalence is a share between 0 and 1")


def trained_on(card: registry.Card, dataset: Dataset) -> bool:
    """Whether the card says that this very data was used in training."""
    facts = card.get("training", {}).get("data", {})
    return bool(facts.get("digest") == dataset.digest())


def seen_in_training(model: registry.LoadedModel, whole: Dataset, records: Sequence[Record]) -> int:
    """How many of the records the model was trained on, by the hashes in its file.

    A file without hashes is only known to have been trained on all of the data that its card
    names, but for the part it held out.
    """
    known = registry.trained_pictures(model.path)
    if known is None:
        return len(records) if trained_on(model.card, whole) else 0
    return sum(bytes.fromhex(r.sha256)[:8] in known for r in records)


def any_held_out(card: registry.Card) -> bool:
    """Whether the card says that a part of the training data was only measured on."""
    return any(card["training"]["data"]["split"]["held_out"].values())


def held_out_part(card: registry.Card, dataset: Dataset) -> Dataset:
    """The pictures that the model's own split held out.

    Raises ``UsageError`` for other data and for a model that was trained on all of it.
    """
    if not trained_on(card, dataset):
        raise UsageError("this model was not trained on this data, so nothing was held out of it")
    if not any_held_out(card):
        raise UsageError("this model was trained on all of this data, so nothing was held out")
    # Only what decides the split is read, so that cards of earlier settings can be measured too.
    config = card["training"]["config"]
    kind = card["training"]["data"].get("split_kind", "grouped")
    split = split_records(dataset.records, folds=config["folds"], seed=config["seed"], kind=kind)
    records = tuple(dataset.records[i] for i in split.held_out.tolist())
    return Dataset(dataset.root, records, dataset.skipped)


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
    whole = dataset
    if arguments.part == "held-out":
        dataset = held_out_part(predictor.model.card, dataset)
    dataset = limit_records(dataset, arguments.limit_images)
    scored = score_records(predictor, dataset, dataset.records, progress=True)
    if arguments.part == "held-out":
        seen = 0
    else:
        seen = seen_in_training(predictor.model, whole, dataset.records)
    if seen:
        held_out = any_held_out(predictor.model.card)
        honest = "of --part held-out" if held_out else "out of fold, on its card"
        print(
            f"note: the model was trained on {seen} of these pictures; its honest figures on them "
            f"are those {honest}",
            file=sys.stderr,
        )
    model = {"version": predictor.model.version, "sha256": predictor.model.sha256}
    facts = {"seen_in_training": seen > 0, "n_seen_in_training": seen, "model": model}
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
