"""The model card: what a model is, how it was made, and how it scored."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import torch
import torchvision

from ml.calibrate import Calibration
from ml.config import CLASSES, TrainConfig
from ml.duplicates import RULE
from ml.model import Layout, LoadReport
from ml.preprocessing import Preprocessing
from ml.registry import ARCHITECTURE, FORMAT, Card, OperatingPoint

_CHOSEN_BY = {
    "best": "lowest validation log loss after temperature scaling",
    "last": "the last epoch, set before training",
}
INTENDED_USE = (
    "Research on breast ultrasound. Not a medical device: a person decides, with the picture and "
    "the patient before them. A score is a model score, not a probability of cancer and not a "
    "BI-RADS category."
)
LIMITS = (
    "Scores reflect the share of malignant pictures in the training data, not in any clinic.",
    "All 'normal' pictures come from one source; 'normal' means no lesion pattern in this picture.",
    "No patient ids in BUSI: groups of near-duplicate pictures are kept together, but two "
    "different pictures of one patient can lie on both sides of the split.",
    "There is no check yet that a picture is a breast ultrasound: anything gets an answer.",
    "The heatmap is coarse: 7 x 7 cells over the input square.",
    "Not tested on: men, people under 18, implants, lactating or treated breasts, Doppler, "
    "elastography, other hospitals' scanners.",
)


def make_card(
    *,
    version: str,
    layout: Layout,
    preprocessing: Preprocessing,
    calibration: Calibration,
) -> Card:
    """The entries that serving needs (see ``ml.registry``), with intended use and limits."""
    return {
        "format": FORMAT,
        "version": version,
        "architecture": ARCHITECTURE,
        "layout": layout,
        "classes": list(CLASSES),
        "preprocessing": preprocessing.to_dict(),
        "preprocessing_digest": preprocessing.digest(),
        **calibration_entries(calibration),
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "intended_use": INTENDED_USE,
        "limits": list(LIMITS),
        "research_use_only": True,
    }


def calibration_entries(calibration: Calibration) -> dict[str, Any]:
    """The card's entries that turn logits into answers."""
    point = OperatingPoint(calibration.threshold, calibration.sensitivity)
    return {
        "temperature": calibration.temperature,
        "operating_point": point.to_json(),
        "abstention": {
            "minimum_score": calibration.minimum_score,
            "rule": "no answer when the largest calibrated score is below minimum_score",
            "error_among_answered": calibration.error,
            "coverage": calibration.coverage,
        },
    }


def training_facts(
    config: TrainConfig,
    *,
    data: dict[str, Any],
    initial: LoadReport,
    chosen_epoch: int,
    calibrated_on: str,
    device: str,
    history: list[dict[str, float]],
) -> dict[str, Any]:
    """How a model was made: settings, data, initial weights, software, time."""
    return {
        "config": config.to_dict(),
        "config_digest": config.digest(),
        "data": data,
        "grouping_rule": RULE,
        "initial_weights": {
            "source": initial.source,
            "loaded": list(initial.loaded),
            "fresh": list(initial.fresh),
            "ignored": list(initial.ignored),
        },
        "epochs_run": len(history),
        "chosen_epoch": chosen_epoch,
        "chosen_by": _CHOSEN_BY[config.choose],
        "calibrated_on": calibrated_on,
        "seconds": round(sum(row["seconds"] for row in history)),
        "device": device,
        "software": {"torch": torch.__version__, "torchvision": torchvision.__version__},
    }
