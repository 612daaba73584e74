"""The next batch is taken while the engine reads one; and what was taken is never forgotten."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import OperationalError, connection, transaction

from cases.access import SYSTEM
from cases.models import Job, JobEvent, Result
from cases.services.leases import engine_jobs_claim
from cases.services.model_moves import model_life_lock
from cases.services.replays import replay_request
from cases.services.rollback import model_roll_back
from cases.services.serving import serving_resume, serving_suspend
from cases.states import JobState
from cases.storage import read_small, uploads
from tests.cases.governing import admin, approver, candidate, promoted
from tests.factories import WORKER, live_model, stored_result, submit
from worker import engine
from worker import runner as loop
from worker.engine import EngineOptions
from worker.runner import Runner

pytestmark = pytest.mark.django_db


@pytest.fixture
def runner(monkeypatch: pytest.MonkeyPatch, settings: Any) -> Iterator[Runner]:
    settings.BCWEB_BATCH = 2
    monkeypatch.setattr(engine, "CHILD_MODULE", "tests.worker.fake_engine")
    runner = Runner(name="test-worker")
    runner.engine.options = EngineOptions(batch_s=60, start_s=120)
    # No turn is over because the machine is busy.
    monkeypatch.setattr(loop, "TURN_S", 600.0)
    yield runner
    runner.engine.close()


def running() -> int:
    return Job.objects.filter(state=JobState.RUNNING).count()


def held_while_reading(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many jobs are held at the end of each batch's reading."""
    found: list[int] = []
    real = runner.engine.predict

    def predict(*args: Any, **kwargs: Any) -> Any:
        answers = real(*args, **kwargs)
        found.append(running())
        return answers

    monkeypatch.setattr(runner.engine, "predict", predict)
    return found


