"""From a finished training to a model file: calibration, card and measured figures."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from ml import registry
from ml.calibrate import Calibration, fit_calibration, group_weights
from ml.cards import calibration_entries, limits_of, make_card, training_facts
from ml.cli import UsageError
from ml.config import CLASSES
from ml.dataset import Dataset, Record
from ml.evaluate import Scored, evaluation, lesion_areas, score_records
from ml.inference import Predictor
from ml.model import PICTURES, read_tensors
from ml.oof import FILE as OOF_FILE
from ml.oof import OutOfFold, logits_from_scores
from ml.run import WEIGHTS, Run
from ml.scored import cross_fitted, records_of
from ml.split import Split

RESULT_FILE = "crossval.json"
"""What ``ml.crossval --out`` measured, beside the out-of-fold scores."""


@dataclass(frozen=True)
class Evidence:
    """What a cross-validation left for a model of everything: scores, their pictures, figures."""

    out_of_fold: OutOfFold
    records: tuple[Record, ...]
    measured: dict[str, Any]


def write_model(
    run: Run, *, version: str, calibration: Calibration, calibrated_on: str
) -> registry.Card:
    """Write the run's weights and card, without figures. Returns the card as written."""
    trainer = run.trainer
    card = make_card(
        version=version,
        layout=run.layout,
        preprocessing=run.preprocessing,
        calibration=calibration,
        limits=limits_of(run.dataset),
    )
    card["training"] = training_facts(
        run.config,
        data=data_facts(run.dataset, run.split),
        initial=run.initial,
        chosen_epoch=trainer.best_epoch,
        calibrated_on=calibrated_on,
        device=str(trainer.device),
        history=trainer.history,
        curves="of this model's own training"
        if len(run.split.validation)
        else "of this model's own training; no part of the data validated it",
    )
    rows = [registry.TrainedPictures.row(r.sha256, r.phash) for r in run.records(run.split.train)]
    pictures = torch.tensor(rows, dtype=torch.uint8)
    return registry.save_model(run.out / WEIGHTS, {**trainer.best, PICTURES: pictures}, card)


def write_uncalibrated(run: Run, *, version: str) -> registry.Card:
    """Write the run's model so that its scores are the softmax of its plain logits."""
    neutral = Calibration(1.0, 0.5, run.config.target_sensitivity, 0.0, 0.0, 1.0)
    return write_model(run, version=version, calibration=neutral, calibrated_on="nothing yet")


def recalibrate(weights: Path, calibration: Calibration, calibrated_on: str) -> registry.Card:
    """Write a model file anew with another calibration. Returns the card as written."""
    card = registry.verify_file(weights)[0]
    card |= calibration_entries(calibration)
    card["training"]["calibrated_on"] = calibrated_on
    return registry.save_model(weights, read_tensors(weights), card)


def finish(run: Run, *, version: str, bootstraps: int = 1000) -> tuple[registry.Card, Scored]:
    """Calibrate on validation, write the model file, measure it on the held-out part.

    Without a validation part (the paper's ``random`` split) the held-out pictures calibrate too,
    and the card says so: such figures are stated beside honest ones only.
    Both parts are scored through the written file, as the service would, whose weights are
    rounded; the held-out one after every choice was made. Returns the card as written, and the
    held-out scores.
    """
    file, device = run.out / WEIGHTS, str(run.trainer.device)
    write_uncalibrated(run, version=version)
    scored = score_records(
        Predictor(file, device=device), run.dataset, run.records(run.split.validation)
    )
    calibration = fit_calibration(
        logits_from_scores(scored.scores),
        scored.targets,
        group_weights(run.split.grouping.groups[run.split.validation]),
        run.config.target_sensitivity,
    )
    published = run.split.kind == "random"
    card = recalibrate(
        file,
        calibration,
        "the held-out pictures, as the published protocol has no others"
        if published
        else "the validation part, each group of near-duplicates counting once",
    )
    predictor = Predictor(file, device=device)
    metrics = {}
    parts = {"validation": run.split.validation, "held_out": run.split.held_out}
    for part, indices in parts.items():
        scored = score_records(predictor, run.dataset, run.records(indices))
        metrics[part] = evaluation(
            scored,
            calibration.threshold,
            run.split.grouping.groups[indices],
            bootstraps=bootstraps,
            areas=lesion_areas(run.dataset, scored.records),
        )
    card["metrics"] = metrics
    registry.write_card(file, card)
    return card, scored


def read_evidence(run: Run, crossval: Path) -> Evidence:
    """Read what ``ml.crossval --out`` wrote with the run's settings, data and initial weights.

    Raises ``UsageError`` for anything else or without figures, ``ModelFileError`` without scores.
    """
    out_of_fold = OutOfFold.load(crossval / OOF_FILE)
    try:
        measured = json.loads((crossval / RESULT_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{crossval.name} holds no {RESULT_FILE} ({error})") from None
    # The number of folds is the one setting that a training on everything does not use.
    folds = measured.get("folds_planned", len(set(out_of_fold.folds.tolist())))
    same = replace(run, config=replace(run.config, folds=folds))
    for key, value in same.identity.items():
        if out_of_fold.identity.get(key) != value:
            raise UsageError(f"the cross-validation in {crossval.name} is of another run: {key}")
    return Evidence(out_of_fold, records_of(out_of_fold, run.dataset), measured)


def finish_on_everything(
    run: Run, evidence: Evidence, *, version: str
) -> tuple[registry.Card, Scored]:
    """Write a model trained on every picture, calibrated and measured by its cross-validation.

    The card's figures are out-of-fold. Returns the card as written, and the out-of-fold scores.
    """
    goal = run.config.target_sensitivity
    calibration = evidence.out_of_fold.calibration(goal)
    card = write_model(
        run,
        version=version,
        calibration=calibration,
        calibrated_on="out-of-fold scores of the cross-validation, near-duplicates counting once",
    )
    card["metrics"] = {"out_of_fold": evidence.measured}
    registry.write_card(run.out / WEIGHTS, card)
    return card, cross_fitted(evidence.out_of_fold, evidence.records, goal)[0]


def data_facts(dataset: Dataset, split: Split) -> dict[str, Any]:
    """Name, id, counts and split sizes of the data, without file names."""
    grouping = split.grouping
    parts = {"train": split.train, "validation": split.validation, "held_out": split.held_out}
    # The published protocol validates on what it holds out: that is no leak into training.
    trained_only = replace(split, validation=split.validation[:0])
    return {
        "name": dataset.root.name,
        "digest": dataset.digest(),
        "images": len(dataset.records),
        "classes": dataset.counts(),
        "skipped": len(dataset.skipped),
        "groups": grouping.count,
        "near_duplicate_groups": len(grouping.duplicates),
        "conflicting_groups": len(grouping.conflicts),
        "quarantined_images": int(grouping.quarantined.sum()),
        "split_kind": split.kind,
        "fold": split.fold,
        "held_out_source": split.source,
        "held_out_with_their_group_in_training": len(trained_only.leaked()),
        "split": {
            name: {c: sum(dataset.records[int(i)].label == c for i in part) for c in CLASSES}
            for name, part in parts.items()
        },
    }
