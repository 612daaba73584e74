"""Given a plan declared before a training, when the training ends, then its model is judged by it.

Real rows and real processes (with narrow networks): training, gate and engine.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cases.access import Actor, Role
from cases.errors import PermissionDenied, StateConflict
from cases.models import AuditEvent, Job, LockedSetUse, ModelVersion, Site, TrainingRun
from cases.services.people import actor_for_user
from cases.states import JobState, ModelState
from cases.storage import read_bytes
from tests.cases.governing import approved, approver, asked, live_id
from tests.factories import make_site, make_user, submit
from tests.worker.gating import judged_run, live_narrow, narrow, pictures, plan_on, train
from worker.runner import Runner

pytestmark = [pytest.mark.flow, pytest.mark.django_db(transaction=True)]

ALLOWS = (
    {"metric": "coverage", "bound": 0.0},
    {"metric": "auc_malignant", "bound": -1, "against": "active"},
    {"metric": "accuracy", "bound": 0.0, "by": "value", "source": "locked"},
)
FORBIDS = {"metric": "brier", "bound": 0.0}


def ended(run: TrainingRun) -> ModelVersion:
    run.refresh_from_db()
    job = Job.objects.get(pk=run.pk)
    assert job.state == JobState.SUCCEEDED, (job.error_code, job.error_detail, run.log_tail)
    assert run.model_version is not None
    return run.model_version


def person(role: Role, site: Site) -> Actor:
    return actor_for_user(make_user(roles=[role], site=site))


@pytest.mark.timeout(900)
def test_from_a_declared_plan_to_an_answer_or_to_no_promotion(
    monkeypatch: pytest.MonkeyPatch, settings: Any, tmp_path: Path
) -> None:
    narrow(monkeypatch, settings, tmp_path / "state")
    old = live_narrow(tmp_path)
    site = make_site()
    named = make_user(roles=[Role.APPROVER], site=site)
    snapshot = pictures(tmp_path / "to train on", 0, benign=8, malignant=7)
    locked = pictures(tmp_path / "locked", 200, benign=5, malignant=5)

    # Given a plan whose limits hold, and one with a limit that nothing meets.
    kind = plan_on(locked, site, *ALLOWS, approvers=[named.username])
    strict = plan_on(locked, site, *ALLOWS, FORBIDS)

    # When a model is trained by the first, it passes, limit by limit.
    run = judged_run(snapshot, kind)
    train()
    model = ended(run)
    assert (model.state, model.gate.state) == (ModelState.CANDIDATE, "passed")
    assert model.gate.plan_sha256 == kind.sha256 == run.plan_sha256
    assert [row["limit"]["metric"] for row in model.gate.limits] == [
        "coverage",
        "auc_malignant",
        "accuracy",
    ]
    assert all(row["passed"] for row in model.gate.limits)
    assert model.gate.limits[1]["difference"] is not None
    # The whole report is kept, and the use of the locked set counted.
    report = json.loads(read_bytes(run.gate_report))
    assert len(report["pictures"]) == 10
    assert {"candidate", "active"} <= set(report["pictures"][0])
    # What people compare the two by is in it, drawn.
    compared = report["comparison"]
    assert set(compared["confusions"]) == {"candidate", "active"}
    assert sum(map(sum, compared["confusions"]["candidate"])) == 10
    assert compared["parts"][0]["figures"][0]["difference"]["interval"] is not None
    assert set(compared["figures"]) == {"roc", "precision-recall", "thresholds", "reliability"}
    assert all(model.version in svg for svg in compared["figures"].values())
    use = LockedSetUse.objects.get()
    assert (use.snapshot, use.plan, use.run) == (locked, kind, run)
    assert use.facts["models"]["active"]["sha256"] == old.sha256

    # Then only whom the plan names approves, and the model answers.
    request = asked(model, by=person(Role.ADMIN, site))
    with pytest.raises(PermissionDenied, match=named.username):
        approved(request, by=approver(site))
    assert live_id() == old.pk
    approved(request, by=actor_for_user(named))
    assert live_id() == model.pk
    job = submit().jobs.get()
    runner = Runner(name="inference@test")
    try:
        assert runner.drain() == 1
    finally:
        runner.engine.close()
    job.refresh_from_db()
    assert job.state == JobState.SUCCEEDED
    assert job.result.model_version == model

    # When a model is trained by the second, it fails, and nobody can promote it.
    run = judged_run(snapshot, strict, seed=1)
    train()
    worse = ended(run)
    assert worse.gate.state == "failed"
    assert [row["passed"] for row in worse.gate.limits] == [True, True, True, False]
    for target in (ModelState.ACTIVE, ModelState.SHADOW):
        with pytest.raises(StateConflict, match="gate of this model failed"):
            asked(worse, target)
    assert live_id() == model.pk
    assert LockedSetUse.objects.filter(snapshot=locked).count() == 2
    gated = AuditEvent.objects.filter(action="model.gated").order_by("id")
    assert [event.detail["gate"] for event in gated] == ["passed", "failed"]
