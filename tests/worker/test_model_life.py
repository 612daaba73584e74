"""The worker while models change: switched between batches, suspended, in shadow, refused."""

from __future__ import annotations

from typing import Any

import pytest

from cases.access import SYSTEM
from cases.errors import NotFound
from cases.models import Job, ModelFault, Result, ShadowResult
from cases.selectors.jobs import job_get, job_list
from cases.selectors.shadow import shadow_disagreements, shadow_summary
from cases.services.leases import engine_jobs_claim, jobs_sweep
from cases.services.people import actor_for_user
from cases.services.replays import replay_request
from cases.services.rollback import model_reject
from cases.services.serving import serving_resume, serving_suspend
from cases.services.shadow_results import shadow_result_store
from cases.states import JobState, ModelState
from tests.cases.governing import admin, approver, candidate, damage, live_id, promoted
from tests.factories import (
    WORKER,
    answer,
    live_model,
    make_actor,
    make_site,
    make_user,
    stored_result,
    submit,
)
from worker import engine, process
from worker.engine import EngineOptions
from worker.runner import Runner

pytestmark = pytest.mark.django_db

S = ModelState.SHADOW


@pytest.fixture
def runner(monkeypatch: pytest.MonkeyPatch, settings: Any, tmp_path: Any) -> Any:
    settings.STATE_DIR = tmp_path
    monkeypatch.setattr(engine, "CHILD_MODULE", "tests.worker.fake_engine")
    runner = Runner(name="test-worker")
    runner.engine.options = EngineOptions(batch_s=60, start_s=120)
    yield runner
    runner.engine.close()


# Between batches


def test_a_promoted_model_answers_new_images_without_a_restart(runner: Runner) -> None:
    old = live_model()
    first, waiting = submit().jobs.get(), submit().jobs.get()
    claims = engine_jobs_claim(actor=runner.actor, limit=1)
    new = promoted(candidate())
    later = submit().jobs.get()
    pid = runner.engine.pid
    runner.process(claims)
    runner.drain()
    by_job = {result.job_id: result.model_version_id for result in Result.objects.all()}
    assert by_job == {first.pk: old.pk, waiting.pk: old.pk, later.pk: new.pk}
    assert pid is None or runner.engine.pid == pid
    assert runner.reading is not None
    assert runner.reading.sha256 == new.sha256


