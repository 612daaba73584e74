"""Snapshots and training runs to start from, made through the services."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from cases.access import SYSTEM, Actor, ActorKind
from cases.models import ModelVersion, Site, TrainingRun, TrainingSnapshot
from cases.services.snapshots import snapshot_register
from cases.services.training import training_run_request
from cases.services.training_fields import training_plan_parse
from cases.services.training_work import TrainingNews, training_claim, training_succeed
from cases.vocabulary import IfRunning
from tests.factories import live_model, make_actor, unique


def document_of(images: int = 6, *, first: int = 0) -> dict[str, Any]:
    """A snapshot's document as `ml.snapshot` writes it, of pictures that are nowhere."""
    files = [
        {
            "file": f"{label}/{n}.png",
            "class": label,
            "sha256": hashlib.sha256(b"%d" % n).hexdigest(),
            "masks": [],
        }
        for n in range(first, first + images)
        for label in [("benign", "malignant", "normal")[n % 3]]
    ]
    classes = {
        label: sum(entry["class"] == label for entry in files)
        for label in ("benign", "malignant", "normal")
    }
    content: dict[str, Any] = {
        "format": 1,
        "digest": hashlib.sha256(b"%d-%d" % (first, images)).hexdigest(),
        "classes": classes,
        "sources": [{"source": "made", "images": images, "licence": "ours", "url": ""}],
        "grouping": {
            "rule": "a rule",
            "groups": images,
            "near_duplicate_groups": 0,
            "conflicting_groups": 0,
            "quarantined_images": 0,
        },
        "files": files,
        "skipped": [],
    }
    text = json.dumps([content, unique()], sort_keys=True)
    return {"id": hashlib.sha256(text.encode()).hexdigest(), "name": "made", **content}


def make_snapshot(
    images: int = 6, *, first: int = 0, data_root: str = "/data/made"
) -> TrainingSnapshot:
    document = document_of(images, first=first)
    made, _ = snapshot_register(
        actor=SYSTEM,
        document=document,
        content=json.dumps(document).encode(),
        name="made",
        data_root=data_root,
    )
    return made


WORKER = Actor(kind=ActorKind.WORKER, label="training@test")


def card_of(weights: bytes, version: str = "resnet50-new") -> dict[str, Any]:
    """The least that a trained model's card says."""
    return {"version": version, "weights": {"sha256": hashlib.sha256(weights).hexdigest()}}


def trained(run: TrainingRun) -> ModelVersion:
    """The CANDIDATE that ``run``, the next in the line, makes; it has no verdict."""
    claim = training_claim(actor=WORKER)
    assert claim is not None
    assert claim.job_id == run.pk
    weights = f"trained {unique()}".encode()
    card = {
        "version": f"trained-{unique()}",
        "weights": {"sha256": hashlib.sha256(weights).hexdigest()},
        "classes": ["benign", "malignant", "normal"],
    }
    model = training_succeed(
        actor=WORKER, claim=claim, weights=weights, card=card, news=TrainingNews()
    )
    assert model is not None
    return model


def make_run(
    *,
    actor: Actor | None = None,
    site: Site | None = None,
    snapshot: TrainingSnapshot | None = None,
    reason: str = "because",
    if_running: IfRunning = IfRunning.QUEUE,
    key: str = "",
    **plan: Any,
) -> TrainingRun:
    """A run that waits. Makes a live model where there is none."""
    live_model()
    return training_run_request(
        actor=actor or make_actor(roles=["admin"], site=site),
        snapshot_id=(snapshot or make_snapshot()).pk,
        plan=training_plan_parse(plan),
        reason=reason,
        if_running=if_running,
        idempotency_key=key,
    )
