"""Given a plan whose limit nothing meets, when the training ends, then its model goes nowhere.

Real rows and real processes (with narrow networks): training and gate. A model that passes goes
live and answers in tests/browser/test_model_story.py.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cases.errors import StateConflict
from cases.models import AuditEvent, Job, LockedSetUse
from cases.states import JobState, ModelState
from cases.storage import read_bytes
from tests.cases.governing import asked, live_id
from tests.factories import make_site
from tests.worker.gating import judged_run, live_narrow, narrow, pictures, plan_on, train

pytestmark = [pytest.mark.flow, pytest.mark.django_db(transaction=True)]

LIMITS = (
    {"metric": "coverage", "bound": 0.0},
    {"metric": "auc_malignant", "bound": -1, "against": "active"},
    {"metric": "accuracy", "bound": 0.0, "by": "value", "source": "locked"},
    {"metric": "brier", "bound": 0.0},
)


@pytest.mark.timeout(600)
def test_a_model_that_misses_a_limit_is_judged_limit_by_limit_and_cannot_be_promoted(
    monkeypatch: pytest.MonkeyPatch, settings: Any, tmp_path: Path
) -> None:
    narrow(monkeypatch, settings, tmp_path / "state")
    old = live_narrow(tmp_path)
    snapshot = pictures(tmp_path / "to train on", 0, benign=8, malignant=7)
    locked = pictures(tmp_path / "locked", 200, benign=5, malignant=5)
    plan = plan_on(locked, make_site(), *LIMITS)

    run = judged_run(snapshot, plan)
    train()
    run.refresh_from_db()
    job = Job.objects.get(pk=run.pk)
    assert job.state == JobState.SUCCEEDED, (job.error_code, job.error_detail, run.log_tail)
    model = run.model_version
    assert model is not None
    assert (model.state, model.gate.state) == (ModelState.CANDIDATE, "failed")
    assert model.gate.plan_sha256 == plan.sha256 == run.plan_sha256
    assert [(row["limit"]["metric"], row["passed"]) for row in model.gate.limits] == [
        ("coverage", True),
        ("auc_malignant", True),
        ("accuracy", True),
        ("brier", False),
    ]
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
    assert (use.snapshot, use.plan, use.run) == (locked, plan, run)
    assert use.facts["models"]["active"]["sha256"] == old.sha256

    for target in (ModelState.ACTIVE, ModelState.SHADOW):
        with pytest.raises(StateConflict, match="gate of this model failed"):
            asked(model, target)
    assert live_id() == old.pk
    gated = AuditEvent.objects.get(action="model.gated")
    assert gated.detail["gate"] == "failed"
