"""Pictures that are taken back during a training or before its judging, with real processes."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from cases.access import Actor
from cases.models import Job, ModelVersion, Site, TrainingRun
from cases.selectors.training import training_run_work
from cases.services.gate_reports import gate_report_read
from cases.states import JobState
from cases.storage import read_bytes
from ml.errors import DatasetError
from tests.curation import accepted, frozen_into, taken_back
from tests.live import ROOT
from tests.training import make_run, make_snapshot
from tests.worker.gating import judged_run, live_narrow, narrow, pictures, plan_on
from worker import judging, training
from worker.gate_child import _without
from worker.training import TrainingRunner
from worker.training_faults import gate_fault_of

# Each trains a network in a process of its own: long on a busy machine.
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(600)]


@pytest.fixture
def state(monkeypatch: pytest.MonkeyPatch, settings: Any, tmp_path: Path) -> Path:
    narrow(monkeypatch, settings, tmp_path / "state")
    return tmp_path / "state"


def ended(run: TrainingRun) -> tuple[str, str]:
    run.refresh_from_db()
    job = Job.objects.get(pk=run.pk)
    return job.state, job.error_code


def test_a_training_ends_by_name_when_one_of_its_pictures_is_taken_back(
    state: Path, people: tuple[Actor, Actor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "HEARTBEAT_S", 0.1)
    monkeypatch.setenv("BCWEB_TEST_TRAINING", json.dumps({"pause": 0.2}))
    reader, admin = people
    candidate = accepted(reader=reader, admin=admin)
    snapshot = pictures(tmp_path / "to train on", 0, benign=8, malignant=7)
    frozen_into(snapshot, candidate, admin=admin, role="training")
    run = make_run(snapshot=snapshot, actor=admin, init="none", epochs=50)

    class Watching(TrainingRunner):
        def _beat(self, claim: Any, story: Any) -> bool:
            if (story.take().progress or {}).get("phase") == "training":
                candidate.refresh_from_db()
                if candidate.state == "ACCEPTED":
                    taken_back("rejected", candidate, reader=reader, admin=admin)
            return super()._beat(claim, story)

    before = ModelVersion.objects.count()
    assert Watching(name="training@test").drain() == 1
    assert ended(run) == (JobState.FAILED, "pictures_taken_back"), run.log_tail
    assert ModelVersion.objects.count() == before
    assert list((state / "training").iterdir()) == []


def test_a_model_is_judged_without_the_locked_picture_that_was_taken_back_and_it_is_told(
    state: Path, site: Site, people: tuple[Actor, Actor], tmp_path: Path
) -> None:
    reader, admin = people
    candidate = accepted(reader=reader, admin=admin)
    live = live_narrow(tmp_path)
    locked = pictures(tmp_path / "locked", 200, benign=5, malignant=5)
    gone = frozen_into(locked, candidate, admin=admin, role="locked")
    plan = plan_on(locked, site, {"metric": "coverage", "bound": 0.0})
    taken_back("opted out", candidate, reader=reader, admin=admin)
    # Nobody reads it any more: that its file is gone is in nobody's way.
    (tmp_path / "locked" / file_of(locked.storage_name, gone)).unlink()
    run = judged_run(make_snapshot(), plan)
    # As if the training had ended with the live model.
    folder = state / "training" / str(run.pk)
    (folder / "out").mkdir(parents=True)
    for kind in ("safetensors", "json"):
        shutil.copy(tmp_path / f"narrow.{kind}", folder / "out" / f"model.{kind}")
    command = judging.judge_command(training_run_work(run_id=run.pk), folder, nice=0, judges=True)
    subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
    report = json.loads(judging.read_report(folder))
    assert (report["left_out"], report["n"], report["patients"]) == (1, 9, 9)
    told = {picture["sha256"] for picture in report["pictures"]}
    assert (gone in told, len(told)) == (False, 9)
    # What is kept with the use of the locked set says it too.
    judged = gate_report_read(run, json.dumps(report).encode(), sha256=live.sha256)
    assert judged is not None
    assert judged.facts["left_out"] == 1


def file_of(document: str, sha256: str) -> str:
    files = json.loads(read_bytes(document))["files"]
    return str(next(entry["file"] for entry in files if entry["sha256"] == sha256))


def test_what_is_left_needs_malignant_pictures_and_others() -> None:
    files = [
        {"sha256": f"{label}{n}", "class": label}
        for label in ("benign", "malignant")
        for n in range(2)
    ]
    document = {"files": files}
    assert _without(document, frozenset()) == document
    left = _without(document, frozenset({"benign0", "malignant0"}))
    assert [entry["sha256"] for entry in left["files"]] == ["benign1", "malignant1"]
    for label in ("benign", "malignant"):
        with pytest.raises(DatasetError, match="2 pictures of the locked set were taken") as error:
            _without(document, frozenset({f"{label}0", f"{label}1"}))
    fault = gate_fault_of({"code": "locked_set_taken_back", "message": str(error.value)}, 2, "")
    assert (fault.code, fault.transient) == ("locked_set_taken_back", False)
    assert "freeze a new locked set" in fault.detail
