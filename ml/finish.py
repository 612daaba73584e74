"""From a finished training to a model file: calibration, card and measured figures."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from ml import registry
from ml.calibrate import Calibration, fit_calibration
from ml.cards import calibration_entries, make_card, training_facts
from ml.cli import UsageError
from ml.config import CLASSES
from ml.dataset import Dataset
from ml.evaluate import Scored, evaluation, lesion_areas, score_records
from ml.inference import Predictor
from ml.model import PICTURES, read_tensors
from ml.oof import FILE as OOF_FILE
from ml.oof import OutOfFold
from ml.run import WEIGHTS, Run
from ml.scored import cross_fitted, records_of
from ml.split import Split
from ml.trainer import predict_logits

RESULT_FILE = "crossval.json"
"""What ``ml.crossval --out`` measured, beside the out-of-fold scores."""


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
    )
    card["training"] = training_facts(
        run.config,
        data=data_facts(run.dataset, run.split),
        initial=run.initial,
        chosen_epoch=trainer.best_epoch,
        calibrated_on=calibrated_on,
        device=str(trainer.device),
        history=trainer.history,
    )
    rows = [registry.TrainedPictures.row(r.sha256, r.phash) for r in run.records(run.split.train)]
    pictures = torch.tensor(rows, dtype=torch.uint8)
    return registry.save_model(run.out / WEIGHTS, {**trainer.best, PICTURES: pictures}, card)


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
    The held-out part is scored through the written file, as the service would, after every
    choice was made. Returns the card as written, and the held-out scores.
    """
    trainer = run.trainer
    trainer.network.load_state_dict(trainer.best)
    logits = predict_logits(trainer.network, trainer.data.validation, trainer.device)
    published = run.split.kind == "random"
    calibration = fit_calibration(
        logits,
        trainer.data.validation_targets,
        trainer.data.validation_weights,
        run.config.target_sensitivity,
    )
    card = write_model(
        run,
        version=version,
        calibration=calibration,
        calibrated_on="the held-out pictures, as the published protocol has no others"
        if published
        else "the validation part, each group of near-duplicates counting once",
    )
    file = run.out / WEIGHTS
    predictor = Predictor(file, device=str(trainer.device))
    metrics, scored = {}, None
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
    assert scored is not None
    return card, scored


def finish_on_everything(run: Run, crossval: Path, *, version: str) -> tuple[registry.Card, Scored]:
    """Write a model trained on every picture, calibrated and measured by its cross-validation.

    ``crossval`` is the folder that ``ml.crossval --out`` wrote with the same settings, data and
    initial weights; anything else raises ``UsageError``. The card's figures are out-of-fold.
    Returns the card as written, and the out-of-fold scores.
    """
    out_of_fold = OutOfFold.load(crossval / OOF_FILE)
    # The number of folds is the one setting that a training on everything does not use.
    folds = len(set(out_of_fold.folds.tolist()))
    same = replace(run, config=replace(run.config, folds=folds))
    for key, value in same.identity.items():
        if out_of_fold.identity.get(key) != value:
            raise UsageError(f"the cross-validation in {crossval.name} is of another run: {key}")
    calibration = out_of_fold.calibration(run.config.target_sensitivity)
    card = write_model(
        run,
        version=version,
        calibration=calibration,
        calibrated_on="out-of-fold scores of the cross-validation, near-duplicates counting once",
    )
    try:
        measured = json.loads((crossval / RESULT_FILE).read_text())
    except (OSError, ValueError) as error:
        raise UsageError(f"{crossval.name} holds no {RESULT_FILE} ({error})") from None
    card["metrics"] = {"out_of_fold": measured}
    registry.write_card(run.out / WEIGHTS, card)
    records = records_of(out_of_fold, run.dataset)
    return card, cross_fitted(out_of_fold, records, run.config.target_sensitivity)[0]


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
