"""Bad turns of a judged training: each ends by name, nothing half-stored, the live model on."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from cases.models import GatePlan, Job, LockedSetUse, ModelVersion, TrainingRun, TrainingSnapshot
from cases.services.training_work import TrainingNews, training_claim, training_succeed
from cases.states import JobState
from cases.storage import read_bytes, uploads
from tests.cases.governing import live_id
from tests.factories import WORKER, live_model, make_site
from tests.gates import make_plan
from tests.training import card_of, make_snapshot
from tests.worker.gating import judged_run, live_narrow, narrow, pictures, plan_on, train

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def snapshot(monkeypatch: pytest.MonkeyPatch, settings: Any, tmp_path: Path) -> TrainingSnapshot:
    narrow(monkeypatch, settings, tmp_path / "state")
    return pictures(tmp_path / "to train on", 0, benign=8, malignant=7)


@pytest.fixture
def plan(snapshot: TrainingSnapshot, tmp_path: Path) -> GatePlan:
    locked = pictures(tmp_path / "locked", 200, benign=5, malignant=5)
    return plan_on(locked, make_site(), {"metric": "coverage", "bound": 0.0})


def failed(run: TrainingRun, code: str) -> Job:
    job = Job.objects.get(pk=run.pk)
    run.refresh_from_db()
    assert (job.state, job.error_code) == (JobState.FAILED, code), run.log_tail
    assert (run.model_version, run.gate_report) == (None, "")
    assert not LockedSetUse.objects.exists()
    assert ModelVersion.objects.count() == 1
    assert live_id() is not None
    return job


def test_a_plan_that_is_not_the_frozen_one_ends_the_run_before_it_trains(
    snapshot: TrainingSnapshot, plan: GatePlan
) -> None:
    live_model()
    run = judged_run(snapshot, plan)
    TrainingRun.objects.filter(pk=run.pk).update(plan_sha256="0" * 64)
    train()
    failed(run, "plan_changed")
    assert not run.epoch_rows.exists()


@pytest.mark.timeout(600)
def test_a_locked_picture_that_changed_is_named_by_its_hash(
    snapshot: TrainingSnapshot, plan: GatePlan, tmp_path: Path
) -> None:
    live_narrow(tmp_path)
    picture = tmp_path / "locked" / "benign" / "201.png"
    digest = hashlib.sha256(picture.read_bytes()).hexdigest()
    picture.write_bytes(picture.read_bytes() + b"x")
    run = judged_run(snapshot, plan)
    train()
    told = failed(run, "locked_set_changed").error_detail
    # Not by its name, which may be a patient's.
    assert digest[:12] in told and "201" not in told.replace(digest[:12], "")


@pytest.mark.timeout(600)
def test_a_model_that_started_from_one_that_saw_a_locked_picture_is_not_judged(
    snapshot: TrainingSnapshot, plan: GatePlan, tmp_path: Path
) -> None:
    entry = json.loads(read_bytes(plan.locked_set.storage_name))["files"][0]
    live_narrow(tmp_path, saw=[(entry["sha256"], int(entry["phash"], 16))])
    run = judged_run(snapshot, plan, init="active")
    train()
    detail = failed(run, "locked_picture_seen").error_detail
    assert "The model it started from was trained on 1 of the locked pictures" in detail


@pytest.mark.timeout(600)
def test_a_gate_that_is_killed_ends_the_run_by_name_when_no_attempt_is_left(
    snapshot: TrainingSnapshot, plan: GatePlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    live_narrow(tmp_path)
    monkeypatch.setenv("BCWEB_TEST_GATE", "die")
    run = judged_run(snapshot, plan)
    Job.objects.filter(pk=run.pk).update(max_attempts=1)
    train()
    failed(run, "gate_crashed")


@pytest.mark.timeout(600)
def test_a_locked_set_whose_document_is_gone_is_told(
    snapshot: TrainingSnapshot, plan: GatePlan, tmp_path: Path
) -> None:
    live_narrow(tmp_path)
    run = judged_run(snapshot, plan)
    uploads().delete(plan.locked_set.storage_name)
    train()
    failed(run, "locked_set_unreadable")


# What a worker hands in


def report_of(run: TrainingRun, sha256: str, **more: Any) -> bytes:
    told = {
        "state": "passed",
        "limits": [],
        "plan_sha256": run.plan_sha256,
        "models": {"candidate": {"version": "v", "sha256": sha256, "seen": 0}},
        **more,
    }
    return json.dumps(told).encode()


@pytest.mark.parametrize("wrong", ["none", "other plan", "other model", "no plan"])
def test_a_verdict_that_is_not_of_this_run_leaves_nothing_behind(wrong: str) -> None:
    plan = make_plan()
    live_model()
    run = judged_run(make_snapshot(), plan)
    claim = training_claim(actor=WORKER)
    assert claim is not None
    card = card_of(b"trained")
    sha256 = card["weights"]["sha256"]
    report: bytes | None = {
        "none": None,
        "other plan": report_of(run, sha256, plan_sha256="0" * 64),
        "other model": report_of(run, "0" * 64),
        "no plan": report_of(run, sha256),
    }[wrong]
    if wrong == "no plan":
        TrainingRun.objects.filter(pk=run.pk).update(plan=None, plan_sha256="")
    with pytest.raises(ValueError, match="report"):
        training_succeed(
            actor=WORKER,
            claim=claim,
            weights=b"trained",
            card=card,
            news=TrainingNews(),
            report=report,
        )
    assert Job.objects.get(pk=run.pk).state == JobState.RUNNING
    assert ModelVersion.objects.count() == 1
    assert not LockedSetUse.objects.exists()