def test_the_pulse_tells_which_model_a_worker_reads_with(
    runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    live_model()
    pulse = process.Pulse(name="inference@test", kind="inference", ready=False)
    monkeypatch.setattr(process, "_runner", runner)
    monkeypatch.setattr(process, "_pulse", pulse)
    process.ensure_ready()
    new = promoted(candidate())
    process.work()
    assert (pulse.details["model"], pulse.details["sha256"]) == (new.version, new.sha256)


def test_a_worker_takes_no_image_while_answers_are_suspended(runner: Runner) -> None:
    job = submit().jobs.get()
    serving_suspend(actor=admin(), reason="Odd.")
    assert runner.drain() == 0
    jobs_sweep(actor=SYSTEM)
    job.refresh_from_db()
    assert (job.state, job.attempt) == (JobState.PENDING, 0)
    serving_resume(actor=admin(), reason="Fine.")
    assert runner.drain() == 1


# In shadow


def test_the_model_in_shadow_answers_the_same_jobs_and_nobody_sees_it(runner: Runner) -> None:
    site = make_site()
    reader = make_actor(site=site)
    live = live_model()
    shadow = promoted(candidate(), S)
    jobs = [submit(actor=reader).jobs.get() for _ in range(3)]
    assert runner.drain() == 6
    assert Result.objects.filter(model_version=live).count() == 3
    assert not Result.objects.filter(model_version=shadow).exists()
    said = ShadowResult.objects.all()
    assert {row.result.job_id for row in said} == {job.pk for job in jobs}
    assert {row.model_version_id for row in said} == {shadow.pk}
    # Neither the lists nor the pages of jobs and images know of it.
    assert set(job_list(actor=reader)) == set(jobs)
    hidden = Job.objects.filter(kind="shadow").first()
    assert hidden is not None
    with pytest.raises(NotFound):
        job_get(actor=reader, job_id=hidden.pk)
    for job in jobs:
        assert list(job.image.jobs.all()) == [job]


def test_no_shadow_goes_before_an_image_or_a_replay(runner: Runner) -> None:
    promoted_with_live()
    result = stored_result(submit().jobs.get())
    stored_result(submit().jobs.get())
    replay = replay_request(actor=SYSTEM, result_id=result.pk)
    image = submit().jobs.get()
    order = [engine_jobs_claim(actor=WORKER, limit=8) for _ in range(4)]
    assert [[claim.kind.value for claim in claims] for claims in order] == [
        ["inference"],
        ["replay"],
        # One at a time, so that what comes in meanwhile waits for one image at most.
        ["shadow"],
        ["shadow"],
    ]
    assert order[0][0].job_id == image.pk
    assert order[1][0].job_id == replay.pk


def promoted_with_live() -> Any:
    live_model()
    return promoted(candidate(), S)


def test_without_a_model_in_shadow_nothing_is_added() -> None:
    stored_result(submit().jobs.get())
    assert not Job.objects.filter(kind="shadow").exists()


def store_shadow(malignant: float, **kwargs: Any) -> ShadowResult:
    (claim,) = engine_jobs_claim(actor=WORKER, limit=8)
    stored = shadow_result_store(
        actor=WORKER,
        job_id=claim.job_id,
        attempt=claim.attempt,
        answer=answer(malignant, **kwargs),
    )
    assert stored is not None
    return stored


def test_disagreement_is_summed_up_for_the_own_site() -> None:
    user = make_user(roles=["radiologist"])
    actor = actor_for_user(user)
    shadow = promoted_with_live()
    for live, silent in ((0.8, 0.7), (0.8, 0.2), (0.1, 0.1)):
        stored_result(submit(actor=actor).jobs.get(), live)
        store_shadow(silent)
    stored_result(submit(actor=actor).jobs.get(), 0.8)
    store_shadow(0.5, outcome="abstained", reason="Too uncertain.")
    # Another site's, and one that still waits.
    stored_result(submit().jobs.get(), 0.8)
    store_shadow(0.1)
    stored_result(submit(actor=actor).jobs.get(), 0.8)
    governor = admin(user.site)
    summary = shadow_summary(actor=governor, model=shadow)
    assert (summary.n, summary.agree, summary.changed) == (4, 2, 2)
    assert (summary.waiting, summary.failed, summary.scored) == (1, 0, 4)
    assert summary.mean_difference == pytest.approx((-0.1 - 0.6 + 0 - 0.3) / 4)
    assert summary.mean_absolute_difference == pytest.approx(1.0 / 4)
    assert summary.largest_difference == pytest.approx(0.6)
    assert {(c.live, c.shadow): c.count for c in summary.changes} == {
        ("malignant", "malignant"): 1,
        ("malignant", "benign"): 1,
        ("benign", "benign"): 1,
        ("malignant", "abstained"): 1,
    }
    rows = list(shadow_disagreements(actor=governor, model=shadow))
    assert [(row.result.label, row.outcome) for row in rows] == [
        ("malignant", "abstained"),
        ("malignant", "answered"),
    ]


def test_a_model_that_leaves_the_shadow_has_nothing_left_to_do() -> None:
    shadow = promoted_with_live()
    for _ in range(2):
        stored_result(submit().jobs.get())
    (claim,) = engine_jobs_claim(actor=WORKER, limit=8)
    model_reject(actor=approver(), model_id=shadow.pk, reason="Worse.")
    assert {job.state for job in Job.objects.filter(kind="shadow")} == {"CANCELLED"}
    late = shadow_result_store(
        actor=WORKER, job_id=claim.job_id, attempt=claim.attempt, answer=answer()
    )
    assert late is None
    assert engine_jobs_claim(actor=WORKER, limit=8) == []
    stored_result(submit().jobs.get())
    assert Job.objects.filter(kind="shadow").count() == 2


def test_a_model_in_shadow_goes_live_and_then_is_not_compared_with_itself() -> None:
    shadow = promoted_with_live()
    promoted(shadow)
    stored_result(submit().jobs.get())
    assert not Job.objects.filter(kind="shadow").exists()


def test_a_shadow_that_kills_the_engine_gets_no_second_try(
    runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    promoted_with_live()
    job = submit().jobs.get()
    result = stored_result(job)
    monkeypatch.setenv("BCWEB_TEST_POISON", f"{job.image.sha256}=crash")
    runner.drain()
    shadow = Job.objects.get(kind="shadow")
    assert (shadow.state, shadow.attempt) == (JobState.FAILED, 1)
    after = submit().jobs.get()
    runner.drain()
    after.refresh_from_db()
    result.refresh_from_db()
    assert after.state == JobState.SUCCEEDED


# Tampered files


def test_a_damaged_model_in_shadow_is_refused_at_load_and_the_live_one_keeps_answering(
    runner: Runner,
) -> None:
    shadow = promoted_with_live()
    damage(shadow)
    jobs = [submit().jobs.get() for _ in range(2)]
    runner.drain()
    for job in jobs:
        job.refresh_from_db()
        assert job.state == JobState.SUCCEEDED
    fault = ModelFault.objects.get()
    assert (fault.model_version_id, fault.code) == (shadow.pk, "file_damaged")
    assert not ShadowResult.objects.exists()
    assert runner.reading is not None
    assert runner.reading.pk == live_id()


def test_a_damaged_live_file_is_told_and_an_earlier_model_brings_answers_back(
    runner: Runner,
) -> None:
    from cases.services.rollback import model_roll_back

    old = live_model()
    new = promoted(candidate())
    damage(new)
    job = submit().jobs.get()
    with pytest.raises(engine.EngineFaultError):
        runner.drain()
    assert ModelFault.objects.get().model_version_id == new.pk
    model_roll_back(actor=approver(), model_id=old.pk, reason="Damaged.", expected_active=new.pk)
    runner.drain()
    job.refresh_from_db()
    assert (job.state, job.result.model_version_id) == (JobState.SUCCEEDED, old.pk)