def test_the_next_batch_is_taken_while_one_is_read_and_all_are_answered(
    runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(5):
        submit()
    held = held_while_reading(runner, monkeypatch)
    assert runner.drain() == 5
    # Two and the next two, then those and the last one, which is no full batch.
    assert held == [4, 3, 1]
    assert Result.objects.count() == 5
    assert set(Job.objects.values_list("state", "attempt")) == {(JobState.SUCCEEDED, 1)}


def test_a_batch_that_is_not_full_looks_for_no_more(
    runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit()
    asked: list[bool] = []

    def claim(*, actor: Any, limit: int, readings_only: bool = False) -> Any:
        asked.append(readings_only)
        return engine_jobs_claim(actor=actor, limit=limit, readings_only=readings_only)

    monkeypatch.setattr("worker.runner.engine_jobs_claim", claim)
    assert runner.drain() == 1
    assert asked == [False, False]


def test_what_is_due_before_the_next_readings_is_not_passed_over(
    runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = stored_result(submit().jobs.get())
    for _ in range(2):
        submit(priority="stat")
    replay = replay_request(actor=SYSTEM, result_id=result.pk, ring=False)
    Job.objects.filter(pk=replay.pk).update(due_at=Job.objects.latest("due_at").created_at)
    for _ in range(2):
        submit()
    assert len(engine_jobs_claim(actor=WORKER, limit=2)) == 2
    # The replay's turn has come: nobody takes the readings behind it ahead.
    assert engine_jobs_claim(actor=WORKER, limit=2, readings_only=True) == []
    (taken,) = engine_jobs_claim(actor=WORKER, limit=2)
    assert taken.job_id == replay.pk
    assert len(engine_jobs_claim(actor=WORKER, limit=2, readings_only=True)) == 2


def test_a_worker_told_to_stop_gives_back_what_it_took_ahead(
    runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(4):
        submit()
    held = held_while_reading(runner, monkeypatch)
    runner.should_stop = lambda: bool(held)
    assert runner.drain() == 2
    assert held == [4]
    assert sorted(Job.objects.values_list("state", flat=True)) == [
        *["PENDING"] * 2,
        *["SUCCEEDED"] * 2,
    ]
    given_back = JobEvent.objects.filter(from_state="RUNNING", to_state="PENDING")
    assert set(given_back.values_list("reason", flat=True)) == {"the worker is stopping"}
    # Another worker answers them.
    runner.should_stop = lambda: False
    assert runner.drain() == 2
    assert Result.objects.count() == 4


def after_the_first_reading(
    runner: Runner, monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]
) -> None:
    """Have ``act`` done when the first batch is read and the next one is taken."""
    real, acts = runner.engine.predict, [act]

    def predict(*args: Any, **kwargs: Any) -> Any:
        answers = real(*args, **kwargs)
        if acts:
            assert running() == 4
            acts.pop()()
        return answers

    monkeypatch.setattr(runner.engine, "predict", predict)


NOT_BEGUN = "answers were suspended, or their model was taken back"


def reasons_given_back() -> set[str]:
    given_back = JobEvent.objects.filter(from_state="RUNNING").exclude(to_state="SUCCEEDED")
    return set(given_back.values_list("reason", flat=True))


def test_what_was_taken_ahead_keeps_to_a_suspension(
    runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(4):
        submit()
    operator = admin()
    after_the_first_reading(
        runner, monkeypatch, lambda: serving_suspend(actor=operator, reason="Odd answers.")
    )
    assert runner.drain() == 2
    assert sorted(Job.objects.values_list("state", flat=True)) == [
        *["PENDING"] * 2,
        *["SUCCEEDED"] * 2,
    ]
    assert reasons_given_back() == {NOT_BEGUN}
    serving_resume(actor=operator, reason="All is well.")
    assert runner.drain() == 2


def test_what_was_taken_ahead_is_read_by_the_model_that_came_back(
    runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = live_model(), promoted(candidate())
    for _ in range(4):
        submit()
    after_the_first_reading(
        runner,
        monkeypatch,
        lambda: model_roll_back(
            actor=approver(), model_id=old.pk, reason="Odd answers.", expected_active=new.pk
        ),
    )
    assert runner.drain() == 4
    (reason,) = reasons_given_back()
    assert reason.startswith(NOT_BEGUN)
    by = Result.objects.values_list("model_version_id", flat=True)
    assert sorted(map(str, by)) == sorted(map(str, [old.pk, old.pk, new.pk, new.pk]))


@pytest.mark.django_db(transaction=True)
def test_looking_ahead_waits_for_no_lock_and_what_is_read_is_stored(
    runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(4):
        submit()
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        """A promotion or rollback that takes its time."""
        with transaction.atomic():
            model_life_lock()
            held.set()
            done.wait(300)
        connection.close()

    holder = threading.Thread(target=hold)
    gave_up: list[bool] = []

    def claim(*, actor: Any, limit: int, readings_only: bool = False) -> Any:
        if not readings_only:
            return engine_jobs_claim(actor=actor, limit=limit)
        if not gave_up:
            holder.start()
            assert held.wait(60)
        try:
            return engine_jobs_claim(actor=actor, limit=limit, readings_only=True)
        except OperationalError:
            gave_up.append(True)
            raise
        finally:
            done.set()

    monkeypatch.setattr("worker.runner.engine_jobs_claim", claim)
    assert runner.drain() == 4
    holder.join()
    assert gave_up == [True]
    assert set(Job.objects.values_list("state", "attempt")) == {(JobState.SUCCEEDED, 1)}


def test_a_turn_that_is_over_leaves_the_rest_and_says_so(
    runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "TURN_S", 0.0)
    for _ in range(3):
        submit()
    assert (runner.drain(), runner.more_waits) == (2, True)
    # Nothing was taken ahead that another worker would have to wait for.
    assert running() == 0
    assert (runner.drain(), runner.more_waits) == (1, False)


def test_leases_of_what_was_taken_ahead_are_kept(
    runner: Runner, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    for _ in range(4):
        submit()
    kept: list[int] = []

    def heartbeat(*, claims: Any) -> frozenset[Any]:
        kept.append(len(claims))
        return frozenset()

    monkeypatch.setattr("worker.runner.jobs_heartbeat", heartbeat)
    real = runner._beside

    def beside() -> None:
        real()
        runner._next_heartbeat = 0.0
        runner._keep()

    monkeypatch.setattr(runner, "_beside", beside)
    runner.drain()
    assert kept[0] == 4


def test_small_pictures_are_read_together_and_what_is_damaged_is_not_among_them(
    django_assert_num_queries: Any,
) -> None:
    names = [submit().jobs.get().image.storage_name for _ in range(3)]
    whole, short, missing = names
    with uploads().open(whole) as file:
        data = file.read()
    from cases.models import BlobChunk

    BlobChunk.objects.filter(blob_id=short).update(data=b"cut off")
    uploads().delete(missing)
    with django_assert_num_queries(1):
        found = read_small(names)
    assert found == {whole: data}
