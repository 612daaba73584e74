"""A judged training, tiny: pictures to train on, a locked set, a live model, a worker."""

from __future__ import annotations

import io
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from PIL import Image

from cases.access import SYSTEM
from cases.models import GatePlan, ModelVersion, Site, TrainingRun, TrainingSnapshot
from cases.services.learning import shipped_model_install
from cases.services.training import training_run_request
from cases.services.training_fields import training_plan_parse
from cases.vocabulary import IfRunning
from tests.factories import make_actor
from tests.gates import make_plan
from tests.phantoms import bmode_phantom
from worker import engine, judging, training
from worker.training import TrainingRunner


def narrow(monkeypatch: pytest.MonkeyPatch, settings: Any, state: Path) -> None:
    """Have all processes work with narrow networks, in a folder of their own."""
    settings.STATE_DIR = state
    settings.BCWEB_THREADS = 1
    settings.BCWEB_ENGINE = "pytorch"
    monkeypatch.setattr(training, "CHILD_MODULE", "tests.worker.narrow_training")
    monkeypatch.setattr(judging, "JUDGE_MODULE", "tests.worker.narrow_gate")
    monkeypatch.setattr(engine, "CHILD_MODULE", "tests.worker.narrow_engine")
    monkeypatch.setattr(training, "NICE", 0)


def pictures(root: Path, first: int, *, benign: int, malignant: int) -> TrainingSnapshot:
    """Phantoms in ``root``, imported. No two with different ``first`` (0 or 200) look alike."""
    for label, offset, count in (("benign", 0, benign), ("malignant", 50, malignant)):
        (root / label).mkdir(parents=True)
        for number in range(first + offset, first + offset + count):
            image = Image.fromarray(bmode_phantom(number, (96, 110), label))
            image.save(root / label / f"{number}.png")
    call_command("import_dataset", str(root), "--folds", "2", stdout=io.StringIO())
    return TrainingSnapshot.objects.get(name=root.name)


def live_narrow(folder: Path, *, saw: Iterable[tuple[str, int]] = ()) -> ModelVersion:
    """A narrow model that calls everything malignant, live; trained on pictures with these hashes
    (SHA-256, perceptual)."""
    import torch
    from torchvision.models import resnet50

    import ml.model
    from ml import registry
    from tests.tests_only_model import write_tests_only_model

    path = folder / "narrow.safetensors"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ml.model, "resnet50", partial(resnet50, width_per_group=4))
        card = write_tests_only_model(path, version="narrow", size=64)
        rows = [registry.TrainedPictures.row(*one) for one in saw]
        if rows:
            tensors = {
                **ml.model.read_tensors(path),
                ml.model.PICTURES: torch.tensor(rows, dtype=torch.uint8),
            }
            card = registry.save_model(path, tensors, card)
    model, _ = shipped_model_install(actor=SYSTEM, weights=path.read_bytes(), card=card)
    return model


def judged_run(snapshot: TrainingSnapshot, plan: GatePlan, **how: Any) -> TrainingRun:
    """A run of one epoch that waits, by an administrator of the plan's site."""
    return training_run_request(
        actor=make_actor(roles=["admin"], site=plan.site),
        snapshot_id=snapshot.pk,
        plan=training_plan_parse({"init": "none", "epochs": 1, **how}),
        reason="to see",
        if_running=IfRunning.QUEUE,
        gate_plan_id=plan.pk,
    )


def plan_on(locked: TrainingSnapshot, site: Site, *limits: dict[str, Any], **more: Any) -> GatePlan:
    return make_plan(locked, site=site, limits=list(limits), rounds=100, **more)


def train() -> None:
    assert TrainingRunner(name="training@test").drain() == 1
