"""Two models compared on a locked set whose pictures are there: what a gate would have written."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from django.urls import reverse
from PIL import Image as Pillow

from cases.access import SYSTEM
from cases.models import GatePlan, ModelVersion, TrainingRun, TrainingSnapshot
from cases.reports.comparison import CLASSES, COLUMNS
from cases.services.snapshots import snapshot_register
from tests.factories import live_model, unique
from tests.gates import judged
from tests.phantoms import bmode_phantom
from tests.training import document_of

SVG = '<svg xmlns="http://www.w3.org/2000/svg"><style>line {stroke: red}</style></svg>'
# Number of the picture: truth, the live model's answer, the candidate's.
ANSWERS = [
    ("benign", "benign", "malignant"),
    ("malignant", "benign", "malignant"),
    ("normal", "normal", "abstained"),
    ("benign", "benign", "benign"),
    ("malignant", "malignant", "malignant"),
    ("normal", "normal", "refused"),
]


def locked_set(root: Path) -> TrainingSnapshot:
    """Six phantoms in a folder, and the snapshot of them."""
    document = document_of(first=100)
    for number, entry in enumerate(document["files"]):
        path = root / entry["file"]
        path.parent.mkdir(parents=True, exist_ok=True)
        Pillow.fromarray(bmode_phantom(number, (300, 400), entry["class"])).save(path)
        entry["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    document["id"] = hashlib.sha256(json.dumps([document, unique()]).encode()).hexdigest()
    made, _ = snapshot_register(
        actor=SYSTEM,
        document=document,
        content=json.dumps(document).encode(),
        name="locked",
        data_root=str(root),
    )
    return made


def hashes(root: Path) -> list[str]:
    """Of the locked pictures, in their order."""
    names = [entry["file"] for entry in document_of(first=100)["files"]]
    return [hashlib.sha256((root / name).read_bytes()).hexdigest() for name in names]


def stated(value: float) -> dict[str, Any]:
    return {"value": value, "interval": [value - 0.1, value + 0.05]}


def comparison() -> dict[str, Any]:
    """As `ml.comparison.compare` makes it, for two models and two sources."""
    figures = [
        {
            "metric": metric,
            "candidate": stated(0.8),
            "active": stated(0.7),
            "difference": {"value": 0.1, "interval": [-0.02, 0.2]},
        }
        for metric in ("sensitivity", "brier")
    ]
    counts = [[1, 1, 0, 0, 0], [0, 2, 0, 0, 0], [0, 0, 0, 1, 1]]
    at = {"wanted": 0.95, "sensitivity": 1.0, "specificity": 0.66, "precision": 0.5}
    threshold = {"threshold": 0.41, "own": True, "sensitivity": 1.0, "specificity": 0.75}
    bins = {"from": 0.8, "to": 0.8667, "n": 3, "score": 0.82, "malignant": 0.667}

    def of_both(row: dict[str, Any]) -> dict[str, Any]:
        return {"candidate": [row], "active": [row]}

    return {
        "columns": list(COLUMNS),
        "parts": [
            {"source": source, "n": n, "patients": n, "malignant_patients": 1, "figures": figures}
            for source, n in ((None, 6), ("far", 2), ("near", 4))
        ],
        "confusions": {"candidate": counts, "active": [[2, 0, 0, 0, 0], *counts[1:]]},
        "curves": {
            "share_malignant": 1 / 3,
            "at_sensitivity": of_both({**at, "threshold": 0.3}),
            "at_threshold": of_both(threshold),
            "reliability": of_both(bins),
        },
        "figures": dict.fromkeys(("roc", "precision-recall", "thresholds", "reliability"), SVG),
    }


def said(answer: str) -> dict[str, Any]:
    is_label = answer in CLASSES
    return {
        "outcome": "answered" if is_label else answer,
        "label": answer if is_label else None,
        "scores": {"malignant": 0.75 if answer == "malignant" else 0.25},
    }


def compared(plan: GatePlan, digests: list[str], *, whole: bool = True) -> TrainingRun:
    """A run whose model was judged beside the live one; not ``whole``: with a report of an earlier
    version."""
    pictures: list[dict[str, Any]] = [
        {
            "file": f"SMITH^JANE-{number}.png",
            "sha256": digest,
            "truth": truth,
            "candidate": said(now),
            "active": said(before),
        }
        for number, (digest, (truth, before, now)) in enumerate(zip(digests, ANSWERS, strict=True))
    ]
    told: dict[str, Any] = {"pictures": pictures}
    if whole:
        told["comparison"] = comparison()
        for picture in pictures:
            picture["source"] = "near"
    active = {"version": "live-then", "sha256": live_model().sha256, "seen": 0}
    return judged(plan, active=active, **told)


def picture_url(model: ModelVersion, sha256: str) -> str:
    return reverse("model-compare-picture", args=[model.pk, sha256])
