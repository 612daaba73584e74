"""Going back to an earlier model, turning one down, and which was live when."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction

from cases.access import SYSTEM, Actor, Role, Scope
from cases.errors import PermissionDenied, StateConflict
from cases.models import Job, JobEvent, ModelFault, Result
from cases.selectors.model_life import live_at, live_intervals
from cases.selectors.recall import recall_counts, recall_results
from cases.services.jobs import job_rerun
from cases.services.people import actor_for_token
from cases.services.rollback import model_reject, model_roll_back
from cases.services.serving import serving_resume, serving_suspend
from cases.states import ModelState
from tests.cases.governing import (
    admin,
    approver,
    asked,
    candidate,
    damage,
    live_id,
    promoted,
)
from tests.factories import (
    at_once,
    live_model,
    make_actor,
    make_site,
    make_token,
    stored_result,
    submit,
)
from tests.live import wait_for

pytestmark = pytest.mark.django_db


def back(model: Any, *, by: Actor | None = None) -> Any:
    return model_roll_back(
        actor=by or approver(), model_id=model.pk, reason="Odd answers.", expected_active=live_id()
    )


def test_one_click_brings_the_model_before_back() -> None:
    old, new = live_model(), promoted(candidate())
    back(old)
    for model in (old, new):
        model.refresh_from_db()
    assert (old.state, new.state) == ("ACTIVE", "RETIRED")
    back(new)
    assert live_id() == new.pk


def test_only_what_was_live_comes_back_and_only_by_an_approver() -> None:
    old = live_model()
    with pytest.raises(StateConflict):
        back(candidate())
    with pytest.raises(StateConflict):
        back(old)
    promoted(candidate())
    token, _ = make_token(scopes=list(Scope), roles=list(Role))
    for actor in (admin(), make_actor(), actor_for_token(token)):
        with pytest.raises(PermissionDenied):
            back(old, by=actor)


def test_a_page_that_is_out_of_date_rolls_nothing_back() -> None:
    old = live_model()
    shown = promoted(candidate()).pk
    newer = promoted(candidate())
    with pytest.raises(StateConflict, match=newer.version):
        model_roll_back(actor=approver(), model_id=old.pk, reason="x", expected_active=shown)
    assert live_id() == newer.pk


def test_a_damaged_file_does_not_come_back() -> None:
    old, new = live_model(), promoted(candidate())
    damage(old)
    with pytest.raises(StateConflict, match="SHA-256"):
        back(old)
    assert live_id() == new.pk
    assert ModelFault.objects.get().model_version_id == old.pk


def test_stored_answers_stay_and_what_waits_is_answered_by_the_model_that_came_back() -> None:
    old, new = live_model(), promoted(candidate())
    answered, waiting = submit().jobs.get(), submit().jobs.get()
    result = stored_result(answered)
    back(old)
    result.refresh_from_db()
    waiting.refresh_from_db()
    assert (result.model_version_id, waiting.model_version_id) == (new.pk, old.pk)
    moved = JobEvent.objects.filter(job=waiting).latest("id")
    assert (moved.from_state, moved.to_state) == ("PENDING", "PENDING")
    assert old.version in moved.reason
    assert stored_result(waiting).model_version_id == old.pk
    assert submit().jobs.get().model_version_id == old.pk


def test_an_image_that_waits_for_both_models_is_answered_once_by_the_one_that_came_back() -> None:
    old = live_model()
    job = submit().jobs.get()
    stored_result(job)
    again = job_rerun(actor=SYSTEM, job_id=job.pk)
    promoted(candidate())
    # The same image asked for again with the new model while the old one's job waits.
    twin = Job.objects.create(
        kind="inference",
        site=again.site,
        image=again.image,
        frame=again.frame,
        model_version_id=live_id(),
        due_at=again.due_at,
    )
    back(old)
    twin.refresh_from_db()
    again.refresh_from_db()
    assert (twin.state, again.state) == ("CANCELLED", "PENDING")


@pytest.mark.django_db(transaction=True)
def test_two_approvers_rolling_back_at_once_do_it_once() -> None:
    old = live_model()
    shown = promoted(candidate()).pk
    pool = [approver(), approver()]

    def press() -> Any:
        return model_roll_back(actor=pool.pop(), model_id=old.pk, reason="x", expected_active=shown)

    found = at_once(2, press)
    assert sorted(type(one).__name__ for one in found) == ["ModelVersion", "StateConflict"]
    assert live_id() == old.pk


@pytest.mark.django_db(transaction=True)
def test_a_job_made_at_the_moment_of_a_rollback_is_for_the_model_that_came_back() -> None:
    old = live_model()
    job = submit().jobs.get()
    stored_result(job)
    new = promoted(candidate())
    actor = approver()
    made, go = threading.Event(), threading.Event()
    jobs: list[Job] = []

    def ask_again() -> None:
        with transaction.atomic():
            jobs.append(job_rerun(actor=SYSTEM, job_id=job.pk))
            made.set()
            assert go.wait(300)
        connection.close()

    def roll_back() -> None:
        back(old, by=actor)
        connection.close()

    threads = [threading.Thread(target=ask_again), threading.Thread(target=roll_back)]
    threads[0].start()
    assert made.wait(120)
    threads[1].start()

    def is_held_up() -> bool:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
            return cursor.fetchone() is not None

    wait_for("the rollback to wait", is_held_up)
    go.set()
    for thread in threads:
        thread.join(300)
    assert jobs[0].model_version_id == new.pk
    jobs[0].refresh_from_db()
    assert (jobs[0].model_version_id, live_id()) == (old.pk, old.pk)


def test_a_rejected_model_never_comes_back() -> None:
    live_model()
    for target in (None, ModelState.SHADOW):
        model = candidate() if target is None else promoted(candidate(), target)
        with pytest.raises(PermissionDenied):
            model_reject(actor=admin(), model_id=model.pk, reason="x")
        model_reject(actor=approver(), model_id=model.pk, reason="Worse on our devices.")
        model.refresh_from_db()
        assert model.state == "REJECTED"
        with pytest.raises(StateConflict):
            asked(model)
    with pytest.raises(StateConflict):
        model_reject(actor=approver(), model_id=live_id(), reason="x")


def test_a_model_with_an_open_request_is_declined_before_it_is_rejected() -> None:
    model = candidate()
    asked(model)
    with pytest.raises(StateConflict, match="Decline it first"):
        model_reject(actor=approver(), model_id=model.pk, reason="x")


# Which model was live when


def test_which_model_was_live_is_answered_for_any_moment() -> None:
    actor = approver()
    old = live_model()
    new = promoted(candidate())
    serving_suspend(actor=admin(), reason="Strange heatmaps.")
    serving_resume(actor=admin(), reason="It was the monitor.")
    back(old)
    spans = live_intervals(actor=actor)
    assert [span.model.pk for span in spans] == [old.pk, new.pk, old.pk]
    assert spans[0].until is None
    # Each ends where the next begins: no gap, no overlap.
    assert [span.until for span in spans[1:]] == [spans[0].since, spans[1].since]
    for span in spans:
        assert live_at(actor=actor, at=span.since).model.pk == span.model.pk
        assert live_at(actor=actor, at=span.since).since == span.since
    just_before = spans[0].since - timedelta(microseconds=1)
    assert live_at(actor=actor, at=just_before).model.pk == new.pk


def test_the_answer_says_whether_answers_were_suspended_then() -> None:
    live_model()
    actor = approver()
    stop = serving_suspend(actor=admin(), reason="Strange heatmaps.")
    during = live_at(actor=actor, at=stop.at)
    assert during.suspension is not None
    assert during.suspension.reason == "Strange heatmaps."
    now = live_at(actor=actor, at=None)
    assert now.suspension is not None
    assert now.suspension.since == stop.at
    go = serving_resume(actor=admin(), reason="Found.")
    assert live_at(actor=actor, at=go.at).suspension is None
    assert live_at(actor=actor, at=go.at - timedelta(microseconds=1)).suspension is not None


# Recall


def test_the_recall_list_holds_what_a_version_answered_in_a_period_at_the_own_site() -> None:
    old = live_model()
    site = make_site()
    actor = make_actor(site=site)
    mine = [stored_result(submit(actor=actor).jobs.get()) for _ in range(3)]
    stored_result(submit().jobs.get())
    new = promoted(candidate())
    later = stored_result(submit(actor=actor).jobs.get())

    def found(model: Any, **period: Any) -> list[Result]:
        given = {"since": None, "until": None, **period}
        return list(recall_results(actor=actor, model=model, **given))

    assert [r.pk for r in found(old)] == [r.pk for r in reversed(mine)]
    assert [r.pk for r in found(new)] == [later.pk]
    middle = mine[1].created_at
    assert {r.pk for r in found(old, since=middle)} == {mine[1].pk, mine[2].pk}
    assert {r.pk for r in found(old, until=middle)} == {mine[0].pk}
    everything = recall_results(actor=actor, model=old, since=None, until=None)
    assert recall_counts(everything) == (3, 3)
    with pytest.raises(PermissionDenied):
        recall_results(actor=approver(site), model=old, since=None, until=None)
